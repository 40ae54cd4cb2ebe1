"""Text that holds numbers known only at run time: what an f-string, `str.format` or print makes of them.

It may be printed, raised with an exception, returned, compared, made longer, also from turn to turn of a loop, and used to look up
a key. What else needs its characters now is refused.
"""

from __future__ import annotations

import functools
import re
import sys
from typing import Any

import torch

from dync.capture.arrays import is_array
from dync.capture.places import as_seen, is_own
from dync.capture.scalars import Expr, scalar_of
from dync.capture.tape import of_model
from dync.ir.scalars import TEXTS

WIDTHS = ("zfill", "ljust", "rjust", "center")
"""Methods that take a number."""
PLAIN = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool, torch.float64)
"""Dtypes whose scalars NumPy writes as Python writes its numbers."""
BRACKETS: dict[type, tuple[str, str]] = {tuple: ("(", ")"), list: ("[", "]"), dict: ("{", "}"), torch.Size: ("torch.Size([", "])")}
SIZE_SAID = re.compile(r"(?<![\w.])(?:(?P<times>\d+)\*)?(?P<symbol>u\d+)(?P<more> [+-] \d+)?(?![\w.])")
"""A symbol of torch's, or a multiple of one, or a sum with a number."""
CONVERSIONS = {-1: "", ord("s"): "str", ord("r"): "repr"}


