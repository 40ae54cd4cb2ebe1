"""The graph before kernels are made: products and convolutions take their packed form, views move to where they cost nothing.

before:  y = reshape(matmul(reshape(x, [64, 256]), w) + b, [1, 64, 768]); z = gelu(y)
after:   y = gelu(linear(reshape(x, [64, 256]), packed(w)) + b); z = reshape(y, [1, 64, 768])

What depends on the parameters alone (from `num_input` of "main" on) is emitted as plain operators, for LiftTransformParams to take out.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportReturnType=false, reportAssignmentType=false, reportGeneralTypeIssues=false
# TVM's nodes get their fields from C++ when it is loaded: its annotations do not know them.
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import tvm
from tvm import relax

from dync.backends.tvm.schedule import convolution, linear
from dync.backends.tvm.schedule.loops import constant, index, product, same
from dync.backends.tvm.schedule.machine import Machine

Expr = Any

UNARY = frozenset(
    "abs acos acosh asin asinh atan atanh ceil cos cosh erf exp floor isfinite isinf isnan log logical_not bitwise_not negative round rsqrt"
    " sigmoid sign sin sinh sqrt square tan tanh trunc clip astype"
    " nn.relu nn.relu6 nn.gelu nn.gelu_tanh nn.silu nn.leakyrelu nn.selu nn.softplus".split()
)
BINARY = frozenset(
    "add subtract multiply divide floor_divide mod power maximum minimum equal not_equal greater greater_equal less less_equal"
    " logical_and logical_or logical_xor bitwise_and bitwise_or bitwise_xor where".split()
)
REDUCTIONS = frozenset("mean sum max min prod variance std".split())
ROWWISE = frozenset(("nn.softmax", "nn.log_softmax", "nn.layer_norm", "nn.rms_norm"))
"""Operators that work along the last axis and are pointwise in the others, when their attributes say so."""


@dataclass(frozen=True, eq=False)
class View:
    """A tensor that is another one seen differently: dimensions in another order (`axes`), or another shape of the same elements."""

    base: Expr
    shape: tuple[Expr, ...]
    axes: tuple[int, ...] | None = None


def rewritten(mod: tvm.IRModule, machine: Machine) -> tvm.IRModule:
    """The module with "main" rewritten; unchanged where "main" is not all dataflow."""
    main = mod["main"]
    blocks = main.body.blocks
    if not all(isinstance(b, relax.DataflowBlock) for b in blocks) or not isinstance(main.body, relax.SeqExpr):
        return mod
    return _Graph(mod, main, machine).run()


class _Graph:
    def __init__(self, mod: tvm.IRModule, main: relax.Function, machine: Machine) -> None:
        self.main, self.machine = main, machine
        rest = {name: f for name, f in mod.functions.items() if name.name_hint != "main"}
        self.bb = relax.BlockBuilder(tvm.IRModule(rest, attrs=mod.attrs, global_infos=mod.global_infos))
        self.env: dict[Any, Expr | View] = {}
        self.fixed: set[Any] = set()
        self.made: dict[View, Expr] = {}
        self.norms: dict[Any, relax.Call] = {}
        """Batch norms, by the variable of their tuple."""

    def run(self) -> tvm.IRModule:
        main = self.main
        inputs = int(main.attrs["num_input"]) if main.attrs and "num_input" in main.attrs else len(main.params)
        self.fixed = set(main.params[inputs:])
        self.env = {p: p for p in main.params}
        with self.bb.function("main", list(main.params), attrs=dict(main.attrs.items()) if main.attrs else None):
            with self.bb.dataflow():
                for block in main.body.blocks:
                    for binding in block.bindings:
                        self._bind(binding)
                result = self.bb.emit_output(self._expr(main.body.body))
            self.bb.emit_func_output(result)
        return self.bb.get()

    # -- bindings ------------------------------------------------------------------------------------------------------------

    def _bind(self, binding: Any) -> None:
        if isinstance(binding, relax.MatchCast):
            made = self.bb.match_cast(self._expr(binding.value), binding.ty)
            self.env[binding.var] = made
            if self._is_fixed(binding.value):
                self.fixed.add(made)
            return
        value = binding.value
        if isinstance(value, relax.Var):
            self.env[binding.var] = self.env[value]
            return
        if isinstance(value, relax.TupleGetItem) and value.index == 0 and value.tuple_value in self.norms:
            made = self._batch_norm(self.norms[value.tuple_value])
        elif isinstance(value, relax.Call) and getattr(value.op, "name", "") == "relax.nn.batch_norm" and self._folds(value):
            self.norms[binding.var] = value
            return
        else:
            made = self._call(value) if isinstance(value, relax.Call) else self._expr(value)
        made = self.env.get(made, made) if isinstance(made, relax.Var) else made
        self.env[binding.var] = made if isinstance(made, View) else self._emit(made)

    def _emit(self, value: Expr) -> Expr:
        if isinstance(value, relax.Var):
            return value
        var = self.bb.emit(value)
        if self._is_fixed(value):
            self.fixed.add(var)
        return var

    def _is_fixed(self, value: Expr) -> bool:
        """Whether a value depends on parameters and constants only."""
        match value:
            case relax.Var():
                known = self.env.get(value, value)
                return value in self.fixed or (not isinstance(known, View) and known in self.fixed)
            case relax.Call():
                return isinstance(value.op, tvm.ir.Op) and value.op.name != "relax.call_tir" and all(map(self._is_fixed, value.args))
            case relax.Tuple():
                return all(map(self._is_fixed, value.fields))
            case relax.TupleGetItem():
                return self._is_fixed(value.tuple_value)
        return True

    def _expr(self, value: Expr) -> Expr:
        """`value` over the new variables, views made real."""
        match value:
            case relax.Var() if value in self.norms:
                call = self.norms[value]
                return relax.Tuple([self._expr(self._batch_norm(call)), self._expr(call.args[3]), self._expr(call.args[4])])
            case relax.Var():
                known = self.env.get(value, value)
                return self._real(known) if isinstance(known, View) else known
            case relax.Tuple():
                return relax.Tuple([self._expr(f) for f in value.fields])
            case relax.TupleGetItem():
                return relax.TupleGetItem(self._expr(value.tuple_value), value.index)
            case relax.Call():
                return relax.Call(value.op, [self._expr(a) for a in value.args], value.attrs, value.ty_args)
        return value

    def _real(self, view: View) -> Expr:
        if view not in self.made:
            self.made[view] = self._emit(self._seen(view.base, view))
        return self.made[view]

    @staticmethod
    def _seen(base: Expr, view: View) -> Expr:
        return relax.op.permute_dims(base, list(view.axes)) if view.axes else relax.op.reshape(base, list(view.shape))

    def _known(self, value: Expr) -> Expr | View:
        return self.env.get(value, value) if isinstance(value, relax.Var) else value

    def _folds(self, call: relax.Call) -> bool:
        """Whether a batch norm is a scale and a shift known before any call."""
        return not call.attrs.training and int(call.attrs.axis) == 1 and all(map(self._is_fixed, call.args[1:]))

    def _batch_norm(self, call: relax.Call) -> Expr | View:
        """before: (x - mean) / sqrt(var + epsilon) * gamma + beta; after: x * scale + shift."""
        gamma, beta, mean, var = map(self._expr, call.args[1:])
        dtype, rank = str(gamma.ty.dtype), len(shape_of(self._known(call.args[0])))
        emit, op = self._emit, relax.op
        spread = emit(op.sqrt(emit(op.add(var, relax.const(float(call.attrs.epsilon), dtype)))))
        scale = emit(op.divide(gamma, spread)) if call.attrs.scale else emit(op.divide(relax.const(1, dtype), spread))
        centre = emit(op.multiply(mean, scale))
        shift = emit(op.subtract(beta, centre)) if call.attrs.center else emit(op.negative(centre))
        wide = [-1, *[1] * (rank - 2)]
        scaled = self._pointwise(op.multiply(call.args[0], emit(op.reshape(scale, wide))))
        return self._pointwise(op.add(scaled, emit(op.reshape(shift, wide))))

    def _pointwise(self, call: relax.Call) -> Expr | View:
        """A binary operator of known values; a view comes back as a variable that stands for it."""
        call = self.bb.normalize(call)
        made = self._call(call)
        if not isinstance(made, View):
            return self._emit(made)
        stands = relax.Var("view", call.ty)
        self.env[stands] = made
        return stands

    # -- operators -----------------------------------------------------------------------------------------------------------

    def _call(self, call: relax.Call) -> Expr | View:
        if not isinstance(call.op, tvm.ir.Op) or not call.op.name.startswith("relax.") or self._is_fixed(call):
            return self._expr(call)
        name = call.op.name.removeprefix("relax.")
        made = None
        if name in ("permute_dims", "reshape", "expand_dims", "squeeze", "nn.batch_flatten"):
            made = self._view(call, name)
        elif name in UNARY:
            made = self._unary(call)
        elif name in BINARY:
            made = self._binary(call, name)
        elif name in ROWWISE:
            made = self._rowwise(call, name)
        elif name in REDUCTIONS:
            made = self._reduction(call, name)
        elif name == "matmul":
            made = linear.matmul(self, call)
        elif name in convolution.NAMES:
            made = convolution.convolution(self, call, name)
        elif name in ("nn.max_pool2d", "nn.avg_pool2d", "nn.adaptive_avg_pool2d"):
            made = self._pool(call, name)
        return self._expr(call) if made is None else made

    def _view(self, call: relax.Call, name: str) -> Expr | View | None:
        value = self._known(call.args[0])
        if name == "permute_dims":
            rank = len(shape_of(call.args[0]))
            axes = tuple(int(a) % rank for a in call.attrs.axes) if call.attrs.axes is not None else tuple(reversed(range(rank)))
            return self.permuted(value, axes)
        return self.reshaped(value, tuple(call.ty.shape.values))

    def permuted(self, value: Expr | View, axes: tuple[int, ...]) -> Expr | View:
        """permute_dims of a value as a view."""
        shape = shape_of(value)
        new = tuple(shape[a] for a in axes)
        moved = [a for a in axes if constant(shape[a]) != 1]
        if moved == sorted(moved):  # only dimensions of size 1 change places
            return self.reshaped(value, new)
        if isinstance(value, View):
            if value.axes is None:
                return View(self._real(value), new, axes)
            axes = tuple(value.axes[a] for a in axes)
            if axes == tuple(range(len(axes))):
                return value.base
            return self.permuted(value.base, axes)
        return View(value, new, axes)

    def reshaped(self, value: Expr | View, shape: Sequence[Expr]) -> Expr | View:
        """reshape of a value as a view."""
        if same_shape(shape_of(value), shape):
            return value
        if isinstance(value, View):
            if value.axes is None:
                return self.reshaped(value.base, shape)
            before = [constant(s) for s in shape_of(value.base)]
            moved = [a for a in value.axes if before[a] != 1]
            base = self._real(value) if moved != sorted(moved) else value.base
            return self.reshaped(base, shape)
        return View(value, tuple(shape))

    def _unary(self, call: relax.Call) -> View | None:
        view = self._known(call.args[0])
        if not isinstance(view, View):
            return None
        rest = [self._expr(a) for a in call.args[1:]]
        return View(self._emit(relax.Call(call.op, [view.base, *rest], call.attrs)), view.shape, view.axes)

    def _binary(self, call: relax.Call, name: str) -> View | None:
        """The operator on the bases, when every other operand can be seen as the view's base for nothing."""
        values = [self._known(a) for a in call.args]
        views = [v for v in values if isinstance(v, View)]
        result = tuple(call.ty.shape.values) if call.ty.shape is not None else None
        view = next((v for v in views if result is not None and same_shape(v.shape, result)), None)
        if view is None:
            return None
        operands = [self._beside(v, view) for v in values]
        if any(o is None for o in operands):
            return None
        return View(self._emit(relax.Call(call.op, operands, call.attrs)), view.shape, view.axes)

    def _beside(self, value: Expr | View, view: View) -> Expr | None:
        """`value` in the coordinates of the base of `view`, None where that costs a copy."""
        shape = shape_of(value)
        if all(constant(s) == 1 for s in shape):
            real = self._real(value) if isinstance(value, View) else value
            return real if not shape else self._emit(relax.op.reshape(real, []))
        if isinstance(value, View) and value.axes == view.axes and same_shape(value.shape, view.shape):
            if same_shape(shape_of(value.base), shape_of(view.base)):
                return value.base
        if view.axes is not None:
            if not self._is_fixed(value if not isinstance(value, View) else value.base) or isinstance(value, View):
                return None
            whole = [index(1)] * (len(view.shape) - len(shape)) + list(shape)
            inverse = [list(view.axes).index(d) for d in range(len(view.axes))]
            return self._emit(relax.op.permute_dims(self._emit(relax.op.reshape(value, whole)), inverse))
        base = shape_of(view.base)
        if same_shape(shape, view.shape):
            seen = self.reshaped(value, base)
            return self._real(seen) if isinstance(seen, View) else seen
        kept = [d for d, s in enumerate(shape) if constant(s) != 1]
        last = bool(base) and bool(view.shape) and same_shape(base[-1:], view.shape[-1:])
        if kept == [len(shape) - 1] and last and same_shape(shape[-1:], base[-1:]):
            seen = self.reshaped(value, shape[-1:])
            return self._real(seen) if isinstance(seen, View) else seen
        return None

    def _rowwise(self, call: relax.Call, name: str) -> View | None:
        view = self._known(call.args[0])
        if not isinstance(view, View) or view.axes is not None or not view.shape or not shape_of(view.base):
            return None
        rank, base = len(view.shape), shape_of(view.base)
        axes = [int(call.attrs.axis)] if hasattr(call.attrs, "axis") else [int(a) for a in call.attrs.axes]
        if axes not in ([-1], [rank - 1]) or not same_shape(base[-1:], view.shape[-1:]):
            return None
        rest = [self._expr(a) for a in call.args[1:]]
        if name in ("nn.softmax", "nn.log_softmax"):
            made = getattr(relax.op.nn, name[3:])(view.base, axis=-1)
        else:
            extra = {"center": bool(call.attrs.center), "scale": bool(call.attrs.scale)} if name == "nn.layer_norm" else {}
            made = getattr(relax.op.nn, name[3:])(view.base, *rest, axes=[-1], epsilon=float(call.attrs.epsilon), **extra)
        return View(self._emit(made), view.shape)

    def _reduction(self, call: relax.Call, name: str) -> Expr | View | None:
        """A reduction of permuted dimensions reduces the base, if those that are left keep their order."""
        view = self._known(call.args[0])
        if not isinstance(view, View) or view.axes is None:
            return None
        rank = len(view.axes)
        given = call.attrs.axis
        axes = [int(a) % rank for a in given] if given is not None else list(range(rank))
        left = [view.axes[d] for d in range(rank) if d not in axes]
        if left != sorted(left):
            return None
        made = self._emit(getattr(relax.op, name)(view.base, axis=[view.axes[a] for a in axes], keepdims=False))
        return self.reshaped(made, tuple(call.ty.shape.values))

    def _pool(self, call: relax.Call, name: str) -> View | None:
        view = self._known(call.args[0])
        if not isinstance(view, View) or view.axes != (0, 3, 1, 2) or call.attrs.layout != "NCHW":
            return None
        a = call.attrs
        if name == "nn.adaptive_avg_pool2d":
            made = relax.op.nn.adaptive_avg_pool2d(view.base, list(a.output_size) if a.output_size is not None else None, layout="NHWC")
        else:
            made = getattr(relax.op.nn, name[3:])(
                view.base,
                list(a.pool_size),
                list(a.strides),
                list(a.padding),
                list(a.dilation),
                a.ceil_mode,
                a.count_include_pad,
                layout="NHWC",
            )
        return self.channels_first(self._emit(made))

    # -- what the rules of other files use ---------------------------------------------------------------------------------

    def channels_first(self, value: Expr) -> Expr | View:
        """[N, H, W, C] seen as [N, C, H, W]."""
        return self.permuted(value, (0, 3, 1, 2))

    def channels_last(self, value: Expr | View) -> Expr:
        """[N, C, H, W] as a real [N, H, W, C]."""
        seen = self.permuted(value, (0, 2, 3, 1))
        return self._real(seen) if isinstance(seen, View) else seen

    def flat_rows(self, value: Expr) -> Expr:
        """[..., K] as a real [rows, K]."""
        known = self._known(value)
        shape = shape_of(known)
        rows = product(shape[:-1])
        seen = self.reshaped(known, (index(rows) if isinstance(rows, int) else rows, shape[-1]))
        return self._real(seen) if isinstance(seen, View) else seen

    def real(self, value: Expr) -> Expr:
        return self._expr(value)

    def is_fixed(self, value: Expr) -> bool:
        return self._is_fixed(value)

    def emit(self, value: Expr) -> Expr:
        return self._emit(value)

    def kernel(self, compute: Callable[..., Any], *args: Any, name: str, **named: Any) -> Expr:
        """A tensor expression whose result elementwise consumers are fused into."""
        return self._emit(self.bb.call_te(compute, *args, primfunc_name_hint=name, primfunc_attrs={"op_pattern": 4}, **named))


def shape_of(value: Expr | View) -> tuple[Expr, ...]:
    return value.shape if isinstance(value, View) else tuple(value.ty.shape.values)


def same_shape(a: Sequence[Expr], b: Sequence[Expr]) -> bool:
    return len(a) == len(b) and all(map(same, a, b))
