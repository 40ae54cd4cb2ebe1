"""Makes a failing network small: deletes statements, and puts bodies in their compound's place, while it still fails alike."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator

KEEP = frozenset({"build", "inputs", "example_inputs"})


def shrink(source: str, fails: Callable[[str], bool], tries: int = 300) -> str:
    """The smallest source found, at most `tries` candidates tried. `fails` says whether one still fails in the same way."""
    tree, left = ast.parse(source), tries
    progress = True
    while progress and left > 0:
        progress = False
        for candidate in candidates(tree):
            if left <= 0:
                break
            left -= 1
            text = ast.unparse(candidate) + "\n"
            if fails(text):
                tree, progress = ast.parse(text), True
                break
    return ast.unparse(tree) + "\n"


def candidates(tree: ast.Module) -> Iterator[ast.Module]:
    """Smaller trees: larger deletions first."""
    spots = sorted(_spots(tree), key=lambda s: -s[2])
    for path, index, _ in spots:
        yield _edited(tree, path, index, [])
    for path, index, _ in spots:
        statement = _body(tree, path)[index]
        for inner in _bodies(statement):
            yield _edited(tree, path, index, inner)
    yield from _simpler_expressions(tree)


Path = tuple[tuple[int, str], ...]
"""Where a list of statements stands: (index, field) from the module downward."""


def _spots(tree: ast.Module) -> list[tuple[Path, int, int]]:
    """Every statement that may go: where it stands, and how many nodes it has."""
    found: list[tuple[Path, int, int]] = []

    def visit(path: Path, body: list[ast.stmt]) -> None:
        for i, statement in enumerate(body):
            if not (isinstance(statement, ast.FunctionDef) and statement.name in KEEP) and not isinstance(statement, ast.Pass):
                found.append((path, i, sum(1 for _ in ast.walk(statement))))
            if not (isinstance(statement, ast.FunctionDef) and statement.name in KEEP):
                for field in ("body", "orelse", "finalbody"):
                    if isinstance(inner := getattr(statement, field, None), list):
                        visit((*path, (i, field)), inner)

    visit((), tree.body)
    return found


def _body(tree: ast.AST, path: Path) -> list[ast.stmt]:
    body: list[ast.stmt] = tree.body  # type: ignore[attr-defined]
    for index, field in path:
        body = getattr(body[index], field)
    return body


def _bodies(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    if isinstance(statement, (ast.If, ast.For, ast.While, ast.Try, ast.With)):
        yield [s for s in statement.body if not isinstance(s, (ast.Break, ast.Continue))]
        if getattr(statement, "orelse", None):
            yield statement.orelse  # type: ignore[attr-defined]
    if isinstance(statement, ast.Match):
        yield from (case.body for case in statement.cases)


def _edited(tree: ast.Module, path: Path, index: int, instead: list[ast.stmt]) -> ast.Module:
    new = copy.deepcopy(tree)
    body = _body(new, path)
    body[index : index + 1] = copy.deepcopy(instead)
    if not body and not (path and path[-1][1] != "body"):
        body.append(ast.Pass())
    return ast.fix_missing_locations(new)


def _simpler_expressions(tree: ast.Module) -> Iterator[ast.Module]:
    """f(a) → a, a op b → a, p and q → p, x if p else y → x: one place each."""
    count = sum(1 for _ in ast.walk(tree))
    for n in range(count):
        for choice in range(3):
            new = copy.deepcopy(tree)
            if _Simplify(n, choice).apply(new):
                yield ast.fix_missing_locations(new)


class _Simplify(ast.NodeTransformer):
    """Replaces the n-th expression node by its `choice`-th operand."""

    def __init__(self, n: int, choice: int) -> None:
        self.n, self.choice, self.at, self.done = n, choice, -1, False

    def apply(self, tree: ast.Module) -> bool:
        for statement in tree.body:
            if isinstance(statement, ast.ClassDef):
                self.visit(statement)
        return self.done

    def generic_visit(self, node: ast.AST) -> ast.AST:
        self.at += 1
        if self.at == self.n and isinstance(node, ast.expr):
            operands = _operands(node)
            if self.choice < len(operands):
                self.done = True
                return operands[self.choice]
        return super().generic_visit(node)


def _operands(node: ast.expr) -> list[ast.expr]:
    match node:
        case ast.Call(args=args, func=func):
            return [a for a in args if not isinstance(a, (ast.GeneratorExp, ast.Constant))] + (
                [func.value] if isinstance(func, ast.Attribute) and not isinstance(func.value, ast.Name) else []
            )
        case ast.BinOp(left, _, right):
            return [left, right]
        case ast.BoolOp(_, values):
            return values
        case ast.IfExp(_, body, orelse):
            return [body, orelse]
        case ast.UnaryOp(_, operand):
            return [operand]
        case _:
            return []
