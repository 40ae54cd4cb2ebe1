"""Compiled code against eager, on random and corner inputs: a block that computes another number is refused, never shipped."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from dync.backends.base import BlockCode, Kernel
from dync.backends.given import Sizes, unsafe, widens
from dync.errors import BackendError
from dync.ir.raising import limit
from dync.ir.types import ScalarType, TensorType, Value

if TYPE_CHECKING:
    import torch

    from dync.runtime.store import Weights
    from dync.runtime.tensors import Form

TOLERANCE = {"float64": 1e-7, "float32": 2e-4, "float16": 1e-2, "bfloat16": 8e-2}
"""Largest accepted difference, relative to max(|eager|, root mean square of eager's tensor, FLOOR)."""
FLOOR = 1e-2
SECONDS = 5.0
"""Time after which no further input is drawn."""
SIZES = (2, 7, 1, 0, 3)
"""Sizes tried for a symbol, as far as its range has them."""
LARGER = (5, 9, 13, 17, 33, 65, 129)
"""Sizes tried where the kernel takes none of SIZES: decisions before it may leave large ones only."""
INDEX_BOUNDS = (8, 4, 2, 1)
"""Integer inputs are drawn below these in turn, until eager takes them: they may be indices."""
EMPTY = frozenset(
    f"aten.{n}"
    for n in ("empty.memory_format", "empty_like.default", "new_empty.default", "empty_strided.default", "new_empty_strided.default")
)
"""Operators that give uninitialised memory."""
HUGE = 1 << 62
"""What uninitialised memory may hold: as an index it is out of range."""
Run = Callable[[Sequence[Any]], Sequence[Any]]
"""Runs code on tensors and Python numbers, in the order of the kernel's inputs."""


@dataclass(frozen=True)
class Difference:
    """The worst difference of one run: `error` is relative as in TOLERANCE, `discrete` when an integer, bool or shape differs."""

    error: float
    result: str = ""
    text: str = ""
    discrete: bool = False


def check(
    kernel: Kernel,
    code: BlockCode,
    examples: Sequence[Sequence[Any]] = (),
    seed: int = 0,
    run: Run | None = None,
    tolerance: Mapping[str, float] = TOLERANCE,
) -> float:
    """The worst relative error of `code` over `examples` and drawn inputs; NaN when eager took none of them.

    A result that hangs on a comparison may differ on one draw by rounding alone, so a discrete difference counts when two
    draws show one. A kernel so large that a few runs take SECONDS is compared on fewer, at least one. Raises BackendError, with the
    number, for a difference beyond tolerance, and for a result whose memory is not its own where eager's is: others may write it.
    """
    run = run or open_code(kernel, code)
    worst, discrete, values, coarse = math.nan, [], compared(kernel), made_of_float32(kernel)
    before: tuple[Sequence[Any], Sequence[Any]] = ((), ())
    stopped: Exception | None = None
    holes = any(str(n.target) in EMPTY for n in kernel.graph.nodes)
    end = perf_counter() + SECONDS
    for inputs in itertools.chain(examples, draws(kernel, seed)):
        if perf_counter() > end and not math.isnan(worst) and not discrete:
            break
        mine, yours = copies(inputs), copies(inputs)
        expected = seeded(lambda mine=mine: eager(kernel, mine))
        if expected is None or holes and not takes(kernel, inputs, HUGE):
            continue
        try:
            found = seeded(lambda yours=yours: run(yours))
        except Exception as error:  # noqa: BLE001  whatever the engine raises, eager did not
            if limit(error):
                stopped = error
                continue
            raise _fails(kernel, error) from error
        if touched := _touched(kernel, inputs, yours):
            raise BackendError(f"{kernel.name}: the compiled code writes into its input {touched}, which eager leaves alone")
        if shared := _shared(kernel, (mine, expected, before[0]), (yours, found, before[1])):
            raise BackendError(f"{kernel.name}: the compiled code gives {shared}")
        before = (expected, found)
        expected, found = (*expected, *written(kernel, mine)), (*found, *written(kernel, yours))
        difference = compare(values, expected, settled(kernel, inputs, expected, found), tolerance, coarse)
        if difference.discrete:
            discrete.append(difference)
        elif difference.text:
            raise BackendError(f"{kernel.name}: {difference.text}")
        else:
            worst = difference.error if math.isnan(worst) else max(worst, difference.error)
        if len(discrete) > 1:
            raise BackendError(f"{kernel.name}: {discrete[0].text}")
    if stopped is not None and math.isnan(worst) and not discrete:  # where it stops, eager may be right; if it never runs it is of no use
        raise _fails(kernel, stopped) from stopped
    return worst


def _fails(kernel: Kernel, error: Exception) -> BackendError:
    said = str(error).splitlines()
    return BackendError(f"{kernel.name}: the compiled code fails where eager does not: {said[0] if said else repr(error)}")


def _touched(kernel: Kernel, before: Sequence[Any], after: Sequence[Any]) -> str:
    """An input that a run changed though the kernel does not write it; "" when there is none."""
    import torch

    for value, a, b in zip(kernel.inputs, before, after, strict=True):
        if isinstance(a, torch.Tensor) and value.name not in kernel.mutates and not torch.equal(a.nan_to_num(), b.nan_to_num()):
            return value.name
    return ""


def _shared(kernel: Kernel, eager: tuple[Sequence[Any], ...], code: tuple[Sequence[Any], ...]) -> str:
    """A result of the code, in words, that shares memory in which eager's lies alone; (inputs, results, results of the call before)."""
    names = [] if kernel.keeps_views else [v.name for v in kernel.results]
    for i, name in enumerate(names):
        for j, other in enumerate(v.name for v in kernel.inputs):
            if _overlap(code[1][i], code[0][j]) and not _overlap(eager[1][i], eager[0][j]):
                return f"{name} the memory of its input {other}"
        for j, other in enumerate(names[:i]):
            if _overlap(code[1][i], code[1][j]) and not _overlap(eager[1][i], eager[1][j]):
                return f"{name} and {other} the same memory"
        if code[2] and _overlap(code[1][i], code[2][i]) and not _overlap(eager[1][i], eager[2][i]):
            return f"{name} the same memory at each call"
    return ""


def _overlap(a: Any, b: Any) -> bool:
    """Whether two values are tensors with bytes in common, as far as their first and last bytes tell."""
    import torch

    if not (isinstance(a, torch.Tensor) and isinstance(b, torch.Tensor)) or not a.numel() or not b.numel() or a.device != b.device:
        return False
    (low, high), (start, end) = (_bytes(t) for t in (a, b))
    return low < end and start < high


def _bytes(tensor: torch.Tensor) -> tuple[int, int]:
    last = sum((size - 1) * step for size, step in zip(tensor.shape, tensor.stride(), strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def seeded(call: Callable[[], Any]) -> Any:
    """`call()` with torch's generator as it is at the start of every run: random code and eager then draw the same."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)  # torch.manual_seed writes down who called it, which takes milliseconds
        return call()


def made_of_float32(kernel: Kernel) -> frozenset[str]:
    """float64 results that are computed from values computed in float32: they are no more exact than those."""
    import torch

    found: set[Any] = set()
    for node in kernel.graph.nodes:
        value = node.meta.get("val")
        scalar = isinstance(value, (float, torch.SymFloat))  # `item` passes on what it was given
        if node.op == "call_function" and (scalar or isinstance(value, torch.Tensor) and value.is_floating_point()):
            if getattr(value, "dtype", None) == torch.float32 or any(n in found for n in node.all_input_nodes):
                found.add(node)
    outputs: Any = kernel.graph.output_node().args[0]
    double = (o in found and isinstance(o.meta["val"], torch.Tensor) and o.meta["val"].dtype == torch.float64 for o in outputs)
    return frozenset(v.name for v, yes in zip(kernel.results, double) if yes)


def compared(kernel: Kernel) -> list[Value]:
    """What a run is judged by: results, the weights and then the inputs that it wrote."""
    weights = [Value(n, TensorType("", ())) for n in written_weights(kernel)]
    return [*kernel.results, *weights, *(v for v in kernel.inputs if v.name in kernel.mutates)]


def written_weights(kernel: Kernel) -> list[str]:
    return [n for n in kernel.weights if n in kernel.mutates]


def written(kernel: Kernel, inputs: Sequence[Any]) -> list[Any]:
    return [i for i, v in zip(inputs, kernel.inputs, strict=True) if v.name in kernel.mutates]


def load_code(kernel: Kernel, code: BlockCode, threads: int, form: Form) -> tuple[Callable[..., Any], Weights]:
    """The code through its runtime loader, on tensors of `form`, and its weights."""
    from dync.runtime import loaders
    from dync.runtime.package import KernelEntry
    from dync.runtime.store import Weights

    types = (tuple(v.type for v in values) for values in (kernel.inputs, kernel.results))
    entry = KernelEntry(code.loader, tuple(code.members), code.settings, code.weights, kernel.mutates, code.needs, *types)
    weights = Weights(kernel.weights, form, [n for n in kernel.weights if n in kernel.mutates or n in kernel.written])
    return loaders.load(kernel.name, entry, code.members, weights, threads, form), weights


def open_code(kernel: Kernel, code: BlockCode, threads: int = 1) -> Run:
    """The code on torch tensors; gives results, then the weights that it wrote, anew for each call."""
    own = written_weights(kernel)
    loaded, weights = load_code(kernel, code, threads, "torch")

    def run(inputs: Sequence[Any]) -> Sequence[Any]:
        weights.reset()
        return [*loaded(*inputs), *(weights.torch(n).clone() for n in own)]

    return run


def copies(inputs: Sequence[Any]) -> list[Any]:
    """The inputs anew: code may write into them."""
    return [v.clone() if hasattr(v, "clone") else v for v in inputs]


def settled(kernel: Kernel, inputs: Sequence[Any], expected: Sequence[Any], found: Sequence[Any]) -> Sequence[Any]:
    """`found`, with `expected` in the places that hang on uninitialised memory: there, every value is right."""
    import torch

    if not any(str(n.target) in EMPTY for n in kernel.graph.nodes):
        return found
    mine = copies(inputs)
    other = seeded(lambda: eager(kernel, mine, fill=1))
    if other is None:
        return expected
    settled = []
    for e, o, f in zip(expected, (*other, *written(kernel, mine)), found, strict=True):
        if isinstance(e, torch.Tensor) and e.shape == o.shape == f.shape:
            settled.append(torch.where((e == o) | (e != e) & (o != o), torch.as_tensor(f), e))
        else:
            settled.append(f if not isinstance(e, torch.Tensor) and e == o else e)
    return settled


def eager(kernel: Kernel, inputs: Sequence[Any], fill: int = 0) -> tuple[Any, ...] | None:
    """What the kernel's graph gives in eager, then the weights that it wrote; None for inputs that the program never gives it.

    Such are those where it raises, and those of dync.backends.given. Uninitialised memory holds `fill`.
    """
    import torch
    from torch.fx.node import map_arg

    env: dict[Any, Any] = dict(zip(kernel.graph.find_nodes(op="placeholder"), inputs, strict=True))
    weights = {n: w.clone() if n in kernel.mutates else w for n, w in kernel.weights.items()}
    sizes = Sizes()
    if not all(sizes.fit(value, node.meta.get("val")) for node, value in env.items()):
        return None
    try:
        with torch.no_grad():
            for node in kernel.graph.nodes:
                if node.op == "get_attr":
                    env[node] = weights[str(node.target)]
                elif node.op == "call_function":
                    args, kwargs = (map_arg(a, env.__getitem__) for a in (node.args, node.kwargs))
                    if unsafe(str(node.target), args):
                        return None
                    env[node] = node.target(*args, **kwargs)  # type: ignore[operator]
                    if not sizes.fit(env[node], node.meta.get("val")) or widens(node, env):
                        return None
                    if str(node.target) in EMPTY:
                        env[node].fill_(within(env[node].dtype, fill))
    except (RuntimeError, IndexError, ValueError, ArithmeticError, TypeError):  # a power that is a complex number is no operand
        return None
    results = map_arg(kernel.graph.output_node().args[0], env.__getitem__)
    return *results, *(weights[n] for n in written_weights(kernel))  # type: ignore[misc]


def takes(kernel: Kernel, inputs: Sequence[Any], fill: int = 0) -> bool:
    """Whether eager runs on the inputs, which stay as they are, as does torch's generator."""
    return seeded(lambda: eager(kernel, copies(inputs), fill)) is not None


def within(dtype: Any, number: int) -> float:
    """The number, or the greatest of the dtype where it is beyond."""
    import torch

    if dtype == torch.bool:
        return number
    return min(number, (torch.finfo if dtype.is_floating_point or dtype.is_complex else torch.iinfo)(dtype).max)


def compare(
    results: Sequence[Value], expected: Sequence[Any], found: Sequence[Any], tolerance: Mapping[str, float] = TOLERANCE,
    coarse: frozenset[str] = frozenset(),
) -> Difference:  # fmt: skip
    """The worst difference between two runs; `text` is set when one is beyond tolerance. coarse: results that float32's holds for."""
    import torch

    worst = Difference(0.0)
    for value, e, f in zip(results, expected, found, strict=True):
        if isinstance(value.type, ScalarType):
            one = _scalars(value.name, e, f, tolerance)
        else:
            one = _tensors(value.name, e, torch.as_tensor(f), tolerance, "float32" if value.name in coarse else None)
        if one.text:
            return one
        worst = max(worst, one, key=lambda d: d.error)
    return worst


def _scalars(name: str, expected: Any, found: Any, tolerance: Mapping[str, float]) -> Difference:
    if type(expected) is not type(found):
        return Difference(math.inf, name, f"{name} is a {type(found).__name__}, in eager a {type(expected).__name__}")
    if not isinstance(expected, float):
        same = expected == found
        return Difference(0.0 if same else math.inf, name, "" if same else f"{name} is {found}, in eager {expected}", not same)
    if expected == found or (math.isnan(expected) and math.isnan(found)):
        return Difference(0.0, name)
    error = abs(expected - found) / max(abs(expected), FLOOR) if math.isfinite(expected) and math.isfinite(found) else math.inf
    beyond = error > tolerance["float32"]
    return Difference(error, name, f"{name} is {found!r}, in eager {expected!r}" if beyond else "")


def _tensors(name: str, expected: torch.Tensor, found: torch.Tensor, tolerance: Mapping[str, float], dtype: str | None) -> Difference:
    import torch

    if expected.dtype != found.dtype:
        return Difference(math.inf, name, f"{name} has dtype {found.dtype}, in eager {expected.dtype}")
    if expected.shape != found.shape:
        return Difference(
            math.inf,
            name,
            f"{name} has shape {list(found.shape)}, in eager {list(expected.shape)}",
            len(expected.shape) == len(found.shape),
        )
    if not expected.numel():
        return Difference(0.0, name)
    if not expected.is_floating_point():
        count = int((expected != found).sum())
        return Difference(
            math.inf if count else 0.0,
            name,
            f"{name} differs from eager in {count} of {expected.numel()} places" if count else "",
            bool(count),
        )
    e, f = expected.double(), found.double()
    same = (e == f) | (e.isnan() & f.isnan())
    finite = e.isfinite() & f.isfinite()
    if bool((~same & ~finite).any()):
        at = int((~same & ~finite).flatten().nonzero()[0])
        return Difference(math.inf, name, f"{name} is {f.flatten()[at]:g} where eager has {e.flatten()[at]:g}")
    scale = e[finite].square().mean().sqrt().clamp_min(FLOOR) if bool(finite.any()) else torch.tensor(1.0)
    errors = torch.where(same, 0.0, (e - f).abs() / torch.maximum(e.abs(), scale))
    error, limit = float(errors.max()), tolerance[dtype or str(expected.dtype).removeprefix("torch.")]
    at = int(errors.argmax())
    text = f"{name} is {f.flatten()[at]:g} where eager has {e.flatten()[at]:g} (relative error {error:.3g}, allowed {limit:g})"
    return Difference(error, name, text if error > limit else "")


# -- inputs --------------------------------------------------------------------------------------------------------------


def draws(kernel: Kernel, seed: int = 0) -> Iterator[list[Any]]:
    """Inputs of the kernel's types: for each of a few sizes the largest integer bound that eager takes, then zeros.

    Larger sizes come until one is taken, where none of the first is.
    """
    rng, tied, first = random.Random(seed), size_inputs(kernel), True
    for sizes in itertools.chain(size_draws(kernel), (s for s in size_draws(kernel, LARGER) if first)):
        for bound in INDEX_BOUNDS:
            inputs = drawn(kernel, tied, sizes, rng, bound)
            if any(i is None for i in inputs) or not takes(kernel, inputs):
                continue
            yield inputs
            more = [drawn(kernel, tied, sizes, rng, bound, spread) for spread in (1.0, 0.0)] if first else []
            yield from (m for m in more if takes(kernel, m))
            first = False
            break


def typical(kernel: Kernel, sizes: Mapping[str, int]) -> list[Any] | None:
    """Random inputs of given sizes, or of the first that are tried; None where eager takes none."""
    rng, own = random.Random(0), {**size_draws(kernel)[0], **sizes}
    for bound in INDEX_BOUNDS:
        inputs = drawn(kernel, size_inputs(kernel), own, rng, bound)
        if all(i is not None for i in inputs) and takes(kernel, inputs):
            return inputs
    return None


def size_draws(kernel: Kernel, tried: Sequence[int] = SIZES) -> list[dict[str, int]]:
    """A few assignments of sizes to symbols: alike, then corners. Without symbols one, the empty assignment."""
    names = symbols(kernel)
    if not names:
        return [{}]
    limits = {n: kernel.ranges.get(n, (0, None)) for n in names}

    def fit(name: str, size: int) -> int:
        low, high = limits[name]
        return max(low, size if high is None else min(size, high))

    found = [{n: fit(n, size) for n in names} for size in tried]
    mixed = [{n: fit(n, tried[(i + shift) % len(tried)]) for i, n in enumerate(names)} for shift in range(2)]
    return [dict(items) for items in dict.fromkeys(tuple(d.items()) for d in (*found, *mixed))]


def symbols(kernel: Kernel) -> list[str]:
    """The size symbols in the inputs' types."""
    dims = [d for v in kernel.inputs if isinstance(v.type, TensorType) for d in v.type.shape if isinstance(d, str)]
    return list(dict.fromkeys(str(s) for d in dims for s in sorted(_expression(d).free_symbols, key=str)))


def size_inputs(kernel: Kernel) -> dict[str, str]:
    """Integer inputs that are sizes of other inputs, or lead to them: name → expression in the size symbols."""
    import torch

    known, found = set(symbols(kernel)), dict[str, str]()
    for node in kernel.graph.find_nodes(op="placeholder"):
        if isinstance(number := node.meta.get("val"), torch.SymInt):
            free = {str(s) for s in number.node.expr.free_symbols}
            if free and free <= known:
                found[str(node.target)] = str(number.node.expr)
    return found


def _expression(dim: str) -> Any:
    """`dim` as text → sympy, with torch's own functions (FloorDiv, PythonMod, Max) by their names."""
    import re

    import sympy
    from torch.utils._sympy import functions

    symbols = {n: sympy.Symbol(n, integer=True) for n in re.findall(r"\b[A-Za-z_]\w*\b(?!\s*\()", dim)}
    return sympy.sympify(dim, locals={**vars(functions), **symbols})  # type: ignore[call-overload]


def evaluate(dim: str, sizes: Mapping[str, int]) -> int | None:
    """The size that the expression `dim` has for given symbols; None where it divides by zero."""
    import sympy

    expression = _expression(dim)
    try:
        size = expression.xreplace({s: sympy.Integer(sizes[str(s)]) for s in expression.free_symbols})
    except (ZeroDivisionError, ValueError):  # FloorDiv by zero; Max of what 0/0 is
        return None
    return int(size) if size.is_finite else None


def drawn(
    kernel: Kernel, tied: Mapping[str, str], sizes: Mapping[str, int], rng: random.Random, bound: int, spread: float = 1.0
) -> list[Any]:
    """A random value for each input, the size where it is `tied` to one; None where the sizes allow none."""
    return [evaluate(tied[v.name], sizes) if v.name in tied else draw(v, sizes, rng, bound, spread) for v in kernel.inputs]


def draw(value: Value, sizes: Mapping[str, int], rng: random.Random, bound: int, spread: float = 1.0) -> Any:
    """A random value of a type; None where the sizes allow none."""
    match value.type:
        case TensorType():
            shape = [d if isinstance(d, int) else evaluate(d, sizes) for d in value.type.shape]
            sized = [d for d in shape if d is not None and d >= 0]
            return None if len(sized) < len(shape) else _tensor(value.type, sized, rng, bound, spread)
        case ScalarType("int"):
            return rng.randrange(bound + 1)
        case ScalarType("float"):
            return rng.gauss(0, 1) * spread
        case ScalarType("bool"):
            return rng.random() < 0.5
    raise BackendError(f"an input of type {value.type} cannot be drawn")


def _tensor(type: TensorType, shape: list[int], rng: random.Random, bound: int, spread: float) -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(rng.getrandbits(32))
    dtype = getattr(torch, type.dtype)
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) < 0.5
    if not dtype.is_floating_point and not dtype.is_complex:
        return torch.randint(0, bound, shape, generator=generator, dtype=dtype)
    return (torch.randn(shape, generator=generator) * spread).to(dtype).to(type.device)
