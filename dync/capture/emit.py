"""From records to a Program: what is needed, what it is called, and one fx graph a block."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import sympy
import torch
from torch.fx import Graph, Node
from torch.utils._pytree import tree_map

from dync.capture.inputs import identifier
from dync.capture.recorder import Use
from dync.capture.scalars import Expr, kind_of
from dync.capture.tape import CaseExit, ForkExit, JumpExit, Op, RaiseExit, Rec, ReturnExit, To, Val, Weight
from dync.ir.effects import mutated
from dync.ir.flow import Branch, Decision, Edge, FlowBlock, HostOp, Jump, Leaf, OpaqueTree, Raise, Return, Switch, Tree, Write
from dync.ir.meta import value_type
from dync.ir.program import Block, Program
from dync.ir.scalars import COMPARISONS, EFFECTS, SCALAR_OPS
from dync.ir.types import Lit, ObjectType, Operand, Ref, ScalarType, Span, Value, lit

_RELATIONS = {sympy.Eq: "eq", sympy.Ne: "ne", sympy.Lt: "lt", sympy.Le: "le", sympy.Gt: "gt", sympy.Ge: "ge"}


def successors(rec: Rec) -> list[To]:
    match rec.exit:
        case ForkExit():
            return [rec.exit.then, rec.exit.orelse]
        case JumpExit():
            return [rec.exit.to]
        case CaseExit():
            return [to for _, to in rec.exit.cases] + ([rec.exit.default] if rec.exit.default else [])
        case _:
            return []


def reachable(entry: Rec) -> list[Rec]:
    """Records in topological order, the first way out of each first."""
    order: list[Rec] = []
    seen = {entry}
    stack: list[tuple[Rec, Iterator[To]]] = [(entry, iter(successors(entry)[::-1]))]
    while stack:
        rec, todo = stack[-1]
        step = next(todo, None)
        if step is None:
            order.append(rec)
            stack.pop()
        elif step.rec not in seen:
            seen.add(step.rec)
            stack.append((step.rec, iter(successors(step.rec)[::-1])))
    return order[::-1]


def scalar_tree(rec: Rec, s: Any) -> Any:
    """A scalar as Expr, Val or number: symbols are replaced by what defines them on the way to `rec`."""
    if isinstance(s, (Val, bool, int, float, str, type(None))):
        return s
    if isinstance(s, Expr):
        args = tuple(scalar_tree(rec, a) for a in s.args)
        return s if all(a is b for a, b in zip(args, s.args)) else Expr(s.op, args, s.kind)
    if isinstance(s, sympy.Symbol):
        for r in rec.chain():
            if s in r.bindings:
                return scalar_tree(r, r.bindings[s])
        raise AssertionError(f"symbol {s} is bound nowhere before {rec}")
    if isinstance(s, (sympy.Integer, sympy.logic.boolalg.BooleanAtom)):
        return int(s) if isinstance(s, sympy.Integer) else bool(s)
    return _sympy_tree(rec, s)


def _sympy_tree(rec: Rec, s: Any) -> Any:
    kind = kind_of(s)
    if isinstance(s, sympy.Piecewise):
        pieces: Any = s.args
        out: Any = scalar_tree(rec, pieces[-1][0])
        for value, condition in reversed(pieces[:-1]):
            out = Expr("select", (scalar_tree(rec, condition), scalar_tree(rec, value), out), kind)
        return out
    args = [scalar_tree(rec, a) for a in s.args]
    relation = _RELATIONS.get(type(s))
    if relation:
        return Expr(relation, tuple(args), "bool")
    name = type(s).__name__
    if name in ("Add", "Mul", "And", "Or", "Max", "Min"):
        op = {"Add": "add", "Mul": "mul", "And": "and_", "Or": "or_", "Max": "max", "Min": "min"}[name]
        if name == "Add":
            args.sort(key=lambda a: isinstance(a, (int, float)))
        out = args[0]
        for a in args[1:]:
            if op == "add" and isinstance(a, Expr) and a.op == "mul" and a.args[0] == -1:
                out = Expr("sub", (out, a.args[1]), kind)
            else:
                out = Expr(op, (out, a), kind)
        return out
    table = {"FloorDiv": "floordiv", "CleanDiv": "floordiv", "IntTrueDiv": "floordiv", "Mod": "mod", "PythonMod": "mod", "Pow": "pow",
             "PowByNatural": "pow", "LShift": "lshift", "RShift": "rshift", "BitwiseFn_bitwise_and": "and_", "BitwiseFn_bitwise_or": "or_",
             "BitwiseFn_bitwise_xor": "xor"}
    if name in table:
        return Expr(table[name], tuple(args), kind)
    if name == "ModularIndexing":
        return Expr("mod", (Expr("floordiv", (args[0], args[1]), "int"), args[2]), "int")
    if name == "Not":
        return Expr("not_", (args[0],), "bool")
    if name == "Abs":
        return Expr("abs", (args[0],), kind)
    if name == "Where":
        return Expr("select", tuple(args), kind)
    raise AssertionError(f"no scalar operation for {name}: {s}")


def vals_in(tree: Any) -> Iterator[Val]:
    if isinstance(tree, Val):
        yield tree
    elif isinstance(tree, Expr):
        for a in tree.args:
            yield from vals_in(a)


class Emitter:
    """Builds the blocks of one capture."""

    def __init__(self, order: list[Rec], integers: Mapping[Expr, torch.SymInt]) -> None:
        self.order = order
        self.sizes = {scalar_tree(rec, x): integers[x] for rec in order for x in rec.bindings.values() if isinstance(x, Expr)}
        """What stands for a number in the types of tensors, for those that are computed from other numbers."""
        self.defs: dict[Val, Op] = {v: op for rec in order for op in rec.ops for v in op.outs if v is not None}
        self.params: dict[Val, tuple[Rec, int]] = {v: (rec, i) for rec in order for i, v in enumerate(rec.params)}
        self.into: dict[Rec, list[tuple[Rec, To]]] = {rec: [] for rec in order}
        for rec in order:
            for to in successors(rec):
                self.into[to.rec].append((rec, to))
        self.needed: set[Val] = set()
        self.kept: set[int] = set()
        self.taken: set[str] = set()
        self.names: dict[Val, str] = {}
        self.symbols: dict[Any, str] = {}

    def operands(self, rec: Rec, op: Op) -> Iterator[Val]:
        found: list[Val] = []

        def look(x: Any) -> Any:
            if isinstance(x, Val):
                found.append(x)
            elif isinstance(x, Use):
                found.extend(vals_in(scalar_tree(rec, x.scalar)))
            return x

        tree_map(look, (op.args, op.kwargs), is_leaf=lambda x: isinstance(x, (Val, Use)))
        return iter(found)

    def exit_scalars(self, rec: Rec) -> list[Any]:
        """What an exit reads besides edge arguments: Vals, Weights, scalars."""
        exit = rec.exit
        match exit:
            case ForkExit():
                return [exit.predicate]
            case CaseExit():
                return [exit.index]
            case ReturnExit():
                return [*captured(exit.tree), *(v for _, t in exit.writes for v in captured(t))]
            case RaiseExit():
                return [*(v for t in exit.args for v in captured(t)), *(v for _, t in exit.writes for v in captured(t))]
            case _:
                return []

    def find_needed(self) -> None:
        where = {id(op): rec for rec in self.order for op in rec.ops}
        work: list[tuple[Rec, Any]] = []
        for rec in self.order:
            for op in rec.ops:
                if op.effect:
                    self.kept.add(id(op))
                    work += [(rec, v) for v in self.operands(rec, op)]
            work += [(rec, v) for v in self.exit_scalars(rec)]
        while work:
            self._need(work, where)
            work = [(v.rec, s) for v in self._crossing() for s in compound_symbols(v.fake)
                    if any(d not in self.needed for d in vals_in(scalar_tree(v.rec, s)))]

    def _crossing(self) -> list[Val]:
        """Tensors whose types blocks show: parameters, and what is used outside of its block."""
        shown = dict.fromkeys((*(p for p in self.params if p in self.needed), *_outside_uses(self, self.order)))
        return [v for v in shown if v.kind == "tensor"]

    def _need(self, work: list[tuple[Rec, Any]], where: dict[int, Rec]) -> None:
        """Marks what the scalars and values of `work` are computed from."""
        while work:
            rec, x = work.pop()
            if isinstance(x, Weight):
                continue
            for val in [x] if isinstance(x, Val) else vals_in(scalar_tree(rec, x)):
                if val in self.needed:
                    continue
                self.needed.add(val)
                if val in self.defs:
                    op = self.defs[val]
                    if id(op) not in self.kept:
                        self.kept.add(id(op))
                        work += [(where[id(op)], v) for v in self.operands(where[id(op)], op)]
                elif val in self.params:
                    target, n = self.params[val]
                    work += [(source, to.args[n]) for source, to in self.into[target] if to.args]

    def name(self, val: Val) -> str:
        if val not in self.names:
            hint = val.name or f"{val.label}_{val.uid}"
            self.names[val] = identifier(hint, self.taken)
        return self.names[val]

    def value(self, val: Val) -> Value:
        if val.kind == "str":
            return Value(self.name(val), ObjectType("str"), val.span)
        kind = value_type(val.fake, self.symbols) if val.kind == "tensor" else ScalarType(val.kind)  # type: ignore[arg-type]
        return Value(self.name(val), kind, val.span)


def compound_symbols(fake: Any) -> list[Any]:
    """Symbols of a tensor's sizes that no bare size of it shows, as u1 in [4, u1 + 3]."""
    sizes = [s.node.expr for s in fake.shape if isinstance(s, torch.SymInt)]
    bare = {e for e in sizes if e.is_Symbol}
    return sorted({s for e in sizes for s in e.free_symbols} - bare, key=str)


