"""The marker inserter: calls into the engine between a function's own statements, which stay as they are.

    enter(f)            first statement of the body
    at(s)               start of every nested body
    mark(s)             after every statement that can fork: `if dync_m := mark(s): x = dync_m["x"]; ...`
    text(parts...)      for an f-string
    loop_over(s, xs)    around what a for loop walks over
    head(s)             before a while test and at the start of a for body: where a loop may be rolled
    resume(s)           at the start of a loop's else
    resumed(s, (yield x))   around a yield: another may have run meanwhile
    give(s, value)      around a returned value             either(s, begin(), v) around `a if t else b`
    getitem(x, i)       around `x[i]` with a computed index: a symbolic index into Python containers becomes a switch
    place(x, i)         around the index of `x[i] = v`; place(x, i, True) of `x[i] += v` and `del x[i]`
    listed, spread      around what makes lists; `[a, *b]`, and spread_tuple for `(a, *b)`
    stored, display     around what makes sets and dicts: see keying.py
    is_true, is_false   for True and False as patterns of a match
    argument(v, l, c)   around an argument of the call at a line and column
    is_, builtin        around `is True`, and calls of int, float, len, range, math.* ...: Python's own refuse symbolic numbers

Rewriting is on Python's own syntax tree: positions survive, so tracebacks and spans name the user's lines.
"""

from __future__ import annotations

import ast
import collections
import copy
import functools
import inspect
import types
from dataclasses import dataclass, field
from typing import Any

from dync.capture import stdlib
from dync.capture.liveness import Names, analyse, loads, stores
from dync.capture.places import LAMBDA, WALKED, all_codes

DOOR = "@dync-engine@"
"""A string constant that `bind` replaces by the engine in the code object: no global, no closure cell is added."""


ANSWERS = frozenset({"__bool__", "__len__", "__contains__", "__index__", "__int__", "__float__", "__hash__", "__length_hint__",
                     "__iter__", "__next__"})
"""Methods that the interpreter calls and whose results it checks."""
SAYS = frozenset({"__str__", "__repr__", "__format__"})
"""Those that must give a str."""
KEYED = frozenset({"set", "frozenset", "dict", "Counter", "defaultdict", "OrderedDict", "fromkeys"})
"""What makes sets and dicts."""
ASKS_HASHES = frozenset({"add", "setdefault", "update", "union", "symmetric_difference", "symmetric_difference_update", "subtract",
                         "discard", "remove", "pop", "move_to_end", "intersection", "intersection_update", "difference",
                         "difference_update", "get", "issubset", "issuperset", "isdisjoint", "copy"})
"""Methods of sets and dicts to which a number known only at run time may be given."""
OLD = frozenset({"Tensor", "LongTensor", "IntTensor", "FloatTensor", "DoubleTensor", "BoolTensor"})
"""Classes of torch's that make tensors of lists."""
MAYBE_BOOL = (ast.Name, ast.Compare, ast.BoolOp, ast.BinOp, ast.IfExp, ast.Call, ast.Attribute, ast.Subscript)
"""Expressions that may give a bool known only at run time, or hold one."""
BUILTINS = frozenset({"int", "float", "bool", "isinstance", "range", "round", "len", "str", "min", "max", "sum", "divmod", "list", "tuple",
                      "map", "sorted", "deque", "enumerate", "zip", "reversed", "any", "all", "type", "repr", "format",
                      "iter", "chr", "id"})
"""Functions that refuse symbolic numbers or answer by their type, and have twins."""


LEAVES = (ast.Return, ast.Raise, ast.Break, ast.Continue)
"""Behind these nothing of a body runs."""


@dataclass(frozen=True)
class Site:
    """One marker. Numbers grow in source order within a function, which is what orders joins."""

    uid: int
    function: int
    depth: int
    kind: str
    names: tuple[str, ...]
    """Names to write back."""
    live: Names
    loops: tuple[int, ...]
    """uids of the enclosing loops' sites, outermost first."""
    line: int
    targets: Names = frozenset()
    """For the head of a for loop: the names that the loop itself binds."""
    yields: bool = False
    """For a loop: whether it yields, so that its turns are spread over those of another."""
    reach: Names = frozenset()
    """Names that may be read from here on: whatever else stands in the frame is dead."""


