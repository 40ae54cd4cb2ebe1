"""Random control flow graphs of every shape, irreducible ones too, and a naive walker that says what they mean."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from dync.host.base import has_kernel
from dync.ir.flow import (
    Branch,
    Decision,
    DictTree,
    Edge,
    Flow,
    FlowBlock,
    HostOp,
    Input,
    Jump,
    Leaf,
    ListTree,
    Raise,
    Return,
    Signature,
    Slot,
    Switch,
    Tree,
    TupleTree,
    Write,
    edges,
)
from dync.ir.scalars import SCALAR_OPS
from dync.ir.types import Operand, Ref, ScalarType, Span, TensorType, Value, lit

INT, BOOL, TENSOR = ScalarType("int"), ScalarType("bool"), TensorType("float32", (2,))


class OutOfFuel(Exception):
    """The walk is long enough."""


class Endless(Exception):
    """A random flow that goes round for ever."""


def dominators(targets: dict[str, list[str]], entry: str) -> dict[str, set[str]]:
    """Which blocks every path to a block goes through, by plain iteration over sets."""
    reached, work = {entry}, [entry]
    while work:
        for target in targets[work.pop()]:
            if target not in reached:
                reached.add(target)
                work.append(target)
    found = {n: set(reached) for n in reached} | {entry: {entry}}
    changed = True
    while changed:
        changed = False
        for name in reached - {entry}:
            new = {name} | set.intersection(*(found[p] for p in reached if name in targets[p]))
            changed |= new != found[name]
            found[name] = new
    return found


def random_flow(seed: int, size: int = 12, wild: float = 0.3, bare: float = 0.0) -> Flow:
    """A flow of `size` blocks. wild: share of edges that go anywhere, backwards or into loops, rather than a little forward.

    bare: share of the blocks with one way out or none that do nothing else.
    """
    rng = random.Random(seed)
    names = [f"b{i}" for i in range(size)]
    shapes: dict[str, list[str]] = {}
    for i, name in enumerate(names):
        ways = rng.choice([0, 1, 1, 2, 2, 2, 2, 3]) if i < size - 1 else 0
        ways = ways or (1 if i < 2 and size > 2 else 0)
        shapes[name] = [
            rng.choice(names[1:]) if rng.random() < wild else names[min(size - 1, i + rng.choice([1, 1, 2, 3]))] for _ in range(ways)
        ]
    above = dominators(shapes, names[0])
    params = {
        n: tuple(Value(f"p{n}_{k}", rng.choice([INT, TENSOR])) for k in range(rng.choice([0, 0, 1, 2, 3]) if n != names[0] else 0))
        for n in names
    }
    own: dict[str, list[Value]] = {}
    results: dict[str, tuple[Value, ...]] = {}
    predicates: dict[str, Value] = {}
    idle = {n for n in names if bare and len(shapes[n]) < 2 and rng.random() < bare}
    for n in names:
        if n in idle:
            results[n], own[n] = (), [*params[n]]
            continue
        results[n] = tuple(Value(f"r{n}_{k}", rng.choice([INT, TENSOR])) for k in range(rng.choice([0, 1, 1, 2]))) + (
            Value(f"q{n}", BOOL),
            Value(f"k{n}", INT),
        )
        predicates[n] = results[n][-2]
        own[n] = [*params[n], *results[n]]
    outside = [Value("x", TENSOR), Value("n", INT), Value("s", INT)]

    def known(name: str, before: bool = False) -> list[Value]:
        found = outside + [v for d in sorted(above.get(name, {name}) - {name}) for v in own[d]]
        return found + list(params[name]) + ([] if before else [v for v in own[name] if v not in params[name]])

    def pick(name: str, type: Any) -> Operand:
        choices = [v for v in known(name) if v.type == type]
        if type == INT and rng.random() < 0.3 or not choices:
            return lit(rng.randrange(5))
        return Ref(rng.choice(choices).name)

    blocks = []
    for n in names:
        inputs = () if n in idle else tuple(v.name for v in rng.sample(known(n, True), min(len(known(n, True)), rng.randrange(4))))
        host = []
        for k in range(0 if n in idle else rng.randrange(4)):
            op = rng.choice(["add", "sub", "mul", "neg", "max", "lt", "eq", "select"])
            args = {"select": (Ref(predicates[n].name), pick(n, INT), pick(n, INT))}.get(op) or tuple(
                pick(n, INT) for _ in range(op not in ("neg",) and 2 or 1)
            )
            made = Value(f"h{n}_{k}", BOOL if op in ("lt", "eq") else INT)
            host.append(HostOp(made, op, args))
            own[n].append(made)

        def edge(target: str, n: str = n) -> Edge:
            return Edge(target, tuple(pick(n, p.type) for p in params[target]))

        def tree(depth: int = 0, n: str = n) -> Tree:
            kind = rng.randrange(5 if depth < 2 else 2)
            if kind < 2:
                return Leaf(pick(n, rng.choice([INT, TENSOR])))
            items = tuple(tree(depth + 1) for _ in range(rng.randrange(3)))
            return [ListTree(items), TupleTree(items), DictTree(tuple(lit(f"k{i}") for i in range(len(items))), items)][kind - 2]

        asks = Decision(f"ask {n}", Span("model.py", 7), pick(n, INT), pick(n, INT))
        targets, writes = shapes[n], (Write("s", Leaf(pick(n, INT))),) * rng.randrange(2)
        bools = [v.name for v in known(n) if v.type == BOOL]
        match len(targets):
            case 0 if rng.random() < 0.2:
                exit: Any = Raise("builtins:ValueError", (tree(),), writes)
            case 0:
                exit = Return(tree(), writes)
            case 1:
                exit = Jump(edge(targets[0]))
            case 2:
                exit = Branch(Ref(rng.choice(bools)), edge(targets[0]), edge(targets[1]), asks)
            case _:
                default = edge(targets[2]) if rng.random() < 0.7 else None
                exit = Switch(
                    Ref(f"k{n}"),
                    ((0, edge(targets[0])), (1, edge(targets[1]))) + (((2, edge(targets[2])),) if not default else ()),
                    asks,
                    default,
                )
        blocks.append(FlowBlock(n, params[n], inputs, results[n], tuple(host), exit))
    signature = Signature(
        ("x", "n"), TupleTree((Leaf(Ref("x")), Leaf(Ref("n")))), DictTree((), ()), tuple(Input(v, v.name) for v in outside[:2])
    )
    return Flow(f"random {seed}", signature, tuple(blocks), (Slot("s", outside[2], Leaf(lit(0))),))


class Kernels:
    """One kernel for each block: results are a hash of block, inputs and step; keeps a log, and runs out of fuel."""

    def __init__(self, flow: Flow, seed: int, fuel: int = 300) -> None:
        self.log: list[Any] = []
        self.fuel, self.seed = fuel, seed
        self.calls: dict[str, Callable[..., tuple[Any, ...]]] = {b.name: self.make(b) for b in flow.blocks}

    def make(self, block: FlowBlock) -> Callable[..., tuple[Any, ...]]:
        def call(*inputs: Any) -> tuple[Any, ...]:
            if not has_kernel(block):
                return ()
            self.log.append((block.name, inputs))
            if len(self.log) > self.fuel:
                raise OutOfFuel
            rng = random.Random(f"{self.seed} {block.name} {inputs} {len(self.log)}")
            return tuple(
                rng.random() < 0.5 if r.type == BOOL else rng.randrange(4) if r.name.startswith("k") else rng.randrange(1000)
                for r in block.results
            )

        return call


def value_of(tree: Tree, read: Callable[[Operand], Any], give: Callable[[Any, Operand], Any]) -> Any:
    match tree:
        case Leaf():
            return give(read(tree.operand), tree.operand)
        case ListTree():
            return [value_of(t, read, give) for t in tree.items]
        case TupleTree():
            return tuple(value_of(t, read, give) for t in tree.items)
        case DictTree():
            return {k.python: value_of(t, read, give) for k, t in zip(tree.keys, tree.items, strict=False)}
    raise AssertionError(tree)


def walk(flow: Flow, kernels: Kernels, args: list[Any], state: dict[str, Any]) -> tuple[Any, list[str], list[Any]]:
    """What a flow means: (result or exception, path, decisions)."""
    values = dict(zip([i.value.name for i in flow.signature.inputs], args, strict=False))
    values |= {s.value.name: state[s.name] for s in flow.slots}
    types = {v.name: v.type for b in flow.blocks for v in (*b.params, *b.results)} | {
        i.value.name: i.value.type for i in flow.signature.inputs
    }
    blocks = {b.name: b for b in flow.blocks}
    block, path, decisions = flow.blocks[0], [], []

    def read(operand: Operand | None) -> Any:
        if operand is None:
            return None
        return values[operand.name] if isinstance(operand, Ref) else operand.python

    def give(value: Any, operand: Operand) -> Any:
        return ("given", value) if isinstance(operand, Ref) and types.get(operand.name) == TENSOR else value

    while True:
        if len(path) == 20_000:
            raise Endless
        path.append(block.name)
        made = kernels.calls[block.name](*(values[n] for n in block.inputs))
        values.update(zip([r.name for r in block.results], made, strict=True))
        for op in block.host:
            values[op.result.name] = SCALAR_OPS[op.op].function(*map(read, op.args))
        exit = block.exit
        match exit:
            case Branch():
                value = read(exit.predicate)
                decisions.append((block.name, value, read(exit.decision.left), read(exit.decision.right)))
                edge = exit.then if value else exit.orelse
            case Switch():
                value = read(exit.index)
                decisions.append((block.name, value, read(exit.decision.left), read(exit.decision.right)))
                edge = dict(exit.cases).get(value, exit.default)
                if edge is None:
                    return ("IndexError",), path, decisions
            case Jump():
                (edge,) = edges(exit)
            case _:
                for write in exit.writes:
                    state[write.slot] = value_of(write.tree, read, lambda v, o: v)
                if isinstance(exit, Return):
                    return value_of(exit.tree, read, give), path, decisions
                return ("raised", exit.cls, [value_of(t, read, give) for t in exit.args]), path, decisions
        target = blocks[edge.target]
        values.update(zip([p.name for p in target.params], [read(a) for a in edge.args], strict=True))
        block = target
