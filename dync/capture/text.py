"""Text with one integer in it that is known only at run time: good for looking up `experts[f"expert_{i}"]`, and for nothing else."""

from __future__ import annotations

import re
from typing import Any


class SymText:
    """`prefix` + number + `suffix`."""

    __slots__ = ("engine", "prefix", "number", "suffix")

    def __init__(self, engine: Any, prefix: str, number: Any, suffix: str) -> None:
        self.engine, self.prefix, self.number, self.suffix = engine, prefix, number, suffix

    def number_in(self, text: str) -> int | None:
        """The number for which this is `text`, if there is one."""
        found = re.fullmatch(re.escape(self.prefix) + r"(-?(?:0|[1-9]\d*))" + re.escape(self.suffix), text)
        return int(found.group(1)) if found and found.group(1) != "-0" else None

    def _refuse(self, *_: Any) -> Any:
        return self.engine.text_of(self)

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = __add__ = __radd__ = __contains__ = __format__ = __getitem__ = __lt__ = _refuse  # type: ignore[assignment]
    __mod__ = __iter__ = __bool__ = _refuse  # type: ignore[assignment]