def captured(tree: Any) -> list[Any]:
    """Raw operands (Val, Weight, scalars) in a tree whose leaves still hold them."""
    if isinstance(tree, Leaf):
        return [] if isinstance(tree.operand, (Lit, Ref)) else [tree.operand]
    if isinstance(tree, OpaqueTree) or not hasattr(tree, "items"):
        return []
    return [v for t in tree.items for v in captured(t)]


class BlockBuilder:
    """One record as a Block."""

    def __init__(self, emitter: Emitter, rec: Rec, block_name: str, outside: set[Val]) -> None:
        self.e, self.rec, self.name, self.outside = emitter, rec, block_name, outside
        self.graph = Graph()
        self.nodes: dict[Any, Node] = {}
        self.inputs: list[Val] = []
        self.results: dict[Any, str] = {}
        self.host: list[HostOp] = []
        self.hosted: dict[Any, str] = {}
        self.span = rec.span
        self.holders: list[Node] = []

    def placeholder(self, val: Val) -> Node:
        name = self.e.name(val)
        anchor = next((n for n in self.graph.nodes if n.op != "placeholder"), None)
        if anchor is None:
            node = self.graph.placeholder(name)
        else:
            with self.graph.inserting_before(anchor):
                node = self.graph.placeholder(name)
        node.meta.update(val=val.fake, span=val.span)
        self.inputs.append(val)
        return node

    def node(self, x: Any) -> Any:
        if isinstance(x, Use):
            return self.scalar(scalar_tree(self.rec, x.scalar))
        if isinstance(x, Val):
            if x not in self.nodes:
                self.nodes[x] = self.placeholder(x)
            return self.nodes[x]
        if isinstance(x, Weight):
            if x not in self.nodes:
                node = self.graph.get_attr(x.name)
                node.meta.update(val=self.fakes[x.name], span=self.span)
                self.nodes[x] = node
            return self.nodes[x]
        return x

    def scalar(self, tree: Any) -> Any:
        if isinstance(tree, Val):
            return self.node(tree)
        if not isinstance(tree, Expr):
            return tree
        if tree not in self.nodes:
            node = self.graph.call_function(SCALAR_OPS[tree.op].function, tuple(self.scalar(a) for a in tree.args))
            node.meta.update(val=self.e.sizes.get(tree, example_scalar(tree.kind)), span=self.span)
            self.nodes[tree] = node
        return self.nodes[tree]

    def add(self, op: Op) -> None:
        self.span = op.span
        if op.target in EFFECTS:
            args = tuple(self.operand(a.scalar if isinstance(a, Use) else a) for a in op.args)
            result = self.e.value(op.outs[0]) if op.outs and op.outs[0] else Value(
                identifier("done", self.e.taken), ObjectType("NoneType"), op.span)
            self.host.append(HostOp(result, op.target, args, op.span))
            return
        leaf = lambda x: isinstance(x, (Val, Use, Weight))  # noqa: E731
        args, kwargs = tree_map(self.node, op.args, is_leaf=leaf), tree_map(self.node, op.kwargs, is_leaf=leaf)
        node = self.graph.call_function(op.target, args, kwargs)
        node.meta["span"] = op.span
        if op.single:
            val = op.outs[0] if op.outs else None
            if val is not None:
                node.meta["val"] = val.fake
                self.nodes[val] = node
            elif isinstance(node.args[0] if node.args else None, Node):
                node.meta["val"] = node.args[0].meta.get("val")  # type: ignore[union-attr]
            return
        node.meta["val"] = tuple(v.fake if v is not None else None for v in op.outs)
        for i, val in enumerate(op.outs):
            if val is not None and val in self.e.needed:
                item = self.graph.call_function(operator.getitem, (node, i))
                item.meta.update(val=val.fake, span=op.span)
                self.nodes[val] = item

    def operand(self, x: Any) -> Operand:
        """A value for the exit or the host: a name or a constant."""
        if isinstance(x, (Lit, Ref)):
            return x
        if isinstance(x, Weight):
            if x not in self.results:
                self.node(x)
                self.results[x] = identifier(x.name, self.e.taken)
            return Ref(self.results[x])
        if isinstance(x, Val):
            return Ref(self.e.name(x))
        tree = scalar_tree(self.rec, x)
        if isinstance(tree, Val):
            return Ref(self.e.name(tree))
        if not isinstance(tree, Expr):
            return lit(tree)
        if tree not in self.hosted:
            args = tuple(self.operand(a) for a in tree.args)
            name = identifier(f"{tree.op.removeprefix('math.').strip('_')}_{len(self.e.taken)}", self.e.taken)
            kind = ObjectType("str") if tree.kind == "str" else ScalarType(tree.kind)  # type: ignore[arg-type]
            self.host.append(HostOp(Value(name, kind, self.exit_span()), tree.op, args, self.exit_span()))
            self.hosted[tree] = name
        return Ref(self.hosted[tree])

    def exit_span(self) -> Span:
        return getattr(self.rec.exit, "span", self.rec.span)

    def edge(self, to: To) -> Edge:
        args = tuple(self.operand(a) for a, p in zip(to.args, to.rec.params) if p in self.e.needed)
        return Edge(self.block_names[to.rec], args)

    def decision(self, x: Any, text: str, span: Span) -> Decision:
        tree = scalar_tree(self.rec, x)
        while isinstance(tree, Expr) and tree.op == "not_":
            tree = tree.args[0]
        if isinstance(tree, Expr) and tree.op in COMPARISONS:
            return Decision(text, span, self.operand(tree.args[0]), self.operand(tree.args[1]))
        return Decision(text, span)

    def tree(self, tree: Tree) -> Tree:
        if isinstance(tree, Leaf):
            return Leaf(self.operand(tree.operand))
        if isinstance(tree, OpaqueTree):
            return tree
        import msgspec

        return msgspec.structs.replace(tree, items=tuple(self.tree(t) for t in tree.items))

    def exit(self) -> Any:
        exit = self.rec.exit
        match exit:
            case JumpExit():
                return Jump(self.edge(exit.to))
            case ForkExit():
                return Branch(self.operand(exit.predicate), self.edge(exit.then), self.edge(exit.orelse),
                              self.decision(exit.predicate, exit.text, exit.span))
            case CaseExit():
                return Switch(self.operand(exit.index), tuple((n, self.edge(to)) for n, to in exit.cases), Decision(exit.text, exit.span),
                              self.edge(exit.default) if exit.default else None)
            case ReturnExit():
                return Return(self.tree(exit.tree), tuple(Write(n, self.tree(t)) for n, t in exit.writes), exit.span)
            case RaiseExit():
                args = tuple(Leaf(lit(a)) if isinstance(a, str) else self.tree(a) for a in exit.args)
                return Raise(exit.cls, args, tuple(Write(n, self.tree(t)) for n, t in exit.writes), exit.span, exit.fields)
        raise AssertionError(f"{self.rec} has no exit")

    def build(self, block_names: dict[Rec, str], fakes: dict[str, Any]) -> Block:
        self.block_names, self.fakes = block_names, fakes
        for op in self.rec.ops:
            if id(op) in self.e.kept:
                self.add(op)
        if self.rec.ops:
            self.span = self.rec.ops[0].span
        exit = self.exit()
        own = [v for op in self.rec.ops if id(op) in self.e.kept and op.target not in EFFECTS for v in op.outs
               if v is not None and v in self.e.needed and v in self.outside]
        outputs = [self.nodes[v] for v in own] + [self.nodes[w] for w in self.results]
        results = tuple(self.e.value(v) for v in own) + tuple(
            Value(name, value_type(self.fakes[w.name], self.e.symbols), self.span) for w, name in self.results.items())
        self.graph.output(tuple(outputs))
        params = tuple(self.e.value(p) for p in self.rec.params if p in self.e.needed) if self.rec.above is not None else ()
        names = {node: self.e.name(val) for val, node in self.nodes.items() if isinstance(val, Val) and node.op == "placeholder"}
        names |= {node: w.name for w, node in self.nodes.items() if isinstance(w, Weight)}
        mutates = tuple(names[n] for n in mutated(self.graph))
        flow = FlowBlock(self.name, params, tuple(self.e.name(v) for v in self.inputs), results, tuple(self.host), exit, mutates, self.span)
        return Block(flow, self.graph)


