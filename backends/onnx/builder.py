"""Writes an ONNX graph node by node: typed values, shared constants, casts where ONNX Runtime's kernels want another type."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Union

import numpy as np

from dync.backends.onnx.registry import CONTRIB, ENUM, IR_VERSION, OPSET, Unsupported, plan
from dync.ir.raising import told
from dync.ir.types import UNKNOWN, Span


@dataclass(frozen=True)
class Val:
    """A value in the ONNX graph. shape: None where unknown, a dim is None where dynamic. scalar: a Python number of the program."""

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None = None
    scalar: bool = False

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The shape, which must be known to its rank."""
        assert self.shape is not None, f"{self.name} has no known rank"
        return self.shape

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def floating(self) -> bool:
        return "float" in self.dtype


Number = Union[bool, int, float]
Size = Union[int, Val]
"""A size or index: known now, or a 0-d int64 value."""
NUMPY = {name: np.dtype(name) for name in ENUM if name != "bfloat16"}
INT64_MAX = 2**63 - 1
COUNTS = frozenset({"ArgMax", "ArgMin", "NonZero", "Shape", "Size"})
"""Operators that give no number below zero."""
COMPOSED = frozenset({"ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2"})
"""Reductions that are those of their parts, where these are of one size."""
LONG = 4096
"""Elements from which on a sum is made of parts."""
MOVES = frozenset("Cast Expand Flatten Gather GatherElements Identity Reshape Slice Squeeze Transpose Unsqueeze".split())
"""Operators whose result holds nothing but what their first input holds, of integers."""


