"""Where the model's source writes an attribute, a container or a global: for diagnostics about state."""

from __future__ import annotations

import ast
import linecache
import sys
from collections.abc import Iterator
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
    for path in dict.fromkeys(files(heap)):
        found = sorted((node.lineno, node.col_offset, node.end_lineno or 0, node.end_col_offset or 0) for node in writes(path, name))
        if found:
            line, col, end_line, end_col = found[0]
            return Span(path, line, col, end_line, end_col)
    return UNKNOWN


def files(heap: StaticHeap) -> Iterator[str]:
    """The files of the model's classes, that of the model first."""
    for x in heap.objects:
        for cls in type(x).__mro__:
            code = getattr(vars(cls).get("forward") or vars(cls).get("__init__"), "__code__", None)
            if code is not None and is_user(code) and cls.__module__ in sys.modules:
                yield code.co_filename


def writes(path: str, name: str) -> Iterator[Any]:
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except SyntaxError:
        return
    for function in ast.walk(tree):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)) and function.name != "__init__":
            for node in ast.walk(function):
                if isinstance(node, (ast.Attribute, ast.Name, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
                    yield from [node] if names(node, name) else []
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
                    yield from [node] if names(node.func.value, name) else []


def names(node: ast.expr, name: str) -> bool:
    """Whether an expression is `name`, `….name`, or an entry of one of them."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Attribute) and node.attr == name or isinstance(node, ast.Name) and node.id == name
