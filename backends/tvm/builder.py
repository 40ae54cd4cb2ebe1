"""Writes a Relax function value by value, behind the interface through which ATen operators are translated.

The translations of `dync.backends.onnx` speak in operators whose meaning the ONNX specification fixes. Here each of them becomes
Relax or TE instead of an ONNX node. Every value has a full symbolic shape, so sizes are expressions and not tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dync.backends.onnx.builder import INT64_MAX, Builder, Size, Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.door import relax, structural_equal, te, tirx, tvm
from dync.ir.types import UNKNOWN

Prim = Any
"""An int64 expression over the function's size symbols."""


LARGE = 4096
"""Elements from which on a tensor of one value is made at run time. One without elements is, too: TVM cannot load it."""


class RelaxBuilder(Builder):
    """One Relax function under construction.

    exprs: value → its Relax expression. prims: int64 values known as size expressions: one for a 0-d value, a list for a vector.
    anchor: a parameter; what takes it is not folded to a constant in the library. extra: a function of TVM's second runtime library
    is called. outside: what makes a call fail: counts of indices that are out of range, or -1 - the number of an error in `errors`.
    """

    def __init__(self, gpu: bool = False) -> None:
        super().__init__()
        self.gpu = gpu
        """Whether the code is for a GPU, where no function of TVM's own runs."""
        self.bb = relax.BlockBuilder()
        self.exprs: dict[str, Any] = {}
        self.prims: dict[str, Any] = {}
        self.variables: dict[str, Any] = {}
        self.analyzer = tvm.sym.Analyzer()
        self.extra = False
        self.anchor: Val | None = None
        self.outside: list[Val] = []
        self._data = 0

    # -- values ----------------------------------------------------------------------------------------------------------

    def give(self, expr: Any) -> Val:
        """Binds an expression of tensor type and names it."""
        var = self.bb.emit(expr)
        return self.named(var)

    def named(self, var: Any) -> Val:
        name = self.fresh()
        self.exprs[name] = var
        return Val(name, str(var.ty.dtype.dtype), tuple(map(known, var.ty.shape)))

    def te(self, function: Callable[..., Any], *args: Any) -> Val:
        """A value, or several, computed by a TE function of values, numbers and size expressions."""
        var = self.bb.emit_te(function, *[self.argument(a) for a in args], primfunc_name_hint=_hint(function))
        return self.named(var)

    def tes(self, function: Callable[..., Any], *args: Any) -> tuple[Val, ...]:
        var = self.bb.emit_te(function, *[self.argument(a) for a in args], primfunc_name_hint=_hint(function))
        return tuple(self.give(relax.TupleGetItem(var, i)) for i in range(len(var.ty.fields)))

    def argument(self, value: Any) -> Any:
        if isinstance(value, Val):
            return self.expr(value)
        return [self.argument(v) for v in value] if isinstance(value, (list, tuple)) else value

    def expr(self, value: Val) -> Any:
        """The Relax expression of a value; a size that was only an expression so far becomes a tensor."""
        if value.name not in self.exprs:
            prim = self.prims[value.name]
            if isinstance(prim, list):
                parts = [self.reshape(self.size_value(p), [1]) for p in prim]
                made = self.concat(parts, 0) if parts else self.te(lambda: te.compute((0,), lambda i: i, name="none"))
            else:
                made = self.te(lambda p: te.compute((), lambda: p, name="size"), prim)
            self.exprs[value.name] = self.exprs[made.name]
        return self.exprs[value.name]

    def dims_of(self, value: Val) -> list[Prim]:
        """The sizes of a value as expressions."""
        if value.name in self.prims and value.name not in self.exprs:
            prim = self.prims[value.name]
            return [whole(len(prim))] if isinstance(prim, list) else []
        return list(self.expr(value).ty.shape)

    # -- operators -------------------------------------------------------------------------------------------------------

    def ops(
        self, op: str, *inputs: Val | None, count: int, dtype: str | None = None, domain: str = "", **attributes: Any
    ) -> tuple[Val, ...]:
        from dync.backends.tvm.emit import EMIT

        known_sizes = self.sized(op, inputs)
        if known_sizes is not None:
            return (known_sizes,)
        emit = EMIT.get(op)
        if emit is None:
            raise Unsupported(f"{op} has no TVM form")
        if op in ("Split", "MaxPool"):
            attributes["count"] = count
        made = emit(self, *inputs, **{k: v for k, v in attributes.items() if v is not None})
        return made if isinstance(made, tuple) else (made,)

    def sized(self, op: str, inputs: Sequence[Val | None]) -> Val | None:
        """The result as a size expression where all operands are 0-d ones."""
        function = SIZES.get(op)
        prims = [self.prims.get(v.name) if v else None for v in inputs]
        if function is None or not prims or any(p is None or isinstance(p, list) for p in prims):
            return None
        made = function(*prims)
        return None if made is None else self.size_value(self.analyzer.simplify(made))

    def cast(self, value: Val, dtype: str) -> Val:
        if value.dtype == dtype:
            return value
        made = self.te(lambda x: te.compute(x.shape, lambda *i: converted(x(*i), dtype), name="cast"), value)
        return replace(made, scalar=value.scalar)

    # -- constants and sizes ---------------------------------------------------------------------------------------------

    def const(self, value: Any, dtype: str) -> Val:
        array = np.asarray(value)
        if dtype == "bfloat16":
            return self.cast(self.const(array, "float32"), dtype)
        array = array.astype(dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self._constants:
            name = self.fresh()
            self.exprs[name] = relax.const(np.ascontiguousarray(array).reshape(array.shape), dtype)
            if dtype == "int64" and array.ndim == 0:
                self.prims[name] = whole(int(array))
            if dtype == "int64" and array.ndim == 1 and array.size <= 16:
                self.prims[name] = [whole(int(v)) for v in array]
            self._constants[key] = Val(name, dtype, array.shape)
        return self._constants[key]

    def number(self, value: Val) -> Any:
        """The Python value of a constant of one element, else None."""
        array = self.array(value)
        return None if array is None or array.size != 1 else array.reshape(()).item()

    def array(self, value: Val) -> np.ndarray[Any, Any] | None:
        """The elements of a constant, else None."""
        expr: Any = self.exprs.get(value.name)
        return expr.value.numpy() if isinstance(expr, tvm.ir.GenericConst) else None

    def constant(self, value: Val | None) -> list[int] | None:
        """The Python numbers of a constant int64 vector, else None."""
        prims = self.vector(value) if value is not None and value.name in self.prims else None
        known_all = [known(p) for p in prims] if prims is not None else [None]
        return None if None in known_all else known_all  # type: ignore[return-value]

    def raising(self, value: Val, wrong: Val, error: Exception) -> Val:
        """`value`, or 1 where `wrong` holds: what is computed with it is thrown away then."""
        self.errors.append((error, self.current.meta.get("span", UNKNOWN)))
        self.outside.append(self.where(wrong, self.const(-len(self.errors), "int64"), self.const(0, "int64")))
        return replace(self.where(wrong, self.const(1, value.dtype), value), scalar=value.scalar)

    def size_value(self, prim: Prim) -> Val:
        name = self.fresh()
        self.prims[name] = prim
        return Val(name, "int64", ())

    def size(self, value: Val, dim: int) -> Size:
        prim = self.dims_of(value)[dim]
        number = known(prim)
        return self.size_value(prim) if number is None else number

    def shape_of(self, value: Val) -> Val:
        return self.vector_value(self.dims_of(value))

    def ints(self, values: Sequence[Size]) -> Val:
        return self.vector_value([self.prim(v) for v in values])

    def vector_value(self, prims: Sequence[Prim]) -> Val:
        name = self.fresh()
        self.prims[name] = list(prims)
        return Val(name, "int64", (len(prims),))

    def prim(self, size: Size) -> Prim:
        """A size as an expression; one that is in the data becomes a symbol of its own, read at run time."""
        if isinstance(size, int):
            return whole(size)
        if size.name not in self.prims:
            self.prims[size.name] = self.read(self.reshape(self.cast(size, "int64"), [1]), 1)[0]
        prim = self.prims[size.name]
        return prim[0] if isinstance(prim, list) else prim

    def vector(self, value: Val) -> list[Prim]:
        """A 1-d int64 value as expressions."""
        if value.name not in self.prims:
            count = value.dims[0]
            if count is None:
                raise Unsupported("a shape of dynamic rank")
            self.prims[value.name] = self.read(self.cast(value, "int64"), count)
        prim = self.prims[value.name]
        return prim if isinstance(prim, list) else [prim]

    def read(self, value: Val, count: int) -> list[Prim]:
        """The elements of an int64 vector as new symbols, which must not be negative when used as sizes."""
        kind = relax.ShapeType(ndim=count)
        shape = self.bb.emit(relax.op.call_pure_packed("vm.builtin.tensor_to_shape", self.expr(value), ty_args=kind))
        symbols = [tirx.Var(f"u{self._data + i}", "int64") for i in range(count)]
        self._data += count
        self.bb.match_cast(shape, relax.ShapeType(symbols))
        return symbols

    def times(self, a: Size, b: Size) -> Size:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return self.size_value(self.analyzer.simplify(self.prim(a) * self.prim(b)))

    def count(self, value: Val, dims: Iterable[int]) -> Size:
        result: Size = 1
        for dim in dims:
            result = self.times(result, self.size(value, dim))
        return result

    # -- shapes ----------------------------------------------------------------------------------------------------------

    def reshape(self, value: Val, sizes: Sequence[Size]) -> Val:
        return self.reshaped(value, [whole(s) if isinstance(s, int) else self.prim(s) for s in sizes])

    def reshaped(self, value: Val, prims: Sequence[Prim]) -> Val:
        """`value` with other sizes, -1 standing for what is left."""
        prims = list(prims)
        missing = [i for i, p in enumerate(prims) if known(p) == -1]
        if missing:
            rest = product([p for i, p in enumerate(prims) if i not in missing])
            prims[missing[0]] = self.quotient(self.dims_of(value), rest)
        if same(prims, self.dims_of(value)):
            return value
        expr = self.expr(value)
        if not self.analyzer.can_prove_equal(product(prims), product(self.dims_of(value))):
            return self.te(flat_copy, value, *prims)
        return replace(self.give(relax.op.reshape(expr, relax.ShapeExpr(prims))), scalar=False)

    def quotient(self, dims: list[Prim], rest: Prim) -> Prim:
        """product(dims) / rest, cancelling equal factors first."""
        left, number = list(dims), self.analyzer.simplify(rest)
        for dim in dims:
            if known(dim) is None and self.analyzer.can_prove_equal(tirx.floormod(number, dim), 0) and known(number) is None:
                left.remove(dim)
                number = self.analyzer.simplify(tirx.floordiv(number, dim))
        if known(number) == 0:
            return whole(0)
        return self.analyzer.simplify(tirx.floordiv(product(left), number))

    def flat(self, value: Val) -> Val:
        return self.reshaped(value, [self.analyzer.simplify(product(self.dims_of(value)))])

    def unsqueeze(self, value: Val, *dims: int) -> Val:
        rank = value.rank + len(dims)
        left, new = iter(self.dims_of(value)), {d % rank for d in dims}
        return self.reshaped(value, [whole(1) if i in new else next(left) for i in range(rank)])

    def squeeze(self, value: Val, *dims: int) -> Val:
        gone = {d % value.rank for d in dims}
        return self.reshaped(value, [s for i, s in enumerate(self.dims_of(value)) if i not in gone])

    def expand(self, value: Val, sizes: Sequence[Size] | Val) -> Val:
        prims = self.vector(sizes) if isinstance(sizes, Val) else [self.prim(s) for s in sizes]
        own = [whole(1)] * (len(prims) - value.rank) + self.dims_of(value)
        target = [o if known(p) == -1 or known(p) == 1 else p for p, o in zip(prims, own, strict=True)]
        if same(target, self.dims_of(value)):
            return value
        if all(known(o) == 1 or self.analyzer.can_prove_equal(o, p) for o, p in zip(own, target, strict=True)):
            return self.give(relax.op.broadcast_to(self.expr(value), relax.ShapeExpr(target)))
        fitted = self.match(value, [o if known(o) == 1 else p for o, p in zip(self.dims_of(value), target[-value.rank :], strict=True)])
        return self.give(relax.op.broadcast_to(self.expr(fitted), relax.ShapeExpr(target)))

    def full(self, sizes: Sequence[Size] | Val, value: Any, dtype: str) -> Val:
        prims = self.vector(sizes) if isinstance(sizes, Val) else [self.prim(s) for s in sizes]
        fill = self.lift(value, dtype)
        if not isinstance(value, Val) and dtype == "int64" and not prims:
            return fill
        one = fill if fill.dims == () else self.reshape(fill, [])
        if not prims:
            return one
        count = known(product(prims))
        if count is None or 0 < count <= LARGE or self.anchor is None:
            return self.give(relax.op.broadcast_to(self.expr(one), relax.ShapeExpr(prims)))
        return self.te(lambda v, _: te.compute(tuple(prims), lambda *i: v(), name="full"), one, self.anchor)

    def match(self, value: Val, prims: Sequence[Prim]) -> Val:
        """`value` with its sizes asserted at run time to be `prims`."""
        kind = relax.TensorType(relax.ShapeExpr(list(prims)), value.dtype)
        return replace(self.named(self.bb.match_cast(self.expr(value), kind)), scalar=value.scalar)

    # -- pointwise -------------------------------------------------------------------------------------------------------

    def common(self, values: Sequence[Val]) -> tuple[list[Val], list[Prim]]:
        """Values that broadcast to the sizes beside them. A size that is not seen to be 1 or another's is asserted to be it at run time:
        torch's tracer takes it so, while the two could be told apart where one of them is 1."""
        shapes = [self.dims_of(v) for v in values]
        rank = max(map(len, shapes), default=0)
        sizes = []
        for i in range(rank):
            wide = [s for one in shapes for s in one[i - rank + len(one) :][:1] if i - rank + len(one) >= 0 and known(s) != 1]
            sizes.append(([s for s in wide if known(s) is not None] or wide or [whole(1)])[0])
        fitted = []
        for value, own in zip(values, shapes, strict=True):
            wanted = [o if known(o) == 1 else s for o, s in zip(own, sizes[rank - len(own) :], strict=True)]
            seen = all(self.analyzer.can_prove_equal(o, w) for o, w in zip(own, wanted, strict=True))
            fitted.append(value if seen else self.match(value, wanted))
        return fitted, sizes

    def pointwise(self, function: Callable[..., Any], *values: Val, dtype: str | None = None) -> Val:
        """function of the elements of values that broadcast against each other."""

        def compute(tensors: Any, sizes: Any) -> Any:
            def one(*index: Any) -> Any:
                return function(*[x(*picked(x.shape, index)) for x in tensors])

            return te.compute(tuple(sizes), one, name="pointwise")

        made = self.te(compute, *self.common(values))
        assert dtype is None or made.dtype == dtype, f"{made.dtype} where {dtype} was expected"
        return made

    def model(self, outputs: Sequence[tuple[Val, Any]]) -> bytes:
        raise NotImplementedError("a Relax function is finished by translate")


def _hint(function: Callable[..., Any]) -> str:
    """A function's name as one of C's: code for GPUs is C++."""
    return function.__name__.strip("<>")


def known(prim: Prim) -> int | None:
    """The number that a size expression is, if it is one."""
    return int(prim.value) if isinstance(prim, tirx.IntImm) else prim if isinstance(prim, int) else None


def whole(value: int) -> Prim:
    return tirx.IntImm("int64", max(-(2**63), min(value, INT64_MAX)))


def same(a: Sequence[Prim], b: Sequence[Prim]) -> bool:
    return len(a) == len(b) and all(structural_equal(x, y) for x, y in zip(a, b, strict=True))


def product(prims: Iterable[Prim]) -> Prim:
    result = whole(1)
    for prim in prims:
        result = result * prim
    return result


def picked(shape: Any, index: Sequence[Any]) -> list[Any]:
    """The index into a tensor of `shape` that broadcasts to as many dims as `index` has."""
    own = index[len(index) - len(shape) :]
    return [whole(0) if known(s) == 1 else i for s, i in zip(shape, own, strict=True)]


def flat_copy(x: Any, *sizes: Any) -> Any:
    """A reshape whose sizes only the run knows to fit."""

    def one(*index: Any) -> Any:
        at = whole(0)
        for i, size in zip(index, sizes, strict=True):
            at = at * size + i
        places = []
        for size in reversed(list(x.shape)):
            places.append(tirx.floormod(at, size))
            at = tirx.floordiv(at, size)
        return x(*reversed(places))

    return te.compute(tuple(sizes), one, name="reshape")


def negation(truth: Any) -> Any:
    """Not, in a form that TVM's simplifier leaves alone: it makes a != b of not (a == b), and its != is false for a NaN."""
    return tirx.EQ(truth.astype("int32"), tirx.const(0, "int32"))


def converted(x: Any, dtype: str) -> Any:
    """C's cast, but that bool is whether a number is not zero."""
    have = str(x.ty.dtype)
    if dtype == "bool":
        zero = tirx.const(0, have)
        return negation(tirx.EQ(x, zero)) if "float" in have else x != zero
    if have == "bool":
        return x.astype("int32").astype(dtype) if dtype != "int32" else x.astype(dtype)
    return x.astype(dtype)


def _quotient(a: Prim, b: Prim) -> Prim | None:
    return tirx.floordiv(a, b) if known(b) is not None and known(b) > 0 else None  # type: ignore[operator]


SIZES: dict[str, Callable[..., Any]] = {
    "Add": lambda a, b: a + b, "Sub": lambda a, b: a - b, "Mul": lambda a, b: a * b, "Neg": lambda a: whole(0) - a,
    "Max": tirx.max, "Min": tirx.min, "Div": _quotient,
    "Mod": lambda a, b: tirx.floormod(a, b) if known(b) is not None and known(b) > 0 else None,  # type: ignore[operator]
}  # fmt: skip
"""Operators on sizes. A quotient is exact or of sizes that are not negative: translations of // subtract the remainder first."""