class SymText:
    """parts: literal text, and expressions of kind "str"; `numbers` holds the integer behind a part that is a plain integer."""

    __slots__ = ("engine", "parts", "numbers", "vague")
    __class__ = as_seen(lambda self: str)  # type: ignore[assignment]

    def __init__(self, engine: Any, parts: list[Any], numbers: dict[int, Any], vague: bool = False) -> None:
        self.engine, self.parts, self.numbers, self.vague = engine, parts, numbers, vague

    def exact(self) -> Any:
        """`expression`, refused where a tensor's numbers are only hinted at: that will do for an error message alone."""
        return self.engine.text_of(self) if self.vague else self.expression()

    def expression(self) -> Any:
        """The whole text as one scalar expression."""
        whole: Any = self.parts[0]
        for part in self.parts[1:]:
            whole = Expr("add", (whole, part), "str")
        return whole

    def number(self) -> Any:
        """The only number in it, an integer; None where there is another form."""
        symbolic = [i for i, p in enumerate(self.parts) if not isinstance(p, str)]
        return self.numbers.get(symbolic[0]) if len(symbolic) == 1 else None

    def number_in(self, text: str) -> int | None:
        """The number for which this is `text`, if there is one."""
        pattern = "".join(re.escape(p) if isinstance(p, str) else r"(-?(?:0|[1-9]\d*))" for p in self.parts)
        found = re.fullmatch(pattern, text)
        return int(found.group(1)) if found and found.group(1) != "-0" else None

    def __copy__(self) -> SymText:
        return self

    def __deepcopy__(self, memo: Any) -> SymText:
        return self

    def __add__(self, other: Any) -> Any:
        return join(self.engine, [self, other]) if isinstance(other, (str, SymText)) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return join(self.engine, [other, self]) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: Any) -> Any:
        if not isinstance(times, (int, torch.SymInt)):
            return NotImplemented
        if type(times) is int:
            return join(self.engine, [self] * times) if times > 0 else ""
        return SymText(self.engine, [Expr("str.mul", (self.exact(), scalar_of(times)), "str")], {}, self.vague)

    __rmul__ = __mul__

    def __lt__(self, other: Any) -> Any:
        return self._asked("str.lt", other) if isinstance(other, (str, SymText)) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return self._asked("str.gt", other) if isinstance(other, (str, SymText)) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return not self.__gt__(other) if isinstance(other, (str, SymText)) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return not self.__lt__(other) if isinstance(other, (str, SymText)) else NotImplemented

    def refuse(self, *_: Any) -> Any:
        """Paths that join with texts of their own are kept apart; others cannot go on."""
        for part in self.parts:
            self.engine.split_constants(part)
        return self.engine.text_of(self)

    def __str__(self) -> str:
        if self.engine.texts is not None:
            return mark_for(self.engine, self)
        return "text" if is_own(sys._getframe(1).f_code) else self.refuse()  # C++ asks for the text of what passes through it

    def __format__(self, spec: str) -> str:
        return str(self) if spec == "" else format(self.literal(), spec)

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, (str, SymText)):
            return NotImplemented
        if not isinstance(other, str) or self.vague or self.number() is None:
            return self._asked("str.eq", other)
        number = self.number_in(other)
        return number is not None and bool(self.number() == number)

    def __contains__(self, other: Any) -> bool:
        if not isinstance(other, (str, SymText)):
            raise of_model(TypeError(f"'in <string>' requires string as left operand, not {type(other).__name__}"))
        return self._asked("str.contains", other)

    def __bool__(self) -> bool:
        return any(isinstance(p, str) for p in self.parts) or not self._asked("str.eq", "")

    def __len__(self) -> int:
        return self.engine.concretise_int(self.length().node.expr)

    def known(self) -> str | None:
        """Which of the literal texts it is, a path for each; None where these are not known."""
        words = sorted(self.engine.wordings.get(self.parts[0], ())) if len(self.parts) == 1 else []
        return next((w for w in words[:-1] if self == w), words[-1]) if words else None

    def literal(self) -> str:
        """The same; refused where it is not known."""
        found = self.known()
        return self.refuse() if found is None else found

    def __getitem__(self, index: Any) -> Any:
        part = isinstance(index, slice)
        ends = (index.start, index.stop) if part else (index,)
        whole = all(isinstance(e, (int, torch.SymInt)) or e is None and part for e in ends)
        if self.vague or not whole or part and index.step not in (None, 1):
            return self.refuse()
        if not part:
            n = self.length()
            if not (index < n and index >= -n):
                raise of_model(IndexError("string index out of range"))
        op = "str.slice" if part else "str.at"
        return SymText(self.engine, [Expr(op, (self.expression(), *(e if e is None else scalar_of(e) for e in ends)), "str")], {})

    def length(self) -> Any:
        """The number of its characters."""
        if self.vague:
            return len(self.refuse())
        n = self.engine.effect("str.len", self, gives="int")
        self.engine.cut()
        return self.engine.at_least(n, 0)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(str, name):
            raise AttributeError(f"'str' object has no attribute '{name}'")
        return functools.partial(self._method, name)

    def _method(self, name: str, *args: Any, **kwargs: Any) -> Any:
        asked = name + "_of" * (name.endswith("strip") and len(args) == 1)
        op = TEXTS.get(f"str.{asked}")
        kinds = (int, torch.SymInt) if name in WIDTHS else (str, SymText)
        if op is None or kwargs or op.arity != 1 + len(args) or not all(isinstance(a, kinds) for a in args):
            return getattr(self.literal(), name)(*args, **kwargs)
        if name.startswith(("is", "starts", "ends")):
            return self._asked(f"str.{asked}", *args)
        operands = (self.exact(), *(a.exact() if isinstance(a, SymText) else scalar_of(a) for a in args))
        return SymText(self.engine, [Expr(f"str.{asked}", operands, "str")], {}, self.vague)

    def _asked(self, op: str, *args: Any) -> bool:
        """A question about the text: a decision."""
        if self.vague or any(isinstance(a, SymText) and a.vague for a in args):
            return bool(self.refuse())
        operands = (self.expression(), *(a.expression() if isinstance(a, SymText) else a for a in args))
        return self.engine.decide(Expr(op, operands, "bool"))

    def __iter__(self) -> Any:
        return iter(self.literal())

    def __mod__(self, values: Any) -> Any:
        return percent(self.engine, self.literal(), values)

    __repr__ = __hash__ = refuse  # type: ignore[assignment]


