"""What a fuzz run found, as data and as text."""

from __future__ import annotations

from collections import Counter

import msgspec

from dync.verify.fuzz.check import Finding


class Failure(msgspec.Struct, frozen=True):
    """A cause of failure: the first network that showed it, how many did, and the file that reproduces it."""

    seed: int
    finding: Finding
    count: int
    file: str = ""
    features: tuple[str, ...] = ()


class FuzzReport(msgspec.Struct, frozen=True):
    """kinds: networks by what became of them. same: stage → networks that gave there what eager gives; a stage is the interpreter, or
    "backend/host". declined: stage and reason → networks. left: backend and reason → blocks that eager ran in its place.
    count: networks that were asked for; stopped: whether the run was ended before all of them were checked, or before failures were shrunk.
    ok: all were checked, none failed, and every stage compared some.
    """

    seed: int
    count: int
    backends: tuple[str, ...]
    hosts: tuple[str, ...]
    kinds: dict[str, int]
    same: dict[str, int]
    declined: dict[str, int]
    failures: tuple[Failure, ...]
    left: dict[str, int] = {}
    stopped: bool = False

    @property
    def ok(self) -> bool:
        return not self.stopped and not self.failures and self.kinds.get("same", 0) > 0 and all(self.same.values())

    def to_json(self) -> str:
        """The report as one JSON object."""
        return msgspec.json.format(msgspec.json.encode(msgspec.structs.asdict(self) | {"ok": self.ok})).decode()

    def __str__(self) -> str:
        done = ", ".join(f"{n} {kind}" for kind, n in Counter(self.kinds).most_common())
        through = f"{', '.join(self.backends)} on {', '.join(self.hosts)}"
        ran = f"STOPPED after {sum(self.kinds.values())} of {self.count}" if self.stopped else str(self.count)
        lines = [f"{ran} networks from seed {self.seed} through {through}: {done or 'none ran'}"]
        lines += [f"  {stage}: {n} as eager" for stage, n in self.same.items()]
        lines += [f"  declined {n} times: {why}" for why, n in Counter(self.declined).most_common()]
        lines += [f"  {n} blocks left to eager by {why}" for why, n in Counter(self.left).most_common()]
        for f in self.failures:
            lines += [
                f"  {f.finding.kind} in {f.finding.stage} ({f.count} networks, first seed {f.seed}): {f.finding.key}",
                f"    reproduce: python {f.file}" if f.file else "",
            ]
        return "\n".join(line for line in lines if line)
