"""Runs one network file through capture, the interpreter, backends and hosts, and compares each with eager."""

from __future__ import annotations

import importlib.util
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import msgspec

from dync.errors import BackendError, CaptureError, DyncError, HostError, VerifyError
from dync.verify.calls import Call, CompiledSide, EagerSide, ProgramSide, Side, attributes
from dync.verify.compare import Tolerances
from dync.verify.harness import Harness

OWN = "fuzz:"
"""How the messages of exceptions that a generated network raises on purpose begin."""


class Finding(msgspec.Struct, frozen=True):
    """What became of one network.

    kind: "same"; "declined" with a reason; "differs"; "crash" of dync; "invalid" when eager itself cannot run it; "hang"; "died".
    stage: "eager", "capture", "interpret", or "backend/host". key: equal for findings with the same cause, as far as can be told.
    stages: what ran, each with "", or the reason for which it declined the network. left: "backend: why" → blocks that it left to eager.
    """

    kind: Literal["same", "declined", "differs", "crash", "invalid", "hang", "died"]
    stage: str = ""
    key: str = ""
    detail: str = ""
    stages: dict[str, str] = {}
    left: dict[str, int] = {}

    @property
    def is_failure(self) -> bool:
        """Whether dync is wrong."""
        return self.kind in ("differs", "crash", "hang", "died")


def load_file(path: Path) -> ModuleType:
    """The network file as a module of its own name."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def check(path: Path, backends: Sequence[str], hosts: Sequence[str]) -> Finding:
    """The first thing that is not the same as eager, over the interpreter and each backend on each host that takes its blocks.

    "declined" when the network ran nowhere but in the interpreter.
    """
    try:
        module = load_file(path)
        model, inputs = module.build(), module.inputs()
        refused = _eager_refusal(model, inputs)
    except Exception as error:  # a shrunk file may be any nonsense
        return Finding("invalid", "eager", type(error).__name__, str(error))
    if refused:
        return Finding("invalid", "eager", "raises", refused)
    found = _captured(model, inputs)
    if isinstance(found, Finding):
        return found
    try:
        stages = _stages(found, inputs[0], backends, hosts)
    except Exception as error:  # passes refuse nothing
        return _crash("passes", error)
    ran: dict[str, str] = {}
    left: dict[str, int] = {}
    declined: list[Finding] = []
    for stage, make in stages:
        one = _stage(stage, make, model, found, inputs)
        left = {why: max(left.get(why, 0), one.left.get(why, 0)) for why in (*left, *one.left)}  # each host tells it again
        if one.is_failure:
            return msgspec.structs.replace(one, stages=ran, left=left)
        ran[stage] = one.key
        declined += [one] if one.kind == "declined" else []
    whole = declined[0] if declined and len(declined) == len(ran) - 1 else Finding("same")
    return msgspec.structs.replace(whole, stages=ran, left=left)


def _eager_refusal(model: Any, inputs: Sequence[tuple[Any, ...]]) -> str:
    """Why eager cannot run the network; its own planned exceptions are fine."""
    side = EagerSide(model)
    for args in inputs:
        error = side.run(Call(args)).error
        if error is not None and OWN not in str(error.args):
            return f"{type(error).__name__}: {error}"
    return ""


def _captured(model: Any, inputs: Sequence[tuple[Any, ...]]) -> Any:
    from dync.api import capture

    try:
        return capture(model, inputs[0])
    except CaptureError as error:
        codes = ", ".join(dict.fromkeys(d.code for d in error.diagnostics))
        return Finding("declined", "capture", codes, str(error))
    except Exception as error:  # anything else that capture raises is dync's fault
        return _crash("capture", error)


def _stages(program: Any, args: tuple[Any, ...], backends: Sequence[str], hosts: Sequence[str]) -> list[tuple[str, Callable[[], Side]]]:
    """What is compared, by name. The passes run once, for all that is compiled."""
    from dync.sides import compiled, pairs, rewritten

    passed = rewritten(program)

    def make(backend: str, host: str) -> Callable[[], Side]:
        return lambda: compiled(f"{backend}/{host}", passed, args, {}, backend, host, passes="none")[0]

    return [("interpret", lambda: ProgramSide(program)), *((f"{b}/{h}", make(b, h)) for b, h in pairs(backends, hosts))]


def _stage(stage: str, make: Callable[[], Side], model: Any, program: Any, inputs: Sequence[tuple[Any, ...]]) -> Finding:
    left: Counter[str] = Counter()
    try:
        side = make()
        left.update(_left(side))
        harness = Harness(
            program.flow, EagerSide(model), (side,), program, ProgramSide(program, initial=dict(attributes(model))), Tolerances()
        )
        for args in inputs:
            harness.check(Call(args))
        for n, args in enumerate(inputs):
            if not harness.check(Call(args, origin=f"given, call {n + 1} in a row"), fresh=n == 0):
                break
    except (BackendError, HostError, VerifyError) as error:
        return Finding("declined", stage, f"{type(error).__name__}: {_reason(str(error))}", str(error))
    except Exception as error:  # a crash of dync is what this looks for
        return _crash(stage, error)
    if harness.books.mismatches:
        wrong = harness.books.mismatches[0]
        return Finding("differs", stage, _shape(wrong.differences[0]), "\n".join((str(wrong), *wrong.differences)), left=left)
    return Finding("same", stage, left=left)


def _left(side: Side) -> list[str]:
    """Why blocks of a compiled side run on another backend than its own, "backend: why" for each distinct one."""
    if not isinstance(side, CompiledSide):
        return []
    backend = side.name.partition("/")[0]
    blocks = [b for b in side.compiled.report.blocks if b.backend != backend and not b.same_as]
    return [f"{backend}: {_reason(r.reason)}" for b in blocks for r in b.refused if r.backend == backend]


def _reason(text: str) -> str:
    """A refusal without its names, numbers and places."""
    return re.sub(r"[A-Za-z_]*[0-9][A-Za-z0-9_]*", "#", text.splitlines()[0].partition(" (/")[0])[:160]


def _shape(difference: str) -> str:
    """A difference without its numbers and places."""
    if difference.startswith("decision "):
        return "decision"
    return "".join("#" if c.isdigit() else c for c in difference.split(" in eager")[0].split(":")[0])


def _crash(stage: str, error: Exception) -> Finding:
    if isinstance(error, DyncError) and stage == "capture":
        return Finding("declined", stage, type(error).__name__, str(error))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "dync" in f.filename or "backends" in f.filename]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "?"
    return Finding("crash", stage, f"{type(error).__name__} in {place}", "".join(traceback.format_exception(error))[-4000:])
