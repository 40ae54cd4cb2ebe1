"""Programs as one library for TVM's virtual machine: what joins the TVM host, which knows control flow, to the compiled blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dync.backends.base import Declined as Refused
from dync.backends.base import Kernel, Target
from dync.errors import BackendError, UsageError
from dync.host.base import Declined
from dync.ir.flow import FlowBlock
from dync.ir.raising import told
from dync.ir.types import UNKNOWN
from dync.whole import LARGEST, block_kernel, unfit_memory, values_of

if TYPE_CHECKING:
    from dync.backends.tvm.parts import Part
    from dync.host.tvm.code import Helper, Routine
    from dync.host.tvm.module import Function, WholeProgram
    from dync.host.tvm.native import Native
    from dync.ir.program import Program
    from dync.ir.types import Value
    from dync.runtime.package import Package

SECONDS = 600.0
"""After this long the compiler is given up."""
Group = tuple[str, tuple[str, ...]]
"""What makes of some weights the tensors that code takes, "" if it takes them as they are; and their names."""


@dataclass(frozen=True)
class Code:
    """library: the bytes. groups: the weights. extra: it calls into TVM's second runtime library. native: its `main` is one function,
    which takes the addresses of the weights."""

    library: bytes
    groups: tuple[Group, ...]
    extra: bool
    native: bool


def compiled(program: Program, kernels: Mapping[str, Kernel], target: Target, threads: int, alone: bool = False) -> Code | Declined:
    """The program as one library; or why not. alone: for others, with its weights inside and without what tells the way.

    Compiles in this process. Raises BackendError when TVM or the linker fails.
    """
    from dync.backends.tvm.build import tvm_target
    from dync.host.tvm.code import MAIN
    from dync.host.tvm.entry import entry
    from dync.host.tvm.module import export

    if refused := unfit_memory(program):
        return refused
    aim = tvm_target(target)
    blocks = _Blocks({v.name: v for v in values_of(program)}, kernels, aim, threads)
    made = export(program.flow, blocks.function, traced=not alone, given=not alone)
    if isinstance(made, Declined):
        return made
    parts = list(blocks.parts.values())
    parts += _helpers(made.helpers, aim, threads)
    groups = tuple(blocks.groups)
    tensors: Sequence[Sequence[Any]] | None = None
    if alone:
        tensors = _tensors(program, groups, parts, aim, blocks.extra)
        parts = [p.only(p.name) for p in parts]
    routines = made.routines
    if native := None if alone else _native(made, blocks):
        routines = tuple(r for r in routines if r.name != MAIN)
        parts.append(entry(MAIN, native, aim))
    return Code(_library(routines, parts, tensors, aim), groups, blocks.extra, native is not None)


class _Blocks:
    """The compiled blocks: each distinct one once, weights being arguments."""

    def __init__(self, values: Mapping[str, Value], kernels: Mapping[str, Kernel], aim: Any, threads: int) -> None:
        self.values, self.kernels, self.aim, self.threads = values, kernels, aim, threads
        self.parts: dict[str, Part] = {}
        self.made: dict[str, tuple[Part, Kernel, Any]] = {}
        self.groups: dict[Group, int] = {}
        self.sizes: dict[int, int] = {}
        """How many tensors the code takes of each group."""
        self.extra = False

    def function(self, block: FlowBlock) -> Function | Declined | None:
        from dync.backends.kernels import renamed_weights, structure_key
        from dync.backends.tvm.parts import part
        from dync.backends.tvm.translate import translate
        from dync.host.tvm.module import Function

        found = block_kernel(block, self.kernels.get(block.name), self.values)
        if found is None or isinstance(found, Declined):
            return found
        whole, written = found
        key = structure_key(whole)
        if key not in self.made:
            module = translate(whole)
            if isinstance(module, Refused):
                return Declined(module.reason, module.span)
            if module.feeds:
                return Declined(f"calls write the weight {module.feeds[0]}", block.span)
            code = part(f"block{len(self.made)}", module.module, self.aim, self.threads)
            self.parts[code.name] = code
            self.made[key] = code, whole, module
            self.extra |= module.extra
        code, first, module = self.made[key]
        names = renamed_weights(first, whole)
        group = (code.packer, tuple(names.get(w, w) for w in module.weights))
        number = self.groups.setdefault(group, len(self.groups))
        self.sizes[number] = code.weights
        outputs = tuple(v.name for v in whole.results)
        inputs = tuple(v.name for v in whole.inputs)
        return Function(code.name, inputs, outputs, number, code.weights, written, module.checked,
                        tuple(told(e, UNKNOWN) for e in module.errors), frozenset(code.shared))


def _native(program: WholeProgram, blocks: _Blocks) -> Native | None:
    """The flow as one compiled function, where all of its sizes are known."""
    from dync.host.tvm.code import MAIN, Run
    from dync.host.tvm.native import Code, Task, tensor_of, written

    routine = next(r for r in program.routines if r.name == MAIN)
    helpers = {h.name: h for h in program.helpers}
    parts = {r.block: blocks.parts[r.block] for r in routine.code if isinstance(r, Run) and r.block not in helpers}
    chains = {n: p.chain for n, p in parts.items() if p.chain is not None}
    tensors = {r: t for r, v in program.registers.items() if (t := tensor_of(v)) is not None}
    if len(chains) < len(parts) or len(tensors) < len(program.registers):
        return None
    inputs = tuple(tensors[i] for i in range(len(program.convention.inputs)))
    groups = tuple(blocks.sizes[n] for n in blocks.groups.values())
    codes = {n: Code.of(f"{n}_raw", c) for n, c in chains.items()}
    return written(Task(routine, inputs, tensors, codes, helpers, groups))


def _helpers(wanted: Sequence[Helper], aim: Any, threads: int) -> list[Part]:
    from dync.backends.tvm.parts import helper, part

    return [part(h.name, helper(h.kind, h.dtype, h.rank, h.to), aim, threads) for h in wanted]


def _tensors(program: Program, groups: Sequence[Group], parts: Sequence[Part], aim: Any, extra: bool) -> Sequence[Sequence[Any]]:
    """The weights as code takes them, group by group."""
    from dync.runtime.loaders.tvm import opened, packed
    from dync.runtime.store import Weights

    packers = [p.only(p.packer) for p in parts if p.packer]
    machines = opened(_library((), packers, None, aim), extra) if packers else None
    return packed(machines, groups, Weights({n: program.weights[n] for _, names in groups for n in names}, "numpy"))


def _library(routines: Sequence[Routine], parts: Sequence[Part], tensors: Sequence[Sequence[Any]] | None, aim: Any) -> bytes:
    """All parts and routines in one executable; one that carries its `tensors` is for others, and checks what it is called with."""
    from dync.backends.tvm.build import executable, exported
    from dync.host.tvm.assemble import Assembler, bodies

    def write(builder: Any) -> None:
        blocks = bodies(builder.get().as_text()) if routines else {}
        for routine in routines:
            Assembler(builder, routine, tensors, blocks).emit()

    functions = {v: f for p in parts for v, f in p.functions.items()}
    glue = {n: f for p in parts for n, f in p.glue.items()}
    return exported(executable(functions, glue, aim, tensors is not None, write))


def isolated(program: Program, kernels: Mapping[str, Kernel], target: Target, threads: int, alone: bool = False) -> Code | Declined:
    """`compiled`, in a child process that may crash. Raises BackendError."""
    from dync.backends.tvm.backend import last_line
    from dync.backends.worker import apart

    def task() -> Code | Declined:
        try:
            return compiled(program, kernels, target, threads, alone)
        except BackendError:
            raise
        except Exception as error:  # noqa: BLE001  TVM's exception classes share no root
            raise BackendError(f"TVM cannot compile the whole program: {last_line(error)}") from error

    return apart("tvm", task, SECONDS, program.name)


def with_tvm(package: Package, program: Program, kernels: Mapping[str, Kernel]) -> Package | Declined:
    """The package with all of its control flow and code as one library for TVM's virtual machine; or why not."""
    from dync.options import parse_target
    from dync.runtime.engine_tvm import LIBRARY
    from dync.runtime.package import KernelEntry

    target, threads = parse_target(str(package.meta["target"])), int(package.meta["threads"])
    try:
        made = isolated(program, kernels, target, threads)
    except BackendError as error:
        return Declined(str(error))
    if isinstance(made, Declined):
        return made
    settings: dict[str, Any] = {"groups": [[packer, list(names)] for packer, names in made.groups]}
    if made.extra:
        settings["extra"] = True
    if made.native:
        settings["native"] = True
    weights = tuple(dict.fromkeys(n for _, names in made.groups for n in names))
    entry = KernelEntry("tvm", (LIBRARY,), settings, weights)
    return replace(package, kernels={}, members={LIBRARY: made.library}, weights={n: program.weights[n] for n in weights}, engine=entry)


def plain_library(package: Package, program: Program) -> bytes:
    """The program of a package whose host is tvm as one library for anyone, with its weights inside.

    Raises UsageError when they are more than a library holds, BackendError.
    """
    from dync.build import kernels_of
    from dync.options import parse_target
    from dync.runtime.weights import raw

    total = sum(raw(n, w).data.nbytes for n, w in package.weights.items())
    if total > LARGEST:
        raise UsageError(f"the model has {total / 2**30:.1f} GiB of weights; one .so file holds less than 2: write a .dync file")
    target, threads = parse_target(str(package.meta["target"])), int(package.meta["threads"])
    made = isolated(program, kernels_of(program), target, threads, alone=True)
    assert not isinstance(made, Declined), "it was compiled before"
    return made.library
