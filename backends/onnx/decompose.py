"""An ATen operator as a graph of smaller ones, through torch's own decompositions, for operators without a translation of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dync.backends.onnx.registry import Unsupported

if TYPE_CHECKING:
    from torch.fx import GraphModule, Node

ROWS = frozenset(f"aten.{n}.default" for n in ("mm", "matmul", "addmm", "bmm", "baddbmm", "embedding"))
"""Operators whose result lies row by row in memory, however their arguments do."""
HINTS = (7, 11, 13, 17, 19, 23, 29, 31)


def decompose(node: Node, known: Callable[[Any], bool]) -> tuple[GraphModule, list[Node]]:
    """`node` in terms of `known` operators as far as possible, and the nodes of the caller that its placeholders stand for.

    Traced on fresh fakes, so nothing is learnt about the caller's sizes. Raises Unsupported when there is no decomposition, or
    when it holds only for some sizes.
    """
    import torch
    from torch._decomp import decomposition_table
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.proxy_tensor import make_fx
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    from torch.fx.node import map_arg

    target: Any = node.target
    if target is torch.ops.aten.as_strided.default:
        return _picked(node)
    if not (isinstance(target, torch._ops.OpOverload) and (target in decomposition_table or target._can_decompose())):
        raise Unsupported("no translation")
    nodes = list(node.all_input_nodes)
    env = ShapeEnv(specialize_zero_one=False, duck_shape=False, allow_scalar_outputs=True, allow_dynamic_output_shape_ops=True)
    mode, symbols = FakeTensorMode(shape_env=env, allow_non_fake_inputs=True), _Symbols(env)
    fakes = [_fresh(n.meta["val"], mode, symbols) for n in nodes]

    def call(*values: Any) -> Any:
        env_of = dict(zip(nodes, values, strict=True))
        args = map_arg(node.args, env_of.__getitem__)
        return target(*args, **map_arg(node.kwargs, env_of.__getitem__))

    table = {op: rule for op, rule in decomposition_table.items() if op is target or not known(op)}
    before = len(env.guards)
    try:
        module = make_fx(call, decomposition_table=table)(*fakes)
    except RuntimeError as e:
        raise Unsupported(f"its decomposition does not take these sizes: {str(e).splitlines()[0][:120]}") from e
    if len(env.guards) > before:
        raise Unsupported("its decomposition depends on dynamic sizes")
    if any(n.target is target for n in module.graph.nodes):
        raise Unsupported("no translation")
    return module, nodes


def _picked(node: Node) -> tuple[GraphModule, list[Node]]:
    """`as_strided` as a look-up of elements, where what it looks into is of fixed sizes and lies row by row whatever comes in."""
    import torch
    from torch.fx.experimental.proxy_tensor import make_fx

    from dync.ir.effects import aliased

    x, size, stride, *rest = node.args
    base: Any = x
    while parents := aliased(base):
        base = parents[0]
    fake = x.meta["val"]  # type: ignore[union-attr]
    numbers = (*fake.shape, *fake.stride(), *size, *stride, *rest)  # type: ignore[misc]
    packed = base.op == "call_function" and (
        str(base.target) in ROWS or base.kwargs.get("memory_format") is torch.contiguous_format and "clone" in str(base.target))
    if not packed or not all(isinstance(n, int) for n in numbers):
        raise Unsupported("as_strided of a tensor whose layout is known only at run time")
    offset = rest[0] if rest and rest[0] is not None else fake.storage_offset()
    place: Any = torch.full((), int(offset))  # type: ignore[arg-type]
    for n, step in zip(size, stride, strict=True):  # type: ignore[arg-type]
        place = place[..., None] + torch.arange(n) * step
    where = torch.full((fake.untyped_storage().nbytes() // fake.element_size(),), -1)
    where.as_strided(fake.shape, fake.stride(), fake.storage_offset()).copy_(torch.arange(fake.numel()).view(fake.shape))
    found = where[place]
    if bool((found < 0).any()):
        raise Unsupported("as_strided reaches elements that are not the tensor's own")
    module = make_fx(lambda t: torch.ops.aten.index_select.default(t.reshape(-1), 0, found.reshape(-1)).reshape(size))(
        torch.empty(fake.shape, dtype=fake.dtype))
    return module, [x]  # type: ignore[list-item]


class _Symbols:
    """One fresh size for each distinct expression of the caller."""

    def __init__(self, env: Any) -> None:
        self.env, self.made = env, {}

    def __getitem__(self, size: Any) -> Any:
        from torch._dynamo.source import ConstantSource
        from torch.fx.experimental.symbolic_shapes import DimDynamic

        if isinstance(size, int):
            return size
        key = str(size)
        if key not in self.made:
            source, hint = ConstantSource(f"size{len(self.made)}"), HINTS[len(self.made) % len(HINTS)]
            symbol = self.env.create_symbol(hint, source, dynamic_dim=DimDynamic.DYNAMIC)
            self.made[key] = self.env.create_symintnode(symbol, hint=hint, source=source)
        return self.made[key]


def _fresh(value: Any, mode: Any, symbols: _Symbols) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        with mode:
            return torch.empty([symbols[s] for s in value.shape], dtype=value.dtype, device=value.device)
    if isinstance(value, torch.SymInt):
        return symbols[value]
    if isinstance(value, (torch.SymFloat, torch.SymBool)):
        raise Unsupported("no translation with a run-time number")
    return value