class Builder:
    """One ONNX graph under construction.

    outs: dtype and shape of what the current ATen node must give. low: the low-precision dtype that the node works in, whose
    values are computed as float32. places: mask → its true places. kept: the initialisers of the finished model. uniform: value → the
    dim along which a NaN fills the whole row, as softmax makes it. stops: values behind which no number raises. tells: the code goes on
    where a number raises, and `failed` says which of `errors` it was.
    """

    def __init__(self, tells: bool = False) -> None:
        self.tells = tells
        self.errors: list[tuple[Exception, Span]] = []
        self.flags: list[Val] = []
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.inputs: list[Any] = []
        self.origin: dict[str, Any] = {}
        self.current: Any = None
        self.outs: tuple[Val, ...] = ()
        self.low: str | None = None
        self.kept: list[Any] = []
        self.uniform: dict[str, int] = {}
        self.places: dict[str, Val] = {}
        self.stops: set[str] = set()
        self._flipped: dict[str, Val] = {}
        self._makers: dict[str, Any] = {}
        self._constants: dict[tuple[Any, ...], Val] = {}
        self._count = 0

    @property
    def dtype(self) -> str:
        """dtype of the (first) result of the current node."""
        return self.outs[0].dtype

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of the (first) result of the current node."""
        return self.outs[0].shape or ()

    def fresh(self) -> str:
        self._count += 1
        return f"v{self._count}"

    # -- nodes -----------------------------------------------------------------------------------------------------------

    def op(self, op: str, *inputs: Val | None, dtype: str | None = None, domain: str = "", **attributes: Any) -> Val:
        """A node with one result; `dtype` where the schema does not tell it."""
        return self.ops(op, *inputs, count=1, dtype=dtype, domain=domain, **attributes)[0]

    def ops(
        self, op: str, *inputs: Val | None, count: int, dtype: str | None = None, domain: str = "", **attributes: Any
    ) -> tuple[Val, ...]:
        """A node with `count` results. Raises Unsupported when ONNX Runtime has no kernel for the element types."""
        made = plan(domain, op, tuple(None if v is None else v.dtype for v in inputs), count)
        args = [v if v is None or d is None else self.cast(v, d) for v, d in zip(inputs, made.inputs, strict=True)]
        results = tuple(Val(self.fresh(), dtype or given or _unknown(op)) for given, _ in made.outputs)
        self._append(op, [a.name if a else "" for a in args], [r.name for r in results], domain, attributes)
        return tuple(r if back is None or dtype else self.cast(r, back) for r, (_, back) in zip(results, made.outputs, strict=True))

    def _append(
        self, op: str, inputs: list[str], outputs: list[str], domain: str, attributes: dict[str, Any], said: str = ""
    ) -> None:
        from onnx import helper

        number = f"n{len(self.nodes)}"
        name = f"{number}{said}"
        while inputs and not inputs[-1]:
            inputs.pop()
        self.nodes.append(
            helper.make_node(op, inputs, outputs, name=name, domain=domain, **{k: v for k, v in attributes.items() if v is not None})
        )
        self.origin[number] = self.origin[name] = self.current
        self._makers.update(dict.fromkeys(outputs, self.nodes[-1]))

    def cast(self, value: Val, dtype: str) -> Val:
        """`value` as `dtype`, with C's meaning (float to bool: not zero; to a narrower int: wraps)."""
        if value.dtype == dtype:
            return value
        result = replace(value, name=self.fresh(), dtype=dtype)
        self._append("Cast", [value.name], [result.name], "", {"to": ENUM[dtype]})
        return result

    # -- constants -------------------------------------------------------------------------------------------------------

    def const(self, value: Any, dtype: str) -> Val:
        """A constant tensor; equal ones are stored once."""
        from onnx import helper, numpy_helper

        array = np.asarray(value).astype(NUMPY.get(dtype, np.float32))
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = f"c{len(self._constants)}"
            if dtype == "bfloat16":
                tensor = helper.make_tensor(name, ENUM[dtype], array.shape, array.ravel().tolist())
            else:
                tensor = numpy_helper.from_array(array, name)
            self.initializers.append(tensor)
            self._constants[key] = Val(name, dtype, array.shape)
        return self._constants[key]

    def lift(self, value: Val | Number, dtype: str) -> Val:
        """A number or a value as a value of `dtype`."""
        return self.cast(value, dtype) if isinstance(value, Val) else self.const(value, dtype)

    def counted(self, end: Size) -> Val:
        """0, 1, ... below `end`, as int64."""
        made = self.op("Range", self.const(0, "int64"), self.lift(end, "int64"), self.const(1, "int64"))
        return replace(made, shape=(None,))

    def ints(self, values: Sequence[Size]) -> Val:
        """Sizes as a 1-d int64 tensor."""
        if all(isinstance(v, int) for v in values):
            return self.const(np.array(values, np.int64), "int64")
        parts = [self.reshape(self.cast(v, "int64"), [1]) if isinstance(v, Val) else self.const([v], "int64") for v in values]
        return self.concat(parts, 0) if len(parts) > 1 else parts[0]

    def array(self, value: Val) -> np.ndarray[Any, Any] | None:
        """What a constant holds; None for other values."""
        from onnx import numpy_helper

        found = next((i for i in self.initializers if i.name == value.name and not i.external_data), None)
        return None if found is None else numpy_helper.to_array(found)

    def natural(self, index: Val) -> Val:
        """Indices as int64, of which those below zero name no place: ONNX would count them from the end, where torch raises."""
        index = self.cast(index, "int64")
        array = self.array(index)
        if array is not None and (array < 0).any():
            raise Unsupported("an index is negative, which only eager raises")
        if array is not None or self._counts(index.name):
            return index
        return replace(self.op("BitwiseAnd", index, self.const(INT64_MAX, "int64")), shape=index.shape)

    def _counts(self, name: str) -> bool:
        """Whether a value is known to hold no number below zero."""
        maker = self._makers.get(name)
        if maker is None:
            return False
        moved = maker.op_type in MOVES and self._counts(maker.input[0])
        return moved or maker.op_type in COUNTS or maker.op_type == "TopK" and name == maker.output[1]

    # -- shapes ----------------------------------------------------------------------------------------------------------

    def size(self, value: Val, dim: int) -> Size:
        """A size of `value`: an int where it is known, else a 0-d int64 value."""
        dim %= value.rank
        known = value.shape[dim] if value.shape else None
        if known is not None:
            return known
        return self.op("Squeeze", self.op("Shape", value, start=dim, end=dim + 1), self.const([0], "int64"))

    def sizes(self, value: Val) -> list[Size]:
        return [self.size(value, d) for d in range(value.rank)]

    def shape_of(self, value: Val) -> Val:
        if value.shape is not None and None not in value.shape:
            return self.ints([d for d in value.shape if d is not None])
        return self.op("Shape", value)

    def count(self, value: Val, dims: Iterable[int]) -> Size:
        """The product of some sizes of `value`."""
        result: Size = 1
        for dim in dims:
            result = self.times(result, self.size(value, dim))
        return result

    def times(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1 or b == 1:
            return b if a == 1 else a
        return self.op("Mul", self.lift(a, "int64"), self.lift(b, "int64"))

    def reshape(self, value: Val, sizes: Sequence[Size]) -> Val:
        """`value` with other sizes; one may be -1. A size of 0 means 0."""
        sizes = list(sizes)
        unknown = [i for i, s in enumerate(sizes) if isinstance(s, Val)]
        fixed = [s for s in sizes if isinstance(s, int)]
        if len(unknown) == 1 and -1 not in fixed and 0 not in fixed:
            sizes[unknown[0]], unknown = -1, []
        shape = tuple(s if isinstance(s, int) and s >= 0 else None for s in sizes)
        zero = bool(unknown) or 0 in fixed
        if zero and -1 in fixed:
            total = self.op("Size", value)
            rest: Size = 1
            for s in sizes:
                rest = rest if s == -1 else self.times(rest, s)
            # torch refuses -1 beside a size of 0, so the maximum below only keeps an empty division from trapping
            rest = self.op("Max", self.lift(rest, "int64"), self.const(1, "int64"))
            sizes[sizes.index(-1)] = self.op("Div", total, rest)
        return replace(self.op("Reshape", value, self.ints(sizes), allowzero=1 if zero else None), shape=shape)

    def flat(self, value: Val) -> Val:
        return self.reshape(value, [math.prod(value.shape) if value.shape is not None and None not in value.shape else -1])  # type: ignore[arg-type]

    def unsqueeze(self, value: Val, *dims: int) -> Val:
        shape = None
        if value.shape is not None:
            rank = value.rank + len(dims)
            left = iter(value.shape)
            shape = tuple(1 if i in {d % rank for d in dims} else next(left) for i in range(rank))
        return replace(self.op("Unsqueeze", value, self.const(list(dims), "int64")), shape=shape)

    def squeeze(self, value: Val, *dims: int) -> Val:
        shape = None
        if value.shape is not None:
            gone = {d % value.rank for d in dims}
            shape = tuple(s for i, s in enumerate(value.shape) if i not in gone)
        return replace(self.op("Squeeze", value, self.const(list(dims), "int64")), shape=shape)

    def transpose(self, value: Val, order: Sequence[int]) -> Val:
        if list(order) == list(range(len(order))):
            return value
        shape = None if value.shape is None else tuple(value.shape[i] for i in order)
        result = replace(self.op("Transpose", value, perm=list(order)), shape=shape)
        if len(order) == 2:
            self._flipped[result.name] = value
        return result

    def untransposed(self, value: Val) -> tuple[Val, bool]:
        """The matrix that `value` is the transpose of, and True; or `value` itself, and False."""
        return (self._flipped[value.name], True) if value.name in self._flipped else (value, False)

    def swap(self, value: Val, a: int, b: int) -> Val:
        order = list(range(value.rank))
        order[a], order[b] = order[b], order[a]
        return self.transpose(value, order)

    def slice(self, value: Val, dim: int, start: Size, end: Size, step: int = 1) -> Val:
        return self.op("Slice", value, self.ints([start]), self.ints([end]), self.ints([dim]), self.ints([step]))

    def concat(self, values: Sequence[Val], dim: int) -> Val:
        return self.op("Concat", *values, axis=dim) if len(values) > 1 else values[0]

    def expand(self, value: Val, sizes: Sequence[Size] | Val) -> Val:
        """`value` broadcast to sizes (-1: as it is)."""
        if isinstance(sizes, Val):
            return self.op("Expand", value, sizes)
        shape = tuple(s if isinstance(s, int) and s >= 0 else None for s in sizes)
        if None not in shape and shape == value.shape:
            return value
        return replace(self.op("Expand", value, self.ints([1 if s == -1 else s for s in sizes])), shape=shape)

    def full(self, sizes: Sequence[Size] | Val, value: Val | Number, dtype: str) -> Val:
        """A tensor of one value."""
        shape = sizes if isinstance(sizes, Val) else self.ints(sizes)
        if isinstance(value, Val):
            return self.expand(self.cast(value, dtype), shape)
        return self.expand(self.const(value, dtype), shape)

    # -- small arithmetic ------------------------------------------------------------------------------------------------

    def where(self, condition: Val, then: Val, orelse: Val) -> Val:
        return self.op("Where", self.cast(condition, "bool"), then, orelse)

    def not_(self, value: Val) -> Val:
        return replace(self.op("Not", self.cast(value, "bool")), shape=value.shape)

    def reduce(self, op: str, value: Val, dims: Sequence[int], keep: bool = False) -> Val:
        """A reduction over `dims` (empty: all)."""
        found = self._in_parts(op, value, sorted(dims) or list(range(value.rank)), keep)
        if found is not None:
            return found
        axes = self.const(sorted(dims), "int64") if dims and value.rank else None
        return self.op(op, value, axes, keepdims=int(keep))

    def _in_parts(self, op: str, value: Val, dims: list[int], keep: bool) -> Val | None:
        """A long sum of floats as sums of parts, as eager adds them: one after another, a million of them are off by a thousandth."""
        if op not in COMPOSED or value.dtype not in ("float32", "float16", "bfloat16"):
            return None
        sizes = [value.dims[d] for d in dims]
        if None in sizes or math.prod(s for s in sizes if s is not None) < LONG:
            return None
        shape = [d if d is not None else self.size(value, i) for i, d in enumerate(value.dims)]
        long = [d for d in dims if value.dims[d] != 1]
        if len(long) > 1:
            once = self.reduce(op, value, [long[-1]], True)
            rest = [1 if i == long[-1] else d for i, d in enumerate(value.dims)]
        else:
            (dim,), (size,) = long, [s for s in sizes if s is not None and s != 1]
            parts = next((n for n in range(math.isqrt(size), 15, -1) if size % n == 0), 1)
            if parts == 1:
                return None
            wide = self.reshape(value, [*shape[:dim], size // parts, parts, *shape[dim + 1 :]])
            once = self.op(op, wide, self.const([dim + 1], "int64"), keepdims=0)
            rest = [size // parts if i == dim else d for i, d in enumerate(value.dims)]
        return self.reduce(op, Val(once.name, value.dtype, tuple(rest)), dims, keep)

    def lowest(self, dtype: str) -> Number:
        return -math.inf if "float" in dtype else False if dtype == "bool" else int(np.iinfo(dtype).min)

    def highest(self, dtype: str) -> Number:
        return math.inf if "float" in dtype else True if dtype == "bool" else int(np.iinfo(dtype).max)

    # -- errors ----------------------------------------------------------------------------------------------------------

    def raising(self, value: Val, wrong: Val, error: Exception) -> Val:
        """`value`, a number; where `wrong` holds, the run ends there, and who runs it raises `error`, whatever else is computed.

        A Gather at a place that is not there stops ONNX Runtime, which names the node: its name says the error.
        """
        if self.tells:
            self.flags.append(self.where(wrong, self.const(len(self.errors), "int64"), self.const(-1, "int64")))
            self.errors.append((error, self.current.meta.get("span", UNKNOWN)))
            return replace(self.where(wrong, self.const(1, value.dtype), value), shape=value.shape, scalar=value.scalar)
        result = replace(value, name=self.fresh())
        inputs = [self.reshape(value, [1]).name, self.cast(wrong, "int64").name]
        self._append("Gather", inputs, [result.name], "", {"axis": 0}, told(error, self.current.meta.get("span", UNKNOWN)))
        self.stops.add(result.name)
        return result

    def failed(self) -> Val | None:
        """The number of the first error, or -1; None where there can be none."""
        first: Val | None = None
        for flag in reversed(self.flags):
            first = flag if first is None else self.where(self.op("Less", flag, self.const(0, "int64")), first, flag)
        return first

    # -- the whole -------------------------------------------------------------------------------------------------------

    def input(self, name: str, dtype: str, shape: Sequence[int | str | None]) -> Val:
        """Declares a graph input; named dims are symbols."""
        from onnx import helper

        self.inputs.append(helper.make_tensor_value_info(name, ENUM[dtype], list(shape)))
        return Val(name, dtype, tuple(d if isinstance(d, int) else None for d in shape))

    def weight(self, name: str, dtype: str, shape: Sequence[int]) -> Val:
        """Declares an initialiser whose bytes are handed to ONNX Runtime when the model is loaded."""
        from onnx import TensorProto

        tensor = TensorProto(name=name, data_type=ENUM[dtype], dims=list(shape), data_location=TensorProto.EXTERNAL)
        for key, value in (("location", "weights"), ("offset", "0"), ("length", str(math.prod(shape) * _width(dtype)))):
            tensor.external_data.add(key=key, value=value)
        self.initializers.append(tensor)
        return Val(name, dtype, tuple(shape))

    def model(self, outputs: Sequence[tuple[Val, Sequence[int | str | None] | None]]) -> bytes:
        """The model with `outputs` named o0, o1, …; nodes that no output needs are dropped."""
        from onnx import helper

        infos, rename = [], {}
        produced = {name for node in self.nodes for name in node.output}
        for i, (value, shape) in enumerate(outputs):
            if value.name in produced and value.name not in rename:
                rename[value.name] = f"o{i}"
            else:
                self._append("Identity", [value.name], [f"o{i}"], "", {})
            infos.append(helper.make_tensor_value_info(f"o{i}", ENUM[value.dtype], None if shape is None else list(shape)))
        needed = {f"o{i}" for i in range(len(outputs))}
        kept = []
        for node in reversed(self.nodes):
            for names in (node.input, node.output):
                names[:] = [rename.get(n, n) for n in names]
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        if self.stops - {rename.get(n, n) for n in needed} - rename.keys():
            raise Unsupported("an operation on numbers that nothing reads may raise")
        self.kept = [i for i in self.initializers if i.name in needed]
        graph = helper.make_graph(kept[::-1], "kernel", self.inputs, infos, self.kept)
        imports = [helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)]
        return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=imports, producer_name="dync").SerializeToString()


def _width(dtype: str) -> int:
    return 2 if dtype == "bfloat16" else NUMPY[dtype].itemsize


def _unknown(op: str) -> str:
    raise AssertionError(f"the schema of {op} does not tell the type of its result")