def join(engine: Any, items: list[Any]) -> Any:
    """Texts one after another: a str where all are."""
    parts: list[Any] = []
    numbers: dict[int, Any] = {}
    for item in items:
        if isinstance(item, SymText):
            numbers.update({len(parts) + i: n for i, n in item.numbers.items()})
            parts += item.parts
        elif item != "":
            parts.append(item)
    vague = any(isinstance(i, SymText) and i.vague for i in items)
    return SymText(engine, parts, numbers, vague) if vague or any(not isinstance(p, str) for p in parts) else "".join(parts)


def formatted(engine: Any, value: Any, conversion: int, spec: Any) -> Any:
    """One value as format(value, spec) makes it."""
    if is_array(value) and not value.tensor.dim() and conversion != ord("r") and (spec or value.tensor.dtype in PLAIN):
        value = value.tensor
    if isinstance(value, torch.Tensor) and value.dim() == 0 and conversion == -1:
        value = value.item()
    if isinstance(value, torch.Tensor):
        return SymText(engine, [f"<tensor {str(value.dtype).removeprefix('torch.')} of {value.dim()} dimensions>"], {}, True)
    if isinstance(value, BaseException) and any(isinstance(a, (SymText, torch.SymInt, torch.SymFloat, torch.SymBool)) for a in value.args):
        return of_exception(engine, value, conversion, spec)
    if isinstance(value, SymText):
        return spaced(engine, value, spec) if conversion in (-1, ord("s")) else engine.text_of(value)
    if isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool)):
        op = CONVERSIONS.get(conversion)
        if op is None or not isinstance(spec, str):
            return engine.text_of(value)
        number = scalar_of(value)
        if isinstance(number, (bool, int, float)):
            value = number
        else:
            text = Expr(op, (number,), "str") if op else Expr("format", (number, spec), "str")
            text = Expr("format", (text, spec), "str") if op and spec else text
            return SymText(engine, [text], {0: value} if isinstance(value, torch.SymInt) and spec == "" else {})
    write: Any = getattr(type(value), "dync_text", None)
    if write is not None:
        text = write(value, engine)
        return spaced(engine, text, spec) if conversion in (ord("r"), ord("s")) or spec == "" else engine.text_of(None)
    if type(value) in BRACKETS and spec == "" and conversion != ord("a"):
        return join(engine, contained(engine, value))
    convert: Any = {-1: lambda v: format(v, spec), ord("r"): repr, ord("s"): str, ord("a"): ascii}[conversion]
    text = converted(engine, value, convert)
    return text if conversion == -1 else spaced(engine, text, spec)


def spaced(engine: Any, text: Any, spec: Any) -> Any:
    """A text as format(text, spec) makes it."""
    if spec == "" or not isinstance(text, SymText):
        return text if spec == "" else format(text, spec)
    if not isinstance(spec, str):
        return engine.text_of(text)
    return SymText(engine, [Expr("format", (text.expression(), spec), "str")], {}, text.vague)


PERCENT = re.compile(r"%(?:\((?P<name>[^)]*)\))?(?P<flags>[-+ 0]*)(?P<width>\d+)?(?P<digits>\.\d+)?(?P<kind>[diufFeEgGsr%])")
"""The conversions of `template % values` that have a twin in `format`."""


def percent(engine: Any, template: Any, values: Any) -> Any:
    """`template % values`."""
    table: Any = values
    given: Any = values if type(values) is tuple else (values,)
    if not isinstance(template, str) or all(type(v) in (str, int, float, bool) for v in given):
        return template % values
    found = list(PERCENT.finditer(template))
    wanted = [m for m in found if m["kind"] != "%"]
    named = isinstance(values, dict) and any(m["name"] is not None for m in wanted)
    if PERCENT.sub("", template).count("%") or not named and (len(wanted) != len(given) or any(m["name"] is not None for m in wanted)):
        return converted(engine, values, lambda v: template % v)
    pieces, end, rest = [], 0, iter(given)
    for m in found:
        pieces.append(template[end:m.start()])
        end = m.end()
        pieces.append("%" if m["kind"] == "%" else printed(engine, m, table[m["name"]] if named else next(rest)))
    return join(engine, [*pieces, template[end:]])


