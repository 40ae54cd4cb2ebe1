"""A block whose sizes are all known as one function that calls its kernels one after the other, its inner tensors in one piece of memory.

TVM's virtual machine would take some 75 ns for each of four steps around a kernel: two for the memory of its result, and two to let go of
it; here a call is a few instructions. What leaves the block is still the machine's to allocate.

    main(inputs, weights):  results = alloc…; chain(inputs, weights, constants, results); give the results
    chain                   on tensors, for the machine: an arena, and a call of
    raw                     on pointers: kernel after kernel, each a RAW function (see dync.backends.tvm.pipeline)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from dync.backends.tvm.door import relax, tirx, tvm, tvm_ffi
from dync.backends.tvm.pipeline import ALIGNMENT, RAW, fixed, function, pointer
from dync.backends.tvm.schedule.loops import sequence

CHECKS = ("vm.builtin.check_tensor_info", "vm.builtin.match_shape")
"""What looks at a function's parameters: their types and ranks, their sizes."""
STACK = 1024
"""Bytes up to which TVM puts a buffer on the stack, aligned to 8."""


@dataclass(frozen=True)
class Tensor:
    """A tensor of known sizes. In a block: its `place` among what the raw function takes, or else the `offset` in bytes in its arena."""

    shape: tuple[int, ...]
    dtype: str
    place: int = -1
    offset: int = 0

    @property
    def bytes(self) -> int:
        return prod(self.shape) * ((tvm.DataType(self.dtype).bits + 7) // 8)


@dataclass(frozen=True)
class Step:
    """A kernel and what it is called with."""

    kernel: Any
    args: tuple[Tensor, ...]


@dataclass(frozen=True)
class Chain:
    """What a lowered function does. It takes params, then constants, then results.

    constants, made: the nodes of the constants, and the variables of the results in the lowered function. arena: bytes of its inner
    tensors. gives: for each output of the block, the number of what the raw function takes.
    """

    taken: tuple[Tensor, ...]
    constants: tuple[Any, ...]
    made: tuple[Any, ...]
    steps: tuple[Step, ...]
    arena: int
    gives: tuple[int, ...]


class _Unfit(Exception):
    """The function does something else."""


@dataclass(frozen=True)
class Lowered:
    """Functions of the virtual machine with the kernels, and what stands between them: by name, RAW or on tensors.

    chain: what "main" does, where it is one.
    """

    module: Any
    glue: Mapping[str, Any]
    chain: Chain | None


def chained(module: Any, name: str) -> Lowered:
    """The lowered module with its "main" as a chain, where all sizes are known and it does nothing but call kernels of its own.

    name: what the names of its new functions begin with.
    """
    chain = read(module)
    if chain is None or not chain.steps:
        return Lowered(module, {}, chain)
    functions = dict(module.functions.items())
    main = next(v for v in functions if v.name_hint == "main")
    for var in dict.fromkeys(s.kernel for s in chain.steps):
        functions[tvm.ir.GlobalVar(f"{var.name_hint}_raw")] = functions[var].with_attr(RAW, symbol(name, var.name_hint))
    functions[main] = _main(functions[main], chain, f"{name}_chain")
    used = _called(f for f in functions.values() if isinstance(f, relax.Function))
    kept = {v: f for v, f in functions.items() if isinstance(f, relax.Function) or RAW in f.attrs or v in used}
    glue = {f"{name}_raw": _raw(chain, name), f"{name}_chain": _packed(chain, name)}
    return Lowered(tvm.IRModule(kept, attrs=module.attrs), glue, chain)


def symbol(name: str, kernel: str) -> str:
    """What a kernel's RAW function is called where it is linked."""
    return f"dync_{name}_{kernel}"


def read(module: Any) -> Chain | None:
    """What "main" does, None where that is no chain."""
    try:
        return _Reader(module).chain()
    except _Unfit:
        return None


class _Reader:
    """Where each value of the function is."""

    def __init__(self, module: Any) -> None:
        self.module, self.main = module, module["main"]
        self.bound = {b.var: b.value for block in self.main.body.blocks for b in block.bindings}
        self.values: dict[Any, Tensor] = {}
        self.storages: dict[Any, int] = {}
        """Their bytes."""
        self.offsets: dict[Any, int] = {}
        self.constants: dict[Any, Tensor] = {}
        self.steps: list[Step] = []
        self.arena = 0

    def chain(self) -> Chain:
        main = self.main
        params = [self.tensor(p.ty, i) for i, p in enumerate(main.params)]
        self.values.update(zip(main.params, params, strict=True))
        given = self.bound.get(main.body.body, main.body.body)
        if not isinstance(given, relax.Tuple):
            raise _Unfit
        origins = [self.origin(f) for f in given.fields]
        made = list(dict.fromkeys(o for o in origins if o in self.bound))
        constants = list(dict.fromkeys(a for v in self.bound.values() for a in self.data(v)))
        at = len(params)
        self.constants = {c: self.tensor(c.ty, at + i) for i, c in enumerate(constants)}
        at += len(constants)
        results = [self.tensor(o.ty, at + i) for i, o in enumerate(made)]
        self.leaving = dict(zip(made, results, strict=True))
        for var, value in self.bound.items():
            self.step(var, value)
        numbers = {o: at + i for i, o in enumerate(made)} | {p: i for i, p in enumerate(main.params)}
        if any(o not in numbers for o in origins):
            raise _Unfit
        taken = (*params, *self.constants.values(), *results)
        return Chain(taken, tuple(constants), tuple(made), tuple(self.steps), self.arena, tuple(numbers[o] for o in origins))

    def data(self, value: Any) -> list[Any]:
        """The constant tensors that a kernel is called with."""
        if not isinstance(value, relax.Call) or not isinstance(value.op, tvm.ir.GlobalVar):
            return []
        return [a for a in value.args if isinstance(a, tvm.ir.GenericConst)]

    def origin(self, value: Any) -> Any:
        """The parameter, or the variable of the allocation, whose memory a result is."""
        while value in self.bound:
            made = self.bound[value]
            if _is(made, "vm.builtin.reshape"):
                value = made.args[0]
            elif isinstance(made, relax.Var):
                value = made
            else:
                break
        return value

    def tensor(self, type: Any, place: int) -> Tensor:
        shape: Any = getattr(type, "shape", None)
        if not isinstance(shape, relax.ShapeExpr) or not all(isinstance(d, tirx.IntImm) for d in shape.values):
            raise _Unfit
        return Tensor(tuple(int(d) for d in shape.values), str(type.dtype), place)

    def step(self, var: Any, value: Any) -> None:
        if not isinstance(value, relax.Call):
            if isinstance(value, relax.Var) and value in self.values:
                self.values[var] = self.values[value]
            elif not isinstance(value, relax.Tuple):
                raise _Unfit
        elif isinstance(value.op, tvm.ir.GlobalVar):
            kernel = self.module[value.op]
            if not isinstance(kernel, tirx.PrimFunc) or not fixed(kernel):
                raise _Unfit
            self.steps.append(Step(value.op, tuple(self.operand(a) for a in value.args)))
        elif _is(value, "relax.vm.alloc_storage"):
            self.storages[var] = int(value.args[0].values[0])
        elif _is(value, "relax.vm.alloc_tensor"):
            if int(value.args[1]):
                raise _Unfit
            found = self.tensor(var.ty, -1)
            self.values[var] = self.leaving.get(var) or Tensor(found.shape, found.dtype, offset=self.offset(value.args[0]))
        elif _is(value, "vm.builtin.reshape"):
            source, made = self.values[value.args[0]], self.tensor(var.ty, -1)
            self.values[var] = Tensor(made.shape, made.dtype, source.place, source.offset)
        elif not any(_is(value, n) for n in ("relax.vm.kill_object", "relax.null_value", *CHECKS)):
            raise _Unfit

    def offset(self, storage: Any) -> int:
        """Where a storage stands in the arena."""
        if storage not in self.offsets:
            self.offsets[storage] = self.arena
            self.arena += -(-self.storages[storage] // ALIGNMENT) * ALIGNMENT
        return self.offsets[storage]

    def operand(self, value: Any) -> Tensor:
        found = self.constants.get(value) if isinstance(value, tvm.ir.GenericConst) else self.values.get(value)
        if found is None:
            raise _Unfit
        return found


def _is(value: Any, name: str) -> bool:
    op = getattr(value, "op", None)
    return isinstance(value, relax.Call) and name in (getattr(op, "name", ""), getattr(op, "global_symbol", ""))


def _called(functions: Iterable[Any]) -> set[Any]:
    found: set[Any] = set()
    for one in functions:
        tvm_ffi.structural_walk(one, (tvm.ir.GlobalVar, found.add))
    return found


def address(base: Any, offset: int, dtype: str) -> Any:
    """The address of elements, `offset` bytes behind another."""
    moved = tirx.op.handle_add_byte_offset(base, tirx.const(offset, "int64")) if offset else base
    return tirx.reinterpret(pointer(dtype), moved)


def called(function: Any, args: Sequence[Any]) -> Any:
    """A call of a RAW function, of the same module or, by name, of another; where it gives something else than 0, so does the caller."""
    if isinstance(function, str):
        call = tirx.call_extern("int32", function, *args)
    else:
        call = tvm.ir.Call(function, list(args), ret_ty=tvm.ir.PrimType("int32"))
    return tirx.IfThenElse(call != tirx.const(0, "int32"), tirx.Evaluate(tirx.op.tvm_throw_last_error()), None)


def _raw(chain: Chain, name: str) -> Any:
    """The RAW function: params, constants, results, and the arena if there is one."""
    params = [tvm.ir.Var(f"p{i}", pointer(t.dtype)) for i, t in enumerate(chain.taken)]
    arena = tvm.ir.Var("arena", pointer("uint8"))

    def place(tensor: Tensor) -> Any:
        return params[tensor.place] if tensor.place >= 0 else address(arena, tensor.offset, tensor.dtype)

    calls = [called(symbol(name, s.kernel.name_hint), [place(a) for a in s.args]) for s in chain.steps]
    return function(f"{name}_raw", [*params, arena] if chain.arena else params, sequence(*calls))


def _packed(chain: Chain, name: str) -> Any:
    """The function on tensors around it."""
    buffers = [tirx.decl_buffer(list(t.shape), t.dtype, name=f"p{i}") for i, t in enumerate(chain.taken)]
    inner = tvm.ir.GlobalVar(f"{name}_raw")
    if not chain.arena:
        return tirx.PrimFunc(buffers, called(inner, [b.data for b in buffers]))
    arena = tirx.decl_buffer([max(chain.arena, STACK + 1)], "uint8", name="arena")
    call = called(inner, [*(b.data for b in buffers), arena.data])
    return tirx.PrimFunc(buffers, tirx.SeqStmt([tirx.AllocBuffer(arena), call]))


def _main(main: Any, chain: Chain, outer: str) -> Any:
    """The lowered function with one call in place of all: behind the memory of its results, before they are looked at or let go of."""
    bindings = [b for block in main.body.blocks for b in block.bindings]
    bound = {b.var: b.value for b in bindings}
    kept = set(chain.made)
    left = list(bound[main.body.body].fields) if main.body.body in bound else []
    kept.add(main.body.body)
    while left:
        one = left.pop()
        if one in bound and one not in kept:
            kept.add(one)
            left += [a for a in getattr(bound[one], "args", [bound[one]]) if isinstance(a, relax.Var)]
    last = [b for b in bindings if isinstance(b.value, relax.Call) and isinstance(b.value.op, tvm.ir.GlobalVar)][-1]
    args = [*main.params, *chain.constants, *chain.made]
    call = tvm.ir.Call(relax.ExternFunc(outer), args, ty_args=[relax.TupleType([])], ret_ty=last.value.ty)

    stores = {bound[v].args[0] for v in chain.made}
    first = [b for b in bindings if b.var in stores or b.var in chain.made or any(_is(b.value, n) for n in ("relax.null_value", *CHECKS))]
    first += [b for b in bindings if _is(b.value, "relax.vm.kill_object") and b.value.args[0] in stores]

    def stays(b: Any) -> bool:
        return b.var in kept or _is(b.value, "relax.vm.kill_object") and b.value.args[0] in kept

    rest = [b for b in bindings if stays(b) and not any(b is f for f in first)]
    new = [*first, relax.VarBinding(last.var, call), *rest]
    body = relax.SeqExpr([relax.BindingBlock(new)], main.body.body)
    return relax.Function(main.params, body, main.ret_ty, main.is_pure, main.attrs)