@dataclass
class Markers:
    """All sites of a capture, by uid."""

    sites: list[Site] = field(default_factory=list)
    functions: list[str] = field(default_factory=list)
    code: dict[tuple[types.CodeType, frozenset[types.CodeType]], types.CodeType] = field(default_factory=dict)


def _call(name: str, *args: ast.expr) -> ast.Call:
    return ast.Call(ast.Attribute(ast.Constant(DOOR), name, ast.Load()), list(args), [])


def _can_fork(s: ast.stmt) -> bool:
    if isinstance(s, (ast.If, ast.While, ast.For, ast.With, ast.Try, ast.Match, ast.Assert)):
        return True
    if isinstance(s, (ast.Return, ast.Raise, ast.Break, ast.Continue, ast.Pass, ast.Global, ast.Nonlocal, ast.Import, ast.ImportFrom,
                      ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
        return False
    forking = (ast.Call, ast.Compare, ast.BoolOp, ast.IfExp, ast.Subscript, ast.BinOp, ast.UnaryOp, ast.comprehension, ast.Attribute,
               ast.AugAssign, ast.Yield, ast.YieldFrom, ast.Starred)
    return any(isinstance(n, forking) for n in ast.walk(s))


class _Inserter(ast.NodeTransformer):
    def __init__(self, markers: Markers, function: int, tree: ast.FunctionDef) -> None:
        self.markers = markers
        self.function = function
        self.name = tree.name
        self.liveness = analyse(tree)
        self.declared = {n for s in ast.walk(tree) if isinstance(s, ast.Global) for n in s.names}
        self.shared = frozenset(n for s in ast.walk(tree) if isinstance(s, ast.Nonlocal) for n in s.names)
        """Names that nested functions rebind: any statement that calls one may."""
        self.answers = tree.name in ANSWERS
        self.says = tree.name in SAYS
        self.near = self._near(tree.body)[0]
        """Names that code from here to the next marker, or after it, may read or bind."""
        self.depth = 0
        self.reads = False
        """Whether a subscript that is written must be there."""
        self.inner = 0
        """How many comprehensions are around an expression: they have frames of their own, where nothing joins."""
        self.loops: list[int] = []
        self.args = [a.arg for a in (*tree.args.posonlyargs, *tree.args.args, *tree.args.kwonlyargs)]
        self.args += [a.arg for a in (tree.args.vararg, tree.args.kwarg) if a]

    def site(self, kind: str, names: Names, live: Names, node: ast.AST) -> ast.Constant:
        site = Site(len(self.markers.sites), self.function, self.depth, kind, tuple(sorted(names - self.declared)), live,
                    tuple(self.loops), getattr(node, "lineno", 0), stores(node.target) if kind == "for" else frozenset(),  # type: ignore[attr-defined]
                    kind == "loop" and any(isinstance(n, (ast.Yield, ast.YieldFrom)) for n in ast.walk(node)), live | self.near)
        self.markers.sites.append(site)
        return ast.Constant(site.uid)

    def put(self, node: ast.AST, new: ast.stmt) -> ast.stmt:
        for n in ast.walk(new):
            if not hasattr(n, "lineno") or isinstance(n, (ast.expr, ast.stmt)):
                ast.copy_location(n, node)
        return new

    def marked(self, call: str, kind: str, names: Names, live: Names, node: ast.AST) -> ast.stmt:
        """`if dync_m := DOOR.call(site): x = dync_m["x"] ...` — only names that are live are written back."""
        names = names & live
        constant = self.site(kind, names, live, node)
        names = names - self.declared
        write: list[ast.stmt] = [
            ast.If(ast.Compare(ast.Constant(n), [ast.In()], [ast.Name("dync_m", ast.Load())]),
                   [ast.Assign([ast.Name(n, ast.Store())], ast.Subscript(ast.Name("dync_m", ast.Load()), ast.Constant(n), ast.Load()))], [])
            for n in sorted(names)]
        test = ast.NamedExpr(ast.Name("dync_m", ast.Store()), _call(call, constant))
        return self.put(node, ast.If(test, write, []) if write else ast.Expr(_call(call, constant)))

    def body(self, body: list[ast.stmt], first: list[ast.stmt] | None = None) -> list[ast.stmt]:
        self.depth += 1
        out: list[ast.stmt] = []
        outside, near = self.near, self._near(body)
        self.near = near[0]
        if first is None and body:
            out.append(self.put(body[0], ast.Expr(_call("at", self.site("at", frozenset(), frozenset(), body[0])))))
        out += first or []
        for n, s in enumerate(body):
            self.near = near[n]
            after = self.liveness.after.get(id(s), frozenset())
            bound = stores(s) | self.shared
            forks = _can_fork(s)
            out.append(self.visit(s))
            if forks:
                self.near = near[n + 1]
                out.append(self.marked("mark", "mark", bound, after, self._end(s)))
        self.depth -= 1
        self.near = outside
        return out

    def _near(self, body: list[ast.stmt]) -> list[Names]:
        """Before each statement, and after the last: the names that matter up to the next marker and after it."""
        near = [self.liveness.after.get(id(body[-1]), frozenset()) if body else frozenset()]
        for s in reversed(body):
            mine = self.liveness.before.get(id(s), frozenset()) | {w.target.id for w in ast.walk(s) if isinstance(w, ast.NamedExpr)}
            near.append(mine if _can_fork(s) or isinstance(s, LEAVES) else mine | near[-1])
        return near[::-1]

    @staticmethod
    def _end(s: ast.stmt) -> ast.stmt:
        return s

    def visit_If(self, node: ast.If) -> ast.stmt:
        node.test = self.visit(node.test)
        node.body, node.orelse = self.body(node.body), self.body(node.orelse) if node.orelse else []
        return node

    def visit_With(self, node: ast.With) -> ast.stmt:
        node.items = [self.visit(i) for i in node.items]
        node.body = self.body(node.body)
        return node

    def visit_Try(self, node: ast.Try) -> ast.stmt:
        node.body = self.body(node.body)
        for h in node.handlers:
            first = h.body[0]
            h.body = [self.put(first, ast.Expr(_call("handled"))), *self.body(h.body)]
        node.orelse = self.body(node.orelse) if node.orelse else []
        node.finalbody = self.body(node.finalbody) if node.finalbody else []
        return node

    def visit_Match(self, node: ast.Match) -> ast.stmt:
        node.subject = self.put_expr(node.subject, _call("subject", self.visit(node.subject)))
        for c in node.cases:
            c.pattern = self.visit(c.pattern)
            if c.guard is not None:
                self.inner += 1
                c.guard = self.visit(c.guard)
                self.inner -= 1
            c.body = self.body(c.body)
        return node

    def visit_MatchSingleton(self, node: ast.MatchSingleton) -> ast.pattern:
        """`case True` asks `is`: a pattern that is asked `==` stands in its place."""
        if node.value is None:
            return node
        truth = ast.Attribute(ast.Constant(DOOR), "is_true" if node.value else "is_false", ast.Load())
        return ast.copy_location(ast.MatchValue(self.put_expr(node, truth)), node)  # type: ignore[arg-type]

    def visit_While(self, node: ast.While) -> ast.stmt:
        return self._loop(node)

    def visit_For(self, node: ast.For) -> ast.stmt:
        node.iter = self.visit(node.iter)
        return self._loop(node)

    def put_expr(self, node: ast.expr | ast.stmt, new: ast.expr) -> ast.expr:
        for n in ast.walk(new):
            if isinstance(n, ast.expr) and not hasattr(n, "lineno"):
                ast.copy_location(n, node)
        return new

    def _loop(self, s: ast.While | ast.For) -> ast.stmt:
        live = self.liveness.head[id(s)]
        bound = stores(s) | self.shared
        constant = self.site("loop", bound & live, live, s)
        if isinstance(s, ast.For):
            live = live | stores(s.target)
            s.iter = self.put_expr(s.iter, _call("loop_over", constant, s.iter))
        assert isinstance(constant.value, int)
        self.loops.append(constant.value)
        self.depth += 1
        head_names = bound & live
        outside = self.near
        self.near = self._near(s.body)[0] | stores(s.target) if isinstance(s, ast.For) else loads(s.test) | stores(s.test)
        head = self.marked("head", "while" if isinstance(s, ast.While) else "for", head_names, live, s)
        self.depth -= 1
        if isinstance(s, ast.While):
            # while T: B  →  while (head, write back, T)[-1]: B — the test is evaluated after the state was widened
            test = self.visit(s.test)
            assert isinstance(head, (ast.If, ast.Expr))
            parts: list[ast.expr] = []
            if isinstance(head, ast.If):
                parts.append(head.test)
                for n in sorted(head_names - self.declared):
                    value = ast.Subscript(ast.Name("dync_m", ast.Load()), ast.Constant(n), ast.Load())
                    given = ast.Compare(ast.Constant(n), [ast.In()], [ast.Name("dync_m", ast.Load())])
                    cond = ast.BoolOp(ast.And(), [ast.Name("dync_m", ast.Load()), given])
                    parts.append(ast.IfExp(cond, ast.NamedExpr(ast.Name(n, ast.Store()), value), ast.Constant(None)))
            else:
                parts.append(head.value)
            whole = ast.Subscript(ast.Tuple([*parts, test], ast.Load()), ast.Constant(-1), ast.Load())
            for n in ast.walk(whole):
                if isinstance(n, ast.expr) and not hasattr(n, "lineno"):
                    ast.copy_location(n, s.test)
            s.test = whole
            s.body = self.body(s.body)
        else:
            s.body = self.body(s.body, first=[head])
        self.near = outside
        self.loops.pop()
        if s.orelse:
            first = s.orelse[0]
            s.orelse = self.body(s.orelse, first=[self.marked("resume", "resume", bound, self.liveness.before[id(first)], first)])
        return s

    def visit_Return(self, node: ast.Return) -> ast.stmt:
        value = self.visit(node.value) if node.value is not None else ast.Constant(None)
        if self.answers:  # C code asks, and takes no symbol for an answer: the paths join in the caller
            node.value = value
            return node
        if self.says:
            node.value = self.put_expr(node, _call("said", value))
            return node
        node.value = self.put_expr(node, _call("give", self.site("return", frozenset(), frozenset(), node), value))
        for n in ast.walk(node.value):
            if isinstance(n, ast.expr) and not hasattr(n, "lineno"):
                ast.copy_location(n, node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        node.func = self.visit(node.func)
        node.args = [self.argument(a, node) for a in node.args]
        for k in node.keywords:
            k.value = self.argument(k.value, node)
        match node.func:
            case ast.Name(id=name) if name in BUILTINS:
                node.func = self.put_expr(node.func, _call("builtin", node.func))
                return self.born(node) if name in ("list", "deque", "sorted") else node
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in KEYED:
                node.func = self.put_expr(node.func, _call("keyed", self.place(node), node.func))
            case ast.Attribute(attr=name) if name in ASKS_HASHES:
                node.func = self.put_expr(node.func, _call("builtin", node.func))
                return self.born(node) if name == "copy" else node
            case ast.Attribute(attr="tolist"):
                return self.born(node)
            case ast.Name(id="deepcopy") | ast.Attribute(attr="deepcopy"):
                return self.put_expr(node, _call("stored", self.place(node), self.born(node)))
            case ast.Attribute(attr="deque"):
                node.func = self.put_expr(node.func, _call("builtin", node.func))
                return self.born(node)
            case ast.Name(id=name) | ast.Attribute(attr=name) if name in stdlib.NAMES:
                node.func = self.put_expr(node.func, _call("builtin", node.func))
            case ast.Attribute(value=ast.Constant(value=str()) as template, attr="format"):
                call = ast.Call(ast.Attribute(ast.Constant(DOOR), "format", ast.Load()), [template, *node.args], node.keywords)
                return self.put_expr(node, call)
            case (ast.Attribute(value=ast.Name(id="math" | "np" | "numpy" | "list" | "str" | "set" | "frozenset" | "dict" | "deque"))
                  | ast.Name(id="pad_sequence")
                  | ast.Attribute(attr="__len__" | "index" | "join" | "pad_sequence" | "sort" | "extend" | "insert"
                                      | "startswith" | "endswith" | "find" | "replace")):
                node.func = self.put_expr(node.func, _call("builtin", node.func))
            case ast.Attribute(value=ast.Name(id="torch"), attr=name) if name in OLD:
                node.func = self.put_expr(node.func, _call("builtin", node.func))
        return node

    def argument(self, value: ast.expr, call: ast.Call) -> ast.expr:
        """An argument of a call: where C code is found to want a bool, one known only at run time is decided before it is given."""
        if isinstance(value, ast.Starred):
            value.value = self.argument(value.value, call)
            return value
        may, new = isinstance(value, MAYBE_BOOL), self.visit(value)
        return self.put_expr(value, _call("argument", new, ast.Constant(call.lineno), ast.Constant(call.col_offset))) if may else new

    def born(self, node: ast.expr) -> ast.expr:
        """Around what makes a list: where lists are found to be of unknown length, others are made in their place."""
        return self.put_expr(node, _call("listed", self.place(node), node))

    def place(self, node: ast.expr) -> ast.Constant:
        return ast.Constant(f"{self.name}:{node.lineno}:{node.col_offset}")

    def visit_List(self, node: ast.List) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.ctx, ast.Load):
            return node
        if not any(isinstance(e, ast.Starred) for e in node.elts):
            return self.born(node)
        return self.put_expr(node, _call("spread", self.place(node), *_parts(node.elts)))

    def visit_Tuple(self, node: ast.Tuple) -> ast.expr:
        self.generic_visit(node)
        spread = isinstance(node.ctx, ast.Load) and any(isinstance(e, ast.Starred) for e in node.elts)
        return self.put_expr(node, _call("spread_tuple", *_parts(node.elts))) if spread else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        repeated = isinstance(node.op, ast.Mult) and any(isinstance(x, (ast.List, ast.ListComp)) for x in (node.left, node.right))
        self.generic_visit(node)
        if repeated:
            return self.put_expr(node, _call("repeated", ast.Constant(f"{self.place(node).value}:repeated"), node.left, node.right))
        if isinstance(node.op, ast.Mod) and isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
            return self.put_expr(node, _call("percent", node.left, node.right))
        numeric = any(isinstance(x, ast.Constant) for x in (node.left, node.right))
        return self.born(node) if isinstance(node.op, ast.Add) and not numeric else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        self.generic_visit(node)
        asks = node.attr == "__class__" and isinstance(node.ctx, ast.Load)
        return self.put_expr(node, _call("class_of", node.value)) if asks else node

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        self.generic_visit(node)
        if all(isinstance(k, ast.Constant) for k in node.keys):
            return self.put_expr(node, _call("stored", self.place(node), node))
        parts = [_spread(v) if k is None else ast.Tuple([k, v], ast.Load()) for k, v in zip(node.keys, node.values)]
        return self.put_expr(node, _call("display", self.place(node), ast.Constant("dict"), *parts))

    def visit_Set(self, node: ast.Set) -> ast.expr:
        self.generic_visit(node)
        if all(isinstance(e, ast.Constant) for e in node.elts):
            return self.put_expr(node, _call("stored", self.place(node), node))
        parts = [_spread(e.value) if isinstance(e, ast.Starred) else ast.Tuple([e], ast.Load()) for e in node.elts]
        return self.put_expr(node, _call("display", self.place(node), ast.Constant("set"), *parts))

    def visit_SetComp(self, node: ast.SetComp | ast.DictComp) -> ast.expr:
        """`{e for x in xs}` and `{k: v for x in xs}` as the list of what goes in."""
        kind = "set" if isinstance(node, ast.SetComp) else "dict"
        item = node.elt if isinstance(node, ast.SetComp) else ast.Tuple([node.key, node.value], ast.Load())
        items = ast.copy_location(ast.ListComp(item, node.generators), node)
        made = self.visit_ListComp(items)
        return self.put_expr(node, _call("display", ast.Constant(f"{self.place(node).value}:{kind}"), ast.Constant(kind), _spread(made)))

    visit_DictComp = visit_SetComp

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        self._reading(node)
        match node.op, node.target:
            case ast.Add(), ast.Name() as target:
                node.value = self.put_expr(node.value, _call("added", _read(target), node.value))
            case ast.Add(), ast.Attribute(value=ast.Name() as owner, attr=name):  # a property is read once
                node.value = self.put_expr(node.value, _call("added", _read(owner), node.value, ast.Constant(name)))
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """`a, *b = e`: the list that b becomes may be of unknown length."""
        self.generic_visit(node)
        target = node.targets[0]
        if len(node.targets) == 1 and isinstance(target, (ast.Tuple, ast.List)):
            at = next((n for n, e in enumerate(target.elts) if isinstance(e, ast.Starred)), None)
            if at is not None and isinstance(rest := target.elts[at], ast.Starred):
                target.elts[at] = rest.value
                behind = ast.Constant(len(target.elts) - at - 1)
                node.value = self.put_expr(node.value, _call("starred", self.place(node.value), node.value, ast.Constant(at), behind))
        return node

    def visit_Delete(self, node: ast.Delete) -> ast.stmt:
        return self._reading(node)

    def _reading(self, node: ast.stmt) -> ast.stmt:
        self.reads = True
        self.generic_visit(node)
        self.reads = False
        return node

    def visit_ListComp(self, node: ast.ListComp | ast.GeneratorExp) -> ast.expr:
        """`[e for x in xs if c]` → comprehend(place, xs, lambda them: [e for x in them if c], lambda it: [e for x in (it,) if c]).

        With a second `for`, two more, in which what follows the first is a comprehension of its own: [[...] for x in them if c].
        """
        split = [self.split(node)] if len(node.generators) > 1 else []
        first = node.generators[0]
        first.iter = self.visit(first.iter)
        self.inner += 1
        node.elt, first.ifs = self.visit(node.elt), [self.visit(c) for c in first.ifs]
        node.generators[1:] = [self.visit(g) for g in node.generators[1:]]
        self.inner -= 1
        if first.is_async or any(isinstance(n, (ast.NamedExpr, ast.Await, ast.Yield, ast.YieldFrom)) for n in ast.walk(node)):
            return node

        def over(kind: Any, of: Any, walked: ast.expr) -> ast.Lambda:
            first, *rest = of.generators
            body = kind(of.elt, [ast.comprehension(first.target, walked, first.ifs, 0), *rest])
            return ast.Lambda(ast.arguments([], [ast.arg(WALKED)], None, [], [], None, []), ast.copy_location(body, node))

        item = ast.Name(WALKED, ast.Load())
        alone = ast.Tuple([item], ast.Load())
        ways = [w for kind, of in ((type(node), node), *((ast.ListComp, s) for s in split)) for w in
                (over(kind, of, item), over(ast.ListComp, of, alone))]
        name = "generate" if isinstance(node, ast.GeneratorExp) else "comprehend"
        return self.put_expr(node, _call(name, self.place(node), first.iter, *ways))

    visit_GeneratorExp = visit_ListComp

    def split(self, node: ast.ListComp | ast.GeneratorExp) -> ast.ListComp:
        """`[e for x in xs if c for y in ys]` → [[e for y in ys] for x in xs if c], what is inside visited."""
        split = copy.deepcopy(node)
        first, *rest = split.generators
        self.inner += 1
        elt = self.visit(ast.copy_location(ast.ListComp(split.elt, rest), rest[0].target))
        first.ifs = [self.visit(c) for c in first.ifs]
        self.inner -= 1
        return ast.ListComp(elt, [first])

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
        self.generic_visit(node)
        parts: list[ast.expr] = []
        for v in node.values:
            if isinstance(v, ast.FormattedValue):
                spec = v.format_spec if v.format_spec is not None else ast.Constant("")
                parts.append(ast.Tuple([v.value, ast.Constant(v.conversion), spec], ast.Load()))
            else:
                parts.append(v)
        return self.put_expr(node, _call("text", *parts))

    def visit_FormattedValue(self, node: ast.FormattedValue) -> ast.expr:
        node.value = self.visit(node.value)  # its format is a string of its own and stays as it is
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if self.inner:
            return node
        site = self.site("value", frozenset(), frozenset(), node)
        return self.put_expr(node, _call("either", site, _call("begin"), node))

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        match node.ops, node.comparators:
            case [ast.Is() | ast.IsNot() as op], [other] if not any(map(_is_none, (node.left, other))):
                return self.put_expr(node, _call("is_", node.left, other, ast.Constant(isinstance(op, ast.IsNot))))
            case [ast.In() | ast.NotIn() as op], [container]:
                found = ast.Call(_call("builtin", ast.Constant("in")), [node.left, container], [])
                return self.put_expr(node, found if isinstance(op, ast.In) else ast.UnaryOp(ast.Not(), found))
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.slice, ast.Constant):  # a text may be new to a defaultdict
            named = isinstance(node.slice.value, str) and isinstance(node.ctx, ast.Load)
            return self.put_expr(node, _call("getitem", node.value, node.slice, ast.Constant(True))) if named else node
        if isinstance(node.slice, ast.Tuple) and any(map(_is_part, node.slice.elts)):
            return node
        if isinstance(node.slice, ast.Slice):
            ends = [e or ast.Constant(None) for e in (node.slice.lower, node.slice.upper, node.slice.step)]
            if isinstance(node.ctx, ast.Load) and not all(map(_is_number, ends)):
                return self.put_expr(node, _call("getitem", node.value, _call("slice", *ends)))
            if isinstance(node.ctx, ast.Load):
                return self.put_expr(node, _call("listed", ast.Constant(f"{self.place(node).value}:slice"), node))
        elif isinstance(node.ctx, ast.Load):
            return self.put_expr(node, _call("getitem", node.value, node.slice))
        elif _is_path(node.value):
            node.slice = self.put_expr(node, _call("place", _read(node.value), node.slice, *[ast.Constant(True)] * self.reads))
        return node

    def visit_Yield(self, node: ast.Yield | ast.YieldFrom) -> ast.expr:
        self.generic_visit(node)
        if self.inner:
            return node
        return self.put_expr(node, _call("resumed", self.site("yield", frozenset(), frozenset(), node), node))

    visit_YieldFrom = visit_Yield

    def _opaque(self, node: ast.AST) -> ast.AST:
        return node

    def visit_Lambda(self, node: ast.Lambda) -> ast.Lambda:
        if not getattr(node, "marked", False):
            _insert_lambda(self.markers, node)
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _opaque


def _is_part(node: ast.expr) -> bool:
    """Whether an element of an index is for tensors alone."""
    return isinstance(node, (ast.Slice, ast.Starred)) or isinstance(node, ast.Constant) and node.value in (None, ...)


def _parts(items: list[ast.expr]) -> list[ast.expr]:
    """What each part of a display adds, `*b` and `(a,)`."""
    return [e.value if isinstance(e, ast.Starred) else ast.Tuple([e], ast.Load()) for e in items]


def _spread(node: ast.expr) -> ast.expr:
    return ast.List([node], ast.Load())


def _is_number(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) or isinstance(node, ast.UnaryOp) and isinstance(node.operand, ast.Constant)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_path(node: ast.expr) -> bool:
    """Whether an expression is a name or an attribute of one: reading it again changes nothing."""
    return isinstance(node, ast.Name) or isinstance(node, ast.Attribute) and _is_path(node.value)


def _read(node: ast.expr) -> ast.expr:
    """The same path to be read, where `node` is the target of an assignment."""
    if isinstance(node, ast.Attribute):
        return ast.Attribute(_read(node.value), node.attr, ast.Load())
    assert isinstance(node, ast.Name)
    return ast.Name(node.id, ast.Load())


def _insert(markers: Markers, tree: ast.FunctionDef) -> None:
    uid = len(markers.functions)
    markers.functions.append(tree.name)
    inserter = _Inserter(markers, uid, tree)
    docstring = tree.body[:1] if isinstance(tree.body[0], ast.Expr) and isinstance(tree.body[0].value, ast.Constant) else []
    enter = inserter.put(tree.body[0], ast.Expr(_call("enter", inserter.site("enter", frozenset(), frozenset(), tree))))
    rest = inserter.body(tree.body[len(docstring):], first=[enter])
    last = tree.body[-1]
    if not isinstance(last, (ast.Return, ast.Raise)):
        final = ast.Return(_call("give", inserter.site("return", frozenset(), frozenset(), last), ast.Constant(None)))
        rest.append(inserter.put(last, final))
    tree.body = [*docstring, *rest]


def _insert_lambda(markers: Markers, node: ast.Lambda) -> None:
    """As into a function that only returns: `lambda: e` → `lambda: (DOOR.enter(site), DOOR.give(site, e))[1]`."""
    body = ast.copy_location(ast.Return(node.body), node.body)
    _insert(markers, tree := ast.copy_location(ast.FunctionDef(LAMBDA, node.args, [body], []), node))
    parts = [s.value for s in tree.body if isinstance(s, (ast.Expr, ast.Return)) and s.value is not None]
    node.body = ast.copy_location(ast.Subscript(ast.Tuple(parts, ast.Load()), ast.Constant(-1), ast.Load()), node.body)
    node.marked = True  # type: ignore[attr-defined]


Extent = tuple[int, int, int, int]
"""First line and column of an expression, and the last ones."""


def _extent(node: Any) -> Extent:
    return (node.lineno, node.col_offset, node.end_lineno, node.end_col_offset)


def _lambda_of(code: types.CodeType, bodies: list[tuple[ast.Lambda, Extent]]) -> ast.Lambda | None:
    """The smallest lambda around all that code does. Python tells of a lambda's code only the places of its parts."""
    parts = [(a, c, b, d) for a, b, c, d in code.co_positions() if None not in (a, b, c, d) and (c, d) != (0, 0)]
    around = [n for n, (a, c, b, d) in bodies if parts and all((a, c) <= p[:2] and p[2:] <= (b, d) for p in parts)]  # type: ignore[operator]
    return around[-1] if around else None


def _first_line(node: Any) -> int:
    """Where a statement begins, its decorators included, as its code has it."""
    return min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", ()))])


@functools.lru_cache(maxsize=8)
def _stretches(source: str) -> tuple[tuple[int, int], ...]:
    """First and last lines of a file's statements."""
    return tuple((_first_line(s), s.end_lineno or s.lineno) for s in ast.parse(source).body)


def _holding(source: str, filename: str, codes: list[types.CodeType]) -> ast.Module:
    """The statements of a file that hold one of the codes."""
    lines, body = source.split("\n"), list[ast.stmt]()
    for first, last in _stretches(source):
        if any(first <= c.co_firstlineno <= last for c in codes):
            body += ast.increment_lineno(ast.parse("\n".join(lines[first - 1:last]), filename), first - 1).body
    return ast.Module(body, [])


def _is_private(name: str) -> bool:
    """Names that Python mangles inside classes: the marker would look for them under another name."""
    return name.startswith("_") and "__" in name and not name.endswith("__")


def is_coroutine(code: types.CodeType) -> bool:
    return bool(code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE))