def printed(engine: Any, m: Any, value: Any) -> Any:
    """One value as a conversion of `%` makes it."""
    if isinstance(value, torch.Tensor) and value.dim() == 0 and m["kind"] not in "sr":
        value = value.item()
    symbolic = isinstance(value, (torch.SymInt, torch.SymFloat, torch.SymBool))
    left, width = "<" if "-" in m["flags"] else ">", m["width"] or ""
    if m["kind"] in "sr":
        text = formatted(engine, value, ord(m["kind"]), "")
        return spaced(engine, text, left + width + (m["digits"] or "")) if width or m["digits"] else text
    if not symbolic:
        return ("%" + m["flags"] + width + (m["digits"] or "") + m["kind"]) % value
    if m["kind"] in "diu":
        value = engine.as_int(value) if not isinstance(value, torch.SymInt) else value
    sign = "+" if "+" in m["flags"] else " " if " " in m["flags"] else ""
    zero = "0" if "0" in m["flags"] and left == ">" else ""
    kind = "d" if m["kind"] in "diu" else m["kind"]
    if kind == "d" and m["digits"]:
        return engine.text_of(value)
    return formatted(engine, value, -1, (left if width and not zero else "") + sign + zero + width + (m["digits"] or "") + kind)


def converted(engine: Any, value: Any, convert: Any) -> Any:
    """The text of an object that Python's own code writes: the numbers and tensors in it leave marks, which stand for theirs."""
    outer, engine.texts = engine.texts, []
    try:
        text = convert(value)
    finally:
        found, engine.texts = engine.texts, outer
    return join(engine, [found[int(p)] if n % 2 else p for n, p in enumerate(re.split("\0(\\d+)\0", text))]) if found else text


def mark_for(engine: Any, text: Any) -> str:
    """What stands for a text that holds numbers known only at run time until `converted` is done."""
    if not isinstance(text, SymText):
        return text
    engine.texts.append(text)
    return f"\0{len(engine.texts) - 1}\0"


def said_by_torch(engine: Any, text: str) -> Any:
    """What torch's own Python code says of sizes: it writes the names of symbols, which stand for what these are at run time."""
    symbols = {str(s): s for s in engine.shape_env.var_to_range}
    pieces, end = list[Any](), 0
    for said in SIZE_SAID.finditer(text):
        if said["symbol"] in symbols:
            size = int(said["times"] or 1) * symbols[said["symbol"]] + int((said["more"] or "0").replace(" ", ""))
            number = formatted(engine, engine.shape_env.create_symintnode(size, hint=None), -1, "")
            pieces += [text[end:said.start()], number]
            end = said.end()
    return join(engine, [*pieces, text[end:]])


def of_exception(engine: Any, error: BaseException, conversion: int, spec: Any) -> Any:
    """The text of an exception whose arguments hold numbers known only at run time: of its only one, or of all as a tuple."""
    if conversion not in (-1, ord("s")) or type(error).__str__ is not BaseException.__str__:
        return engine.text_of(error)
    return formatted(engine, error.args[0] if len(error.args) == 1 else error.args, ord("s"), spec)


def contained(engine: Any, value: Any) -> list[Any]:
    """The pieces that make the text of a container, which Python writes with the repr of what it holds."""
    opened, closed = BRACKETS[type(value)]
    pieces: list[Any] = [opened]
    for n, item in enumerate(value.items() if isinstance(value, dict) else value):
        pieces += [", "] if n else []
        if isinstance(value, dict):
            pieces += [formatted(engine, item[0], ord("r"), ""), ": "]
            item = item[1]
        pieces.append(formatted(engine, item, ord("r"), ""))
    return [*pieces, "," if type(value) is tuple and len(value) == 1 else "", closed]
