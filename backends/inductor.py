"""Inductor, ahead of time (AOTI): a kernel becomes C++ that g++ compiles; it runs on torch tensors and needs torch where it runs.

Weights are arguments of the code, so that blocks which differ only in weights share it, and calls may write them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dync.backends.base import Available, BlockCode, Declined, Kernel, Target, unfit
from dync.backends.kernels import canonical_weights
from dync.errors import BackendError
from dync.ir.types import ScalarType, TensorType

if TYPE_CHECKING:
    from torch.fx import Graph, GraphModule

ITEMS = ("aten._local_scalar_dense.default", "aten.item.default")
COMPILERS = ("g++", "clang++")
EXAMPLES = (5, 7, 6, 9)
"""Sizes that symbols have in the example which the graph is exported with, as far as their ranges allow."""


class Inductor:
    """Compiles through torch.export and torch._inductor.aoti_compile_and_package: many seconds a kernel."""

    name = "inductor"

    def available(self) -> Available | Declined:
        from importlib.metadata import version
        from importlib.util import find_spec
        from shutil import which

        if find_spec("torch") is None:
            return Declined("torch is not installed: pip install torch==2.13.0")
        if not any(map(which, COMPILERS)):
            return Declined("it needs a C++ compiler, and there is no g++ on the path: apt install g++")
        return Available(version("torch"))

    def supports(self, kernel: Kernel, target: Target) -> Declined | None:
        """None, or what torch.export cannot be given; operators are not looked at."""
        if target != Target():
            return Declined(f"the inductor backend compiles for the CPU of this machine, not for {target}")
        if refused := unfit(kernel):
            return refused
        if numbers := [v for v in kernel.inputs if isinstance(v.type, ScalarType)]:
            return Declined(f"takes the Python number {numbers[0].name}", numbers[0].span)
        return None

    def compile(self, kernel: Kernel, target: Target, threads: int = 0) -> BlockCode:
        """model.pt2, as torch's own package. Raises BackendError when export or compiler fail."""
        import tempfile
        from hashlib import sha256
        from pathlib import Path

        import torch

        example = _example(kernel)
        weights = canonical_weights(kernel)
        tensors = [kernel.weights[w].detach().contiguous() for w in weights]
        configs = {"compile_threads": 1, "fallback_random": True, **({"cpp.threads": threads} if threads else {})}
        with tempfile.TemporaryDirectory(prefix="dync-") as folder, torch.no_grad():
            path = Path(folder) / "model.pt2"
            try:
                exported = torch.export.export(_module(kernel), (*example, *tensors), dynamic_shapes=(_shapes(kernel, len(tensors)),))
                _held(kernel, exported)
                torch._inductor.aoti_compile_and_package(exported, package_path=str(path), inductor_configs=configs)
            except BackendError:
                raise
            except Exception as error:  # noqa: BLE001  the foreign toolchain's own exception classes share no root
                line = next((text.strip() for text in str(error).splitlines() if text.strip()), type(error).__name__)
                raise BackendError(f"{kernel.name}: inductor cannot compile it: {line}") from error
            data = path.read_bytes()
        settings: dict[str, object] = {"weights": {f"w{i}": name for i, name in enumerate(weights)}}
        if kernel.mutates and kernel.functional is not None:
            places = [*(v.name for v in kernel.inputs), *weights]
            settings["copies"] = [[result, places.index(name)] for name, result in kernel.functional.copies]
        return BlockCode("inductor", sha256(data).hexdigest(), {"model.pt2": data}, weights, settings, ("torch",))


def _example(kernel: Kernel) -> list[Any]:
    """Contiguous inputs whose symbols have different sizes, none of them 0 or 1, which export would take for constants."""
    from dync.backends.check import symbols, typical

    sizes = {}
    for i, name in enumerate(symbols(kernel)):
        low, high = kernel.ranges.get(name, (0, None))
        sizes[name] = max(low, EXAMPLES[i % len(EXAMPLES)] if high is None else min(EXAMPLES[i % len(EXAMPLES)], high))
    found = typical(kernel, sizes)
    if found is None:
        raise BackendError(f"{kernel.name}: eager takes no inputs of its types that could be drawn, which export needs")
    return [v.contiguous() for v in found]


