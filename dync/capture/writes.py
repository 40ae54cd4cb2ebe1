"""Where the model's source writes an attribute, a container or a global: for diagnostics about state."""

from __future__ import annotations

import ast
import collections
import linecache
from collections.abc import Iterable, Iterator
from typing import Any

from dync.capture.heap import StaticHeap
from dync.capture.places import is_user
from dync.ir.types import UNKNOWN, Span

CHANGES = frozenset({"append", "extend", "insert", "pop", "popleft", "appendleft", "remove",
                      "clear", "update", "setdefault", "add", "discard"})


def where_written(heap: StaticHeap, n: int, key: Any) -> Span:
    """The first place outside of `__init__` whose text writes the place: found by its name, so that the model is not run again."""
    own = len(key) > 1 and isinstance(key[1], str)
    name = key[1] if own else heap.names[n].rpartition(".")[2].partition("[")[0]
    return where_named(heap, owner(heap, n), name)


def where_named(heap: StaticHeap, x: Any, name: str) -> Span:
    """The first place that writes `name`, looked for in the classes of `x` first."""
    return _first((path, writes(path, classes, name)) for path, classes in files(heap, x))


def where_used(heap: StaticHeap, x: Any, name: str) -> Span:
    """The first place that names `name`, looked for as by `where_named`."""
    return _first((path, uses(path, classes, name)) for path, classes in files(heap, x))


def _first(places: Iterable[tuple[str, Iterable[Any]]]) -> Span:
    """The first place in the first file that has any; `places`: a file and those in it."""
    for path, nodes in places:
        found = sorted((n.lineno, n.col_offset, n.end_lineno or 0, n.end_col_offset or 0) for n in nodes)
        if found:
            return Span(path, *found[0])
    return UNKNOWN


def owner(heap: StaticHeap, n: int) -> Any:
    """The object with a class of the user's that a place belongs to; containers belong to who holds them."""
    seen: set[int] = set()
    while n not in seen and isinstance(heap.objects[n], (list, dict, collections.deque, set)):
        seen.add(n)
        x = heap.objects[n]
        n = next((m for m, places in enumerate(heap.kept) if any(v is x for _, v in places)), n)
    return heap.objects[n]


def files(heap: StaticHeap, x: Any) -> Iterator[tuple[str, set[str]]]:
    """Where to look: the classes of `x` in their files, then all of the files of the model's classes."""
    paths: dict[str, set[str]] = {}
    for one in (x, *heap.objects):
        for cls in (one if isinstance(one, type) else type(one)).__mro__:
            code = getattr(vars(cls).get("forward") or vars(cls).get("__init__"), "__code__", None)
            if code is not None and is_user(code):
                paths.setdefault(code.co_filename, set()).update([cls.__name__] if one is x else [])
    yield from ((path, classes) for path, classes in paths.items() if classes)
    yield from ((path, set()) for path in paths)


def writes(path: str, classes: set[str], name: str) -> Iterator[Any]:
    """What writes `name` in a file, in some of its classes or, where none is given, anywhere."""
    for node in _in_methods(path, classes):
        if isinstance(node, (ast.Attribute, ast.Name, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            yield from [node] if names(node, name) else []
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            yield from [node] if names(node.func.value, name) else []


def uses(path: str, classes: set[str], name: str) -> Iterator[Any]:
    """What names `name`, looked for as by `writes`."""
    yield from (n for n in _in_methods(path, classes) if isinstance(n, (ast.Attribute, ast.Name)) and names(n, name))


def _in_methods(path: str, classes: set[str]) -> Iterator[ast.AST]:
    """All that stands in the functions of a file but `__init__`, of some of its classes or, where none is given, of all."""
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:
        return
    wanted = [c for c in ast.walk(tree) if isinstance(c, ast.ClassDef) and c.name in classes] if classes else [tree]
    for function in (f for part in wanted for f in ast.walk(part)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.name != "__init__":
            yield from ast.walk(function)


def names(node: ast.expr, name: str) -> bool:
    """Whether an expression is `name`, `….name`, or an entry of one of them."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Attribute) and node.attr == name or isinstance(node, ast.Name) and node.id == name
