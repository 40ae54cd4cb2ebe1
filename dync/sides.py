"""More things to verify on the same calls, by name: the join-free oracle, the interpreter, the Program on other backends and hosts.

name ::= "oracle" | "interpret" | backend | backend "/" host
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dync.errors import CaptureError, VerifyError
from dync.hosts import MIXED, ONNX
from dync.options import known
from dync.registry import ENGINES, backend_names, host_names
from dync.verify.calls import Call, CompiledSide, Effect, ProgramSide, Side, attributes

if TYPE_CHECKING:
    from torch import nn

    from dync.examples import Examples
    from dync.ir.program import Program

PROGRAMS = ("oracle", "interpret")


class Oracle(ProgramSide):
    """The join-free program. Its blocks have other names than the compiled program's, so its way is not compared."""

    name = "oracle"

    def run(self, call: Call, fresh: bool = True) -> Effect:
        return replace(super().run(call, fresh), trace=None)


def check_names(names: Sequence[str]) -> None:
    """Raises UsageError for a name that is none of a side."""
    for name in names:
        backend, slash, host = name.partition("/")
        known("side", backend, (*PROGRAMS, *backend_names()))
        if slash:
            known("host", host, host_names())


def sides(
    names: Sequence[str], model: nn.Module, program: Program | None, examples: Examples, seed: int = 0
) -> tuple[tuple[Side, ...], tuple[str, ...]]:
    """The sides that `names` ask for, and what a reader must know of them. examples: what the Program was captured with.

    Raises VerifyError for a side that cannot be made, HostError for a host that cannot carry the program: what was asked for is
    never left out.
    """
    if not names:
        return (), ()
    check_names(names)
    if program is None:
        raise VerifyError(f"cannot compare with {', '.join(names)}: the artifact was made from another Program than this model's")
    made = [_side(name, model, program, examples, seed) for name in dict.fromkeys(names)]
    return tuple(side for side, _ in made), tuple(note for _, notes in made for note in notes)


def _side(name: str, model: nn.Module, program: Program, examples: Examples, seed: int) -> tuple[Side, tuple[str, ...]]:
    initial = dict(attributes(model))
    if name == "interpret":
        return ProgramSide(program, seed, initial), ()
    if name == "oracle":
        return Oracle(_oracle(model, program, examples), seed, initial), ()
    backend, _, host = name.partition("/")
    return compiled(name, program, examples.args, examples.kwargs, backend, host or "python", seed, initial)


def named(side: Any, name: str) -> Side:
    """The side under a name of its own."""
    side.name = name
    return side


def pairs(backends: Sequence[str], hosts: Sequence[str]) -> list[tuple[str, str]]:
    """Each backend with each host that can run its blocks: an engine runs those of its own backend."""
    engines = {host: backend for host, (backend, _) in ENGINES.items()} | {MIXED: ONNX}
    return [(b, h) for b in backends for h in hosts if engines.get(h, b) == b]


def rewritten(program: Program) -> Program:
    """The Program after the default passes: what several compilations with passes="none" begin with."""
    from dync.build import rewrite
    from dync.options import CompileOptions

    return rewrite(program, CompileOptions())


def compiled(
    name: str, program: Program, args: Sequence[Any], kwargs: Any, backend: str, host: str, seed: int = 0, initial: Any = None,
    passes: str = "default",
) -> tuple[Side, tuple[str, ...]]:  # fmt: skip
    """The Program on one backend and host, and the blocks that the backend left to others. Raises VerifyError when it took none."""
    from dync.api import compile

    made = compile(program, args, kwargs, backend=backend, host=host, passes=passes)
    others = [b for b in made.report.blocks if b.backend != backend]
    if others and len(others) == len(made.report.blocks):
        why = next((str(r.reason) for r in others[0].refused if r.backend == backend), "")
        raise VerifyError(f"cannot compare with {name}: {backend} takes no block of this program{': ' if why else ''}{why}")
    notes = tuple(f"{name}: block {b.block} runs on {b.backend}" for b in others)
    return named(CompiledSide(made, seed, initial), name), notes


def _oracle(model: nn.Module, program: Program, examples: Examples) -> Program:
    """The model captured without joins: a tree of all its paths."""
    from dync.capture import capture

    params = {p.name: (p.default, p.low, p.high) for p in program.signature.params}
    try:
        return capture(
            model, examples.args, examples.kwargs, dynamic_shapes=examples.dynamic_shapes, params=params or None, joins=False
        )
    except CaptureError as error:
        raise VerifyError(f"this model has no join-free oracle: {error.diagnostics[0].found}") from error