def _shapes(kernel: Kernel, weights: int) -> tuple[Any, ...]:
    """torch.export's dynamic shapes for the one `*args` of the module: symbolic dims are dynamic, weights are fixed."""
    from torch.export import Dim

    shapes: list[Any] = []
    for value in kernel.inputs:
        assert isinstance(value.type, TensorType)
        shapes.append({i: Dim.DYNAMIC for i, d in enumerate(value.type.shape) if isinstance(d, str)} or None)
    return (*shapes, *[None] * weights)


def _held(kernel: Kernel, exported: Any) -> None:
    """Raises BackendError where export took the example's answer to `n <= 17` for all sizes: its code asks nothing, and is wrong on others.

    What it takes for too small sizes is left to the check, which draws small ones: those that eager refuses too are many.
    """
    from torch.fx.experimental.symbolic_shapes import is_symbolic

    nodes = exported.graph.find_nodes(op="placeholder")
    given = [next(n for n in nodes if n.name == name) for name in exported.graph_signature.user_inputs]
    for value, node in zip(kernel.inputs, given):
        for dim, size in zip(getattr(value.type, "shape", ()), node.meta["val"].shape, strict=True):
            if not isinstance(dim, str):
                continue
            most = exported.range_constraints[size.node.expr].upper if is_symbolic(size) else size
            wanted = kernel.ranges.get(dim, (0, None))[1]
            if most < 2**31 and (wanted is None or most < wanted):
                raise BackendError(f"{kernel.name}: torch.export takes a size of {value.name} that may be more to be at most {most}")


def _module(kernel: Kernel) -> Any:
    """The kernel as a module of inputs and weights that gives tensors: numbers among the results stay in their tensors."""
    import torch

    graph = _lifted(kernel.functional.graph if kernel.mutates and kernel.functional else kernel.graph, canonical_weights(kernel))
    inner: GraphModule = torch.fx.GraphModule(torch.nn.Module(), graph)

    class Block(torch.nn.Module):
        def forward(self, *args: Any) -> Any:
            return inner(*args)

    return Block()


def _lifted(source: Graph, weights: Sequence[str]) -> Graph:
    """A copy without metadata, its weights behind its inputs."""
    import torch
    from torch.fx import Graph, Node
    from torch.fx.node import map_arg

    graph, env = Graph(), dict[Node, Node]()
    for node in source.find_nodes(op="placeholder"):
        env[node] = graph.placeholder(f"i{len(env)}")
    lifted = {name: graph.placeholder(f"w{i}") for i, name in enumerate(weights)}
    for node in source.nodes:
        if node.op == "get_attr":
            env[node] = lifted[str(node.target)]
        elif node.op == "call_function":
            args, kwargs = (map_arg(a, env.__getitem__) for a in (node.args, node.kwargs))
            env[node] = graph.call_function(node.target, args, kwargs)  # type: ignore[arg-type]

    def tensor(result: Any) -> Any:
        if isinstance(result, Node) and str(result.target) in ITEMS:
            return env[result].args[0]
        value = result.meta.get("val") if isinstance(result, Node) else result
        if isinstance(value, torch.Tensor):
            return env[result]
        dtype = next(d for kinds, d in _number_types(torch) if isinstance(value, kinds))
        return graph.call_function(torch.ops.aten.scalar_tensor.default, (map_arg(result, env.__getitem__),), {"dtype": dtype})

    results: Any = source.output_node().args[0]
    graph.output(tuple(tensor(r) for r in results))
    for node in reversed(list(graph.nodes)):
        if node.op == "call_function" and not node.users and str(node.target) in ITEMS:
            graph.erase_node(node)
    return graph


def _number_types(torch: Any) -> tuple[tuple[Any, Any], ...]:
    return (
        ((bool, torch.SymBool), torch.bool),
        ((int, torch.SymInt), torch.int64),
        ((float, torch.SymFloat), torch.float64),
    )