def example_scalar(kind: str) -> Any:
    """Stands for a scalar in meta["val"] where only its kind matters."""
    return {"int": 1, "float": 1.0, "bool": True}[kind]


def emit(entry: Rec, name: str, weights: Any, make_signature: Any, dims: dict[Any, str], slots: list[Any], labels: dict[Val, str],
         sources: dict[str, str], integers: Mapping[Expr, torch.SymInt]) -> Program:
    """The Program of the records that `entry` reaches. `labels` name the inputs; `dims` name the symbols of their sizes, `integers`
    those of what is computed from other numbers.
    """
    order = reachable(entry)
    e = Emitter(order, integers)
    e.symbols = dict(dims)
    for val, label in labels.items():
        e.taken.add(label)
        e.names[val] = label
    e.find_needed()
    fakes = weights.fakes
    used_elsewhere = _outside_uses(e, order)
    block_names = {rec: f"b{i}" for i, rec in enumerate(order)}
    blocks = tuple(BlockBuilder(e, rec, block_names[rec], used_elsewhere).build(block_names, fakes) for rec in order)
    read = dict.fromkeys(w for b in blocks for w in b.weights)
    from dync.ir.flow import leaves

    read |= dict.fromkeys(o.name for s in slots for o in leaves(s.initial) if isinstance(o, Ref))
    kept = MappingProxyType({n: weights.tensors[n] for n in read})
    files = {f: t for f, t in sources.items() if any(b.flow.span.file == f or any(
        n.meta.get("span") is not None and n.meta["span"].file == f for n in b.graph.nodes) for b in blocks)}
    return Program(name, make_signature(e), blocks, kept, tuple(slots), ("capture",), MappingProxyType(files))


def _outside_uses(e: Emitter, order: list[Rec]) -> set[Val]:
    """Values that a block's own exit, its host operations, or another block read."""
    found: set[Val] = set()
    for rec in order:
        for op in rec.ops:
            if id(op) in e.kept:
                found.update(v for v in e.operands(rec, op) if v.rec is not rec or op.target in EFFECTS)
        uses = e.exit_scalars(rec) + [a for to in successors(rec) for a, p in zip(to.args, to.rec.params) if p in e.needed]
        for x in uses:
            if not isinstance(x, Weight):
                found.update([x] if isinstance(x, Val) else vals_in(scalar_tree(rec, x)))
    return found