def instrument(markers: Markers, source: str, filename: str, codes: set[types.CodeType]) -> dict[types.CodeType, types.CodeType]:
    """Marked twins of `codes`, all from one file. A code that cannot be matched to its source is left out: its branches do not join."""
    wanted = [c for c in codes if not is_coroutine(c)]
    tree = _holding(source, filename, wanted)
    found: dict[int, types.CodeType] = {}
    nodes = list(ast.walk(tree))
    functions = collections.defaultdict[tuple[str, int], set[ast.AST]](set)
    for node in nodes:
        if isinstance(node, ast.FunctionDef):
            functions[node.name, _first_line(node)].add(node)
    bodies = [(n, _extent(n.body)) for n in nodes if isinstance(n, ast.Lambda)]
    for code in wanted:
        hits = {_lambda_of(code, bodies)} - {None} if code.co_name == LAMBDA else {*functions[code.co_name, code.co_firstlineno]}
        if len(hits) == 1 and not any(_is_private(n) for n in code.co_varnames + code.co_cellvars + code.co_freevars):
            found[id(hits.pop())] = code
    # Inner functions first, so that an outer function's text holds its marked inner ones.
    for node in reversed(nodes):
        if id(node) in found:
            _insert(markers, node) if isinstance(node, ast.FunctionDef) else _insert_lambda(markers, node)  # type: ignore[arg-type]
    ast.fix_missing_locations(tree)
    module = compile(tree, filename, "exec", dont_inherit=True, flags=_future_flags(wanted))
    twins: dict[types.CodeType, types.CodeType] = {}
    for candidate in all_codes(module):
        for code in wanted:
            same = all(getattr(candidate, a) == getattr(code, a) for a in ("co_name", "co_firstlineno", "co_qualname", "co_freevars"))
            same = same and (code.co_name != LAMBDA or _lambda_of(candidate, bodies) is _lambda_of(code, bodies))
            if same and DOOR in _flat_constants(candidate):
                twins[code] = candidate
    return twins


def _future_flags(codes: list[types.CodeType]) -> int:
    import __future__

    mask = 0
    for name in __future__.all_feature_names:
        mask |= getattr(__future__, name).compiler_flag
    return codes[0].co_flags & mask if codes else 0


def _flat_constants(code: types.CodeType) -> list[object]:
    return [k for k in code.co_consts if isinstance(k, str)]


def bind(code: types.CodeType, engine: object) -> types.CodeType:
    """`code` with every DOOR constant, nested functions included, replaced by the engine itself."""
    constants = tuple(engine if isinstance(k, str) and k == DOOR else bind(k, engine) if isinstance(k, types.CodeType) else k
                      for k in code.co_consts)
    return code.replace(co_consts=constants)


__all__ = ["DOOR", "Markers", "Site", "bind", "instrument"]
