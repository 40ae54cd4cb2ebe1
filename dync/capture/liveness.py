"""Which names a function may still read after each statement: backward data flow over the syntax tree.

Conservative: a name counts as live when in doubt (nested functions, `del`, `locals()` users keep everything they mention).
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

Names = frozenset[str]
NONE: Names = frozenset()


def loads(node: ast.AST | None) -> Names:
    """Names that an expression or statement may read, those in nested scopes included."""
    if node is None:
        return NONE
    return frozenset(n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, (ast.Load, ast.Del)))


def stores(node: ast.AST | None) -> Names:
    """Names that a statement may bind in this function's scope."""
    found: set[str] = set()
    stack: list[ast.AST] = [node] if node is not None else []
    while stack:
        n = stack.pop()
        match n:
            case ast.Name(ctx=ast.Store()):
                found.add(n.id)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                found.add(n.name)
                continue
            case ast.Lambda():
                continue
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                found.update(w.target.id for w in ast.walk(n) if isinstance(w, ast.NamedExpr) and isinstance(w.target, ast.Name))
                continue
            case ast.ExceptHandler():
                if n.name:
                    found.add(n.name)
            case ast.Import() | ast.ImportFrom():
                found.update((a.asname or a.name).split(".")[0] for a in n.names)
            case ast.MatchAs() | ast.MatchStar():
                if n.name:
                    found.add(n.name)
            case ast.MatchMapping():
                if n.rest:
                    found.add(n.rest)
            case _:
                pass
        stack.extend(ast.iter_child_nodes(n))
    return frozenset(found)


@dataclass
class Liveness:
    """`after[id(stmt)]`: names live once stmt has run; `head[id(loop)]`: live at a loop's head; `body[id(list)]`: at a body's start."""

    after: dict[int, Names] = field(default_factory=dict)
    head: dict[int, Names] = field(default_factory=dict)
    before: dict[int, Names] = field(default_factory=dict)
    _breaks: list[Names] = field(default_factory=list)
    _continues: list[Names] = field(default_factory=list)
    _handlers: list[Names] = field(default_factory=list)
    """What may be read wherever a block is left: by handlers, `finally`, the exits of `with`."""
    _caught: list[str] = field(default_factory=list)
    """Names of the exceptions that a bare `raise` raises again."""

    def block(self, body: list[ast.stmt], live: Names) -> Names:
        for stmt in reversed(body):
            self.after[id(stmt)] = self.after.get(id(stmt), NONE) | live
            live = self.statement(stmt, live)
            if self._handlers:
                live = live | self._handlers[-1]
            self.before[id(stmt)] = self.before.get(id(stmt), NONE) | live
        return live

    def statement(self, s: ast.stmt, live: Names) -> Names:
        match s:
            case ast.Return():
                return loads(s.value)
            case ast.Raise():
                return loads(s) | (NONE if s.exc else frozenset(self._caught[-1:]))
            case ast.Break():
                return self._breaks[-1] if self._breaks else live
            case ast.Continue():
                return self._continues[-1] if self._continues else live
            case ast.If():
                return loads(s.test) | self.block(s.body, live) | self.block(s.orelse, live)
            case ast.While():
                return self._loop(s, loads(s.test), NONE, live)
            case ast.For() | ast.AsyncFor():
                return loads(s.iter) | self._loop(s, loads(s.target), stores(s.target), live)
            case ast.With() | ast.AsyncWith():
                held = NONE.union(*(stores(i.optional_vars) | loads(i.context_expr) for i in s.items))
                self._handlers.append(held | (self._handlers[-1] if self._handlers else NONE))  # its exit runs after a return too
                inner = self.block(s.body, live | held)
                self._handlers.pop()
                for item in reversed(s.items):
                    inner = (inner - stores(item.optional_vars)) | loads(item.context_expr) | loads(item.optional_vars)
                return inner
            case ast.Try() | ast.TryStar():
                final = self.block(s.finalbody, live)
                around = self._handlers[-1] if self._handlers else NONE
                self._handlers.append(around | final if s.finalbody else around)  # a return runs it too
                handled = final
                for h in s.handlers:
                    self._caught.append(h.name or "")
                    handled = handled | (self.block(h.body, final) - ({h.name} if h.name else set())) | loads(h.type)
                    self._caught.pop()
                after_body = self.block(s.orelse, final)
                self._handlers[-1] = handled | around
                inner = self.block(s.body, after_body | handled)
                self._handlers.pop()
                return inner | handled
            case ast.Match():
                out = live
                for c in s.cases:
                    out = out | (self.block(c.body, live) - stores(c.pattern)) | loads(c.guard) | loads(c.pattern)
                return out | loads(s.subject)
            case ast.FunctionDef() | ast.ClassDef() | ast.AsyncFunctionDef():
                return (live - {s.name}) | loads(s)
            case ast.Assign() | ast.AnnAssign() if not isinstance(s, ast.AnnAssign) or s.value is not None:
                targets = s.targets if isinstance(s, ast.Assign) else [s.target]
                killed = frozenset().union(*(stores(t) for t in targets))
                return (live - killed) | loads(s)
            case ast.AugAssign():
                return live | loads(s) | stores(s.target)
            case ast.Delete():
                return live | loads(s)
            case _:
                return live | loads(s)

    def _loop(self, s: ast.While | ast.For | ast.AsyncFor, test: Names, bound: Names, live: Names) -> Names:
        leave = self.block(s.orelse, live)
        head = test | leave
        while True:
            self._breaks.append(live)
            self._continues.append(head)
            inner = self.block(s.body, head)
            self._breaks.pop()
            self._continues.pop()
            wider = head | (inner - bound) | test
            if wider == head:
                self.head[id(s)] = head
                return head
            head = wider


def analyse(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Liveness:
    """Liveness of one function. Names declared global or nonlocal, or used by nested scopes, are live to the end."""
    scopes = (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef, ast.ClassDef)
    nested = [n for n in ast.walk(function) if n is not function and isinstance(n, scopes)]
    declared = {name for n in ast.walk(function) if isinstance(n, (ast.Global, ast.Nonlocal)) for name in n.names}
    shared = frozenset().union(declared, *(loads(n) | stores(n) for n in nested), *(
        {name for m in ast.walk(n) if isinstance(m, ast.Nonlocal) for name in m.names} for n in nested))
    live = Liveness()
    live.block(function.body, shared)
    return live
