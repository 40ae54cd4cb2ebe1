"""What marked code calls in place of expressions that Python would answer by itself: `is True`, `x[i]`, f-strings, print, builtins."""

from __future__ import annotations

import collections
import string
import sys
from typing import Any, NoReturn

import numpy as np
import torch

from dync.capture.arrays import index_of, number_of, read, written
from dync.capture.builtins import twin
from dync.capture.heap import MISSING
from dync.capture.image import pool_of
from dync.capture.keyed import Keyed, is_running
from dync.capture.lists import Grown
from dync.capture.places import is_library, is_user
from dync.capture.recorder import Use
from dync.capture.rolling import Rolling
from dync.capture.scalars import scalar_of
from dync.capture.tape import Event, Op, Val, of_model
from dync.capture.text import SymText, formatted, join, percent


class Truth:
    """Equal to what is the constant itself."""

    def __init__(self, engine: Any, constant: bool) -> None:
        self.engine, self.constant = engine, constant

    def __eq__(self, other: object) -> bool:
        return self.engine.is_(other, self.constant, False)

    __hash__ = None  # type: ignore[assignment]


class Expressions(Rolling):
    """Twins of expressions."""

    original_print: Any = print
    runs = 0
    caching = ""
    """The function behind `functools.lru_cache` that runs now."""

    def once(self, does: str) -> NoReturn:
        """Refuses what such a function does beside giving its result."""
        self.refuse("DY409", f"`{self.caching}` is cached by `functools.lru_cache`, and {does}", "it would do that at the first call only",
                    "let it give its result, and do that where it is called")

    def is_(self, value: Any, other: Any, negate: bool) -> bool:
        """`value is other`: there is one True and one False."""
        value, other = (self.decide(scalar_of(v)) if isinstance(v, torch.SymBool) else v for v in (value, other))
        if pool_of(value) and pool_of(value) == pool_of(other):
            return self.is_row(value, other) is not negate
        if value is not other and isinstance(value, torch.Tensor) and isinstance(other, torch.Tensor):
            self.tell_apart(value, other)
        return (value is other) is not negate

    def tell_apart(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """Of two tensors of which one is what paths have joined to, it matters from the start whether they are one."""
        one, two = (self.value(t) for t in (a, b))
        if self.identities or not any(isinstance(v, Val) and v in v.rec.params for v in (one, two)):
            return
        with torch._C.DisableTorchFunction():
            shared = self.memory.of(self.weights.fake(a)) is self.memory.of(self.weights.fake(b))
        if shared:
            self.identities = True
            self.start_again()

    def class_of(self, value: Any) -> type:
        """`value.__class__`."""
        kind: type = twin(self, type)(value)
        return kind if kind is not type(value) else value.__class__

    def subject(self, value: Any) -> Any:
        """What `match` looks into: C code takes a list or dict of unknown length for neither a sequence nor a mapping."""
        for part in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(part, (Grown, Keyed)):
                part.refuse("a match statement")
        return value

    is_true = property(lambda self: Truth(self, True))
    is_false = property(lambda self: Truth(self, False))

    def getitem(self, container: Any, index: Any, written: bool = False) -> Any:
        """`container[index]`; written: whether the index is a text in the source."""
        if isinstance(container, torch.Tensor):
            return container[index_of(index) if self.arrays else index]
        if type(container) is np.ndarray:
            return read(self, container, index)
        sequence = isinstance(container, (list, tuple, str, torch.nn.ModuleList, torch.nn.Sequential, torch.nn.ParameterList))
        if sequence and isinstance(index, slice):
            start, stop = (self.slice_end(e, len(container)) for e in (index.start, index.stop))
            part = container[slice(start, stop, index.step)]
            return self.listed(f"the list made at {self.span()}", part) if type(part) is list else part
        if sequence:
            index = self.place_of(index)
        if sequence and isinstance(index, torch.SymInt):
            if isinstance(container, (list, tuple, str)) and all(type(c) is str for c in container):
                self.siblings |= dict.fromkeys(container, tuple(container))
            return self.of_model(lambda: container[self.place_in(container, index)])
        if isinstance(container, dict) and isinstance(index, torch.SymBool):
            index = bool(index)
        if isinstance(container, dict) and is_running(index) and type(index) is not torch.SymInt or isinstance(
                container, torch.nn.ModuleDict) and isinstance(index, SymText):
            index = self.found_in(container, index)
        if isinstance(container, (dict, torch.nn.ModuleDict)) and isinstance(index, torch.SymInt):
            keys: list[Any] = [k for k in container.keys() if isinstance(k, int)]
            n = self.pick(index, [(k,) for k in keys])
            return self.of_model(lambda: container[keys[n]]) if n < len(keys) else self.no_entry(container, index)
        if isinstance(container, collections.defaultdict) and container.default_factory is not None and id(container) in self.born:
            self.put_default(container, index, written)
        whole: Any = container
        return whole[index]

    def put_default(self, container: collections.defaultdict[Any, Any], index: Any, written: bool) -> None:
        """Puts what the factory makes where the key is missing: a list of it is born there, each text of the source its own."""
        if index not in container:
            place = self.born[id(container)][0]
            container[index] = self.default_of(f"{place}[{index!r}]" if written else place, container.default_factory)

    def found_in(self, container: Any, index: Any) -> Any:
        """The key of Python's own dict that equals a tuple of numbers known only at run time."""
        found = self.entry_of(container, index)
        return self.no_entry(container, index) if found is MISSING else found

    def no_entry(self, container: Any, index: Any) -> Any:
        """What a dict has for a key that it has not."""
        if isinstance(container, collections.Counter):
            return 0
        if isinstance(container, collections.defaultdict) and container.default_factory is not None:
            place = self.born[id(container)][0] if id(container) in self.born else ""
            if place in self.heap.births and place in self.ungrown:
                self.trap(f"a defaultdict of the model's gets a key that it has not: it cannot hold rows of tensors, {self.ungrown[place]}")
            self.keyed_by_number(container)
        raise of_model(KeyError(index))

    def place(self, container: Any, index: Any, reads: bool = False) -> Any:
        """The index at which a Python container is written, the same one or one of those it may be. reads: it must be there."""
        if type(container) is np.ndarray:
            written(self, index)
        if isinstance(container, torch.Tensor) and self.arrays:
            return index_of(index)
        if isinstance(container, list):
            index = self.place_of(index)
        if isinstance(container, list) and isinstance(index, torch.SymInt):
            found = self.place_in(container, index)
            self.of_model(lambda: container[found])
            return found
        return self.written_at(container, index, reads) if isinstance(container, dict) else index

    def slice_end(self, end: Any, length: int) -> Any:
        """Where a slice of a Python sequence begins or ends, as a number known on this path."""
        end = number_of(end)
        if not isinstance(end, torch.SymInt):
            return end
        groups: list[tuple[int, ...]] = [(i, i - length) if i < length else (i,) for i in range(length + 1)]
        found = self.pick(end, groups)
        return found if found <= length else length if end > 0 else 0

    slice = staticmethod(slice)

    def text(self, *parts: Any) -> Any:
        """An f-string: (value, conversion, format) or literal text a part."""
        return join(self, [p if isinstance(p, str) else formatted(self, *p) for p in parts])

    def percent(self, template: Any, values: Any) -> Any:
        """`template % values`, where `template` is a text."""
        return percent(self, template, values)

    def said(self, text: Any) -> Any:
        """What `__str__` and the like give."""
        return text if not isinstance(text, SymText) else self.text_of(text) if self.texts is None else str(text)

    def format(self, pattern: str, *args: Any, **kwargs: Any) -> Any:
        """`pattern.format(...)`."""
        if all(type(a) in (str, int, float, bool) for a in (*args, *kwargs.values())):
            return pattern.format(*args, **kwargs)
        formatter, automatic = string.Formatter(), iter(range(len(args)))

        def filled(pattern: str) -> Any:
            pieces: list[Any] = []
            for literal, name, spec, conversion in formatter.parse(pattern):
                pieces.append(literal)
                if name is not None:
                    value, _ = formatter.get_field(name or str(next(automatic)), args, kwargs)
                    given = filled(spec) if spec and "{" in spec else spec or ""
                    pieces.append(formatted(self, value, ord(conversion) if conversion else -1, given))
            return join(self, pieces)

        return filled(pattern)

    def print(self, *items: Any, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False) -> None:
        """`print` by the model: done at run time, in its place."""
        frame = sys._getframe(1)
        if not self.finished:
            self.check_alive()
        if self.finished or not is_user(frame.f_code) or is_library(frame.f_code):
            self.original_print(*items, sep=sep, end=end, file=file, flush=flush)
            return
        if file not in (None, sys.stdout, sys.stderr):
            self.problem("DY211", "the model prints to a file", "files are opened by the process that runs the artifact",
                         "print to standard output")
        texts = [formatted(self, i, ord("s") if not isinstance(i, torch.Tensor) else -1, "") for i in items]
        whole = join(self, [p for n, t in enumerate(texts) for p in ((" " if sep is None else sep, t) if n else (t,))])
        self.put_out(whole, file is sys.stderr, "\n" if end is None else end)

    def put_out(self, text: Any, errors: bool, end: str = "") -> None:
        """Writes a text to standard output at run time, or to standard error."""
        if errors:
            self.effect("sys.stderr.write", join(self, [text, end]))
        else:
            self.effect("print", text, end)

    def effect(self, op: str, *args: Any, gives: str = "") -> Any:
        """A host operation that does something, in its place; gives: the kind of number that it gives, if any."""
        self.check_alive()
        event = self.next_event(op, (op,))
        if event is None:
            scalars = [a if isinstance(a, str) else a.exact() if isinstance(a, SymText) else scalar_of(a) for a in args]
            for scalar in scalars:
                self.check_visible(scalar)
            val = self.new_scalar(gives, op.rpartition(".")[2]) if gives else None
            self.rec.ops.append(Op(op, tuple(map(Use, scalars)), {}, (val,), True, self.span(), True))
            event = Event(op, (op,), self.symbolic(val) if val is not None else None)
            self.rec.log.append(event)
            self.cursor += 1
        return event.result

    def of_model(self, read: Any) -> Any:
        """Does what the user's code asked for; an exception is the model's own."""
        try:
            return read()
        except (IndexError, KeyError, ArithmeticError, ValueError) as error:
            of_model(error)
            raise

    def builtin(self, function: Any) -> Any:
        return twin(self, function)
