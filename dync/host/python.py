"""The Python host: a flow as readable Python with the fewest operations a call.

    block       →  results = kernel(inputs); host operations, folded into the expressions that use them
    branch      →  if / else; a side that leaves is followed by the other side at the same level, so that exits do not nest
    join        →  the code behind its branch; where a path passes over another join, a flag `skip_…` says so
    loop        →  while True, left by break; a jump out of several loops sets `to_…` and breaks again outside
    irreducible →  the joins of that region under `while True` with a `pc`
    too deep    →  the whole flow under one `pc`, picked by bisection: right for every graph

Python's own limits are kept: 100 levels of indentation, 20 nested loops, no recursion in proportion to the network's depth.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from dync.host.base import HostModule, check, decides, has_kernel
from dync.host.expressions import Expression, apply, literal, negated, variable
from dync.host.names import Names, assign, identifier
from dync.host.shape import Shape, shape
from dync.ir.flow import (
    Branch,
    Decision,
    DictTree,
    Edge,
    Flow,
    FlowBlock,
    Jump,
    Leaf,
    ListTree,
    Raise,
    RecordTree,
    Return,
    Switch,
    Tree,
    TupleTree,
    edges,
    exit_operands,
    leaves,
)
from dync.ir.scalars import EFFECTS
from dync.ir.types import UNKNOWN, Lit, Operand, Ref, Span, TensorType

MAX_DEPTH, MAX_LOOPS, MAX_TREE, MAX_EXPRESSION, FEW_CASES, SHALLOW = 30, 15, 30, 100, 8, 8
HARMLESS = frozenset({"lt", "le", "gt", "ge", "eq", "ne", "and_", "or_", "xor", "not_", "neg", "pos", "bool", "abs"})
"""Operations on numbers that cannot fail: left out where nothing reads their result."""


class TooDeep(Exception):
    """The structured form would pass Python's limits; the caller takes the dispatching form."""


def generate(flow: Flow, trace: bool = False, kernels: Collection[str] | None = None, quiet: Collection[str] = ()) -> HostModule:
    """The host module of `flow`; with `trace` its `run` also reports blocks and decisions.

    kernels: the blocks that have a kernel to call; by default those that read, give or write anything. quiet: blocks that are not
    reported; where one has a kernel, that is a region, which is given `note` first and reports what it did by itself.

    Raises ValueError, one line, on a flow that no host can walk (see `check`).
    """
    check(flow)
    form = shape(flow)
    names = assign(flow, form)
    called = frozenset(b.name for b in flow.blocks if has_kernel(b)) if kernels is None else frozenset(kernels)
    try:
        return _Writer(flow, form, names, trace, called, frozenset(quiet)).structured()
    except TooDeep:
        return _Writer(flow, form, names, trace, called, frozenset(quiet)).dispatched()


@dataclass(slots=True)
class Line:
    """One line to be; text None is a place that may be filled later."""

    depth: int
    text: str | None
    span: Span = UNKNOWN


@dataclass(slots=True)
class Frame:
    """What surrounds the point of writing, innermost first along `below`.

    follow: code that comes next when control falls out. loop, once: a `while True` around; `once` falls out to its target.
    targets: the blocks reached here, with their numbers where `pc` picks among them.
    """

    kind: str
    targets: dict[str, int]
    below: Frame | None
    pc: str | None = None
    place: Line | None = None
    skip: str | None = None
    exits: list[str] = field(default_factory=list)
    broken: bool = False
    loops: int = 0


@dataclass
class _Writer:
    flow: Flow
    shape: Shape
    names: Names
    trace: bool
    called: frozenset[str]
    quiet: frozenset[str]
    lines: list[Line] = field(default_factory=list)
    pending: dict[str, Expression] = field(default_factory=dict)
    kernels: dict[str, str] = field(default_factory=dict)
    builders: dict[str, Tree] = field(default_factory=dict)
    raises: dict[str, Raise] = field(default_factory=dict)
    decisions: list[tuple[str, Decision]] = field(default_factory=list)
    heads: Frame | None = None
    begun: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.blocks = {b.name: b for b in self.flow.blocks}
        self.taken = set(self.names.taken)
        for name in self.shape.order:
            if name in self.called:
                self.kernels[name] = identifier(name, self.taken)
        self.uses: dict[str, int] = {}
        for name in self.shape.order:
            sides = exit_operands(self.blocks[name].exit) if self.trace else ()
            for operand in (*_read(self.blocks[name]), *sides):
                if isinstance(found := self.names.resolve(operand), Ref):
                    self.uses[found.name] = self.uses.get(found.name, 0) + 1

    # the two forms

    def structured(self) -> HostModule:
        self.slots()
        self.sequence(self.shape.order[0], None, 1)
        return self.module()

    def dispatched(self) -> HostModule:
        self.heads = Frame("loop", {self.shape.order[0]: 0}, None, "pc")
        bodies: list[list[Line]] = []
        while len(bodies) < len(self.heads.targets):
            head = list(self.heads.targets)[len(bodies)]
            bodies.append(self.apart(partial(self.sequence, head, self.heads, 0))[0])
        self.slots()
        self.put(1, "pc = 0")
        self.put(1, "while True:")
        self.bisect("pc", bodies, 2)
        return self.module()

    def slots(self) -> None:
        for slot in self.flow.slots:
            name = self.names.local(slot.value.name)
            if name in self.uses:
                self.put(1, f"{name} = state[{slot.name!r}]")

    def module(self) -> HostModule:
        signature = self.flow.signature
        inputs = [self.names.local(v.name) for v in (*(i.value for i in signature.inputs), *(p.value for p in signature.params))]
        arguments = (*inputs, *(["state"] if self.flow.slots else []), "give", *(["enter", "decide"] if self.trace else []),
                     *(["note"] if self.trace and self.quiet else []))
        head = [f"# The control flow of {_comment(self.flow.name)} as Python, made by dync{', tracing' if self.trace else ''}.",
                f"# Kernels, bound when it is loaded: {', '.join(self.kernels.values()) or 'none'}.", "", "",
                f"def run({', '.join(arguments)}):"]
        made = [line for line in self.lines if line.text is not None] or [Line(1, "pass")]
        text = head + ["    " * line.depth + str(line.text) for line in made]
        spans = {len(head) + i: line.span for i, line in enumerate(made, 1) if line.span.line}
        return HostModule("\n".join(text) + "\n", spans, arguments, self.kernels, self.builders, self.raises, tuple(self.decisions))

    # lines

    def put(self, depth: int, text: str | None, span: Span = UNKNOWN) -> Line:
        if depth > MAX_DEPTH and self.heads is None:
            raise TooDeep
        self.lines.append(Line(depth, text, span))
        return self.lines[-1]

    def apart(self, write: Callable[[], bool]) -> tuple[list[Line], bool]:
        """What `write` writes, on lines of its own, and what it returns."""
        outer, self.lines = self.lines, []
        falls = write()
        inner, self.lines = [line for line in self.lines if line.text is not None], outer
        return inner, falls

    # structure

    def sequence(self, name: str, frames: Frame | None, depth: int, inner: list[str] | None = None, within: bool = False) -> bool:
        """Writes block `name` and all that stands behind it at this level; whether control may fall out of the end.

        inner: the joins behind it that are still to be written, when not all. within: its loop is already open.
        """
        opened: list[Frame] = []
        current: str | None = name
        falls = True
        while True:
            if current is not None:
                if current in self.shape.headers and not within and self.heads is None:
                    frames = self.follow(self.shape.outer.get(current, []), frames, depth, opened)
                    falls, current = self.loop(current, frames, depth), None
                else:
                    members = [] if self.heads else self.shape.inner.get(current, []) if inner is None else inner
                    chain = max((i for i, m in enumerate(members) if m in self.shape.chained), default=-1)
                    tangled = any(m in self.shape.tangled for m in members)
                    if chain >= 0 and not tangled:
                        frames = self.follow(members[chain:], frames, depth, opened)
                        falls, current = self.once(current, members[:chain], frames, depth), None
                    else:
                        frames = self.follow(members, frames, depth, opened)
                        falls, current = self.code(self.blocks[current], frames, depth)
                inner, within = None, False
                continue
            if not opened:
                return falls
            frame = opened.pop()
            frames = frame.below
            if frame.skip:
                lines, _ = self.apart(partial(self.behind, frame, frames, depth + 1))
                if lines:
                    self.put(depth, f"if not {frame.skip}:")
                    self.lines += lines
                falls = True
            elif frame.pc:
                falls = self.dispatch(frame, frames, depth)
            else:
                current = next(iter(frame.targets))

    def follow(self, members: list[str], frames: Frame | None, depth: int, opened: list[Frame]) -> Frame | None:
        """Opens the places of `members`, which are written in this order behind what comes first."""
        if any(m in self.shape.tangled for m in members):
            groups = [({m: i for i, m in enumerate(members)}, identifier("pc", self.taken))]
        else:
            groups = [({m: 0}, None) for m in reversed(members)]
        for targets, pc in groups:
            frames = Frame("follow", targets, frames, pc, self.put(depth, None), loops=frames.loops if frames else 0)
            opened.append(frames)
        return frames

    def behind(self, frame: Frame, frames: Frame | None, depth: int) -> bool:
        if frame.pc:
            return self.dispatch(frame, frames, depth)
        return self.sequence(next(iter(frame.targets)), frames, depth)

    def loop(self, header: str, frames: Frame | None, depth: int) -> bool:
        self.begun.add(header)
        frame, place = self.around("loop", {header: 0}, frames, depth)
        self.sequence(header, frame, depth + 1, within=True)
        return self.leave(frame, place, depth)

    def once(self, name: str, inner: list[str], frames: Frame | None, depth: int) -> bool:
        assert frames is not None
        frame, place = self.around("once", frames.targets, frames, depth)
        if self.sequence(name, frame, depth + 1, inner, within=True):
            self.put(depth + 1, "break")
        self.leave(frame, place, depth)
        return True

    def dispatch(self, follow: Frame, frames: Frame | None, depth: int) -> bool:
        frame, place = self.around("loop", follow.targets, frames, depth, follow.pc)
        bodies = [self.apart(partial(self.sequence, head, frame, 0))[0] for head in follow.targets]
        self.bisect(str(follow.pc), bodies, depth + 1)
        return self.leave(frame, place, depth)

    def around(self, kind: str, targets: dict[str, int], frames: Frame | None, depth: int, pc: str | None = None) -> tuple[Frame, Line]:
        """Opens a `while True`; the line before it is kept for the flags of jumps that leave several at once."""
        frame = Frame(kind, targets, frames, pc, loops=1 + (frames.loops if frames else 0))
        if frame.loops > MAX_LOOPS:
            raise TooDeep
        place = self.put(depth, None)
        self.put(depth, "while True:", self.blocks[next(iter(targets))].span if kind == "loop" else UNKNOWN)
        return frame, place

    def leave(self, frame: Frame, place: Line, depth: int) -> bool:
        """Behind a loop: jumps that go on from here. Whether control falls further."""
        falls = frame.broken
        if frame.exits:
            place.text = " = ".join(f"to_{self.flag(t)}" for t in frame.exits) + " = False"
        for target in frame.exits:
            self.put(depth, f"if to_{self.flag(target)}:")
            falls |= self.jump(target, frame.below, depth + 1)
        return falls

    def flag(self, target: str) -> str:
        return target if target.isascii() and target.isidentifier() else f"n{self.shape.order.index(target)}"

    def bisect(self, pc: str, bodies: list[list[Line]], depth: int, first: int = 0) -> None:
        """The bodies under comparisons of `pc`, in a tree of logarithmic depth."""
        if len(bodies) == 1:
            for line in bodies[0] or [Line(0, "pass")]:
                self.put(line.depth + depth, line.text, line.span)
            return
        half = len(bodies) // 2
        last = first + half - 1
        self.put(depth, f"if {pc} == {first}:" if half == 1 else f"if {pc} <= {last}:")
        self.bisect(pc, bodies[:half], depth + 1, first)
        self.put(depth, "else:")
        self.bisect(pc, bodies[half:], depth + 1, first + half)

    def jump(self, target: str, frames: Frame | None, depth: int) -> bool:
        """Goes to a block that is written elsewhere; whether that is by falling out of the end."""
        if self.heads is not None:
            number = self.heads.targets.setdefault(target, len(self.heads.targets))
            self.put(depth, f"pc = {number}")
            return True
        crossed: list[Frame] = []
        frame = frames
        while frame is not None and target not in frame.targets and frame.kind == "follow":
            crossed.append(frame)
            frame = frame.below
        assert frame is not None, f"no way to {target}"
        if target not in frame.targets:
            return self.break_out(target, frame, depth)
        if frame.pc:
            self.put(depth, f"{frame.pc} = {frame.targets[target]}")
        if frame.kind == "follow":
            for one in crossed:
                self.pass_over(one, depth)
            return True
        if crossed:
            self.put(depth, "continue" if frame.kind == "loop" else "break")
        return not crossed

    def pass_over(self, frame: Frame, depth: int) -> None:
        if frame.skip is None:
            frame.skip = identifier(f"skip_{self.flag(next(iter(frame.targets)))}", self.taken)
            assert frame.place is not None
            frame.place.text = f"{frame.skip} = False"
        self.put(depth, f"{frame.skip} = True")

    def break_out(self, target: str, frame: Frame, depth: int) -> bool:
        below = frame.below
        if below is not None and target in below.targets:
            frame.broken = True
            if below.pc:
                self.put(depth, f"{below.pc} = {below.targets[target]}")
        else:
            if target not in frame.exits:
                frame.exits.append(target)
            self.put(depth, f"to_{self.flag(target)} = True")
        self.put(depth, "break")
        return False

    # one block

    def code(self, block: FlowBlock, frames: Frame | None, depth: int) -> tuple[bool, str | None]:
        """Writes one block; then either whether control falls, or the block to go on with at this level."""
        if self.trace and block.name not in self.quiet:
            self.put(depth, f"enter({block.name!r})", block.span)
        ends, called = isinstance(block.exit, (Return, Raise)), block.name in self.kernels
        if called or not ends:
            self.free(self.names.free_at_start[block.name], depth)
        if called:
            first = ["note"] if self.trace and block.name in self.quiet else []
            call = f"{self.kernels[block.name]}({', '.join([*first, *(self.text(Ref(n)) for n in block.inputs)])})"
            results = [self.names.local(r.name) for r in block.results]
            self.put(depth, f"{', '.join(results)}{',' if len(results) == 1 else ''} = {call}" if results else call, block.span)
        if not ends:
            self.free(self.names.free_after_kernel[block.name], depth)
        self.host(block, depth)
        match block.exit:
            case Jump(edge):
                falls = self.edge(edge, frames, depth)
            case Branch():
                falls = self.branch(block, block.exit, frames, depth)
            case Switch():
                falls = self.switch(block, block.exit, frames, depth), None
            case _:
                falls = self.end(block, block.exit, depth), None
        return falls

    def free(self, variables: tuple[str, ...], depth: int) -> None:
        if variables:
            self.put(depth, f"del {', '.join(variables)}")

    def host(self, block: FlowBlock, depth: int) -> None:
        """Host operations; one that is read once, further down in this block, waits in `pending` to be folded into its reader."""
        foldable = set() if self.trace else self.read_once(block)
        for op in block.host:
            into = self.names.local(op.result.name)
            if not self.trace and into not in self.uses and op.op in HARMLESS:
                continue
            made = apply(op.op, tuple(self.take(a) for a in op.args))
            if op.result.name in foldable and len(made.text) <= MAX_EXPRESSION:
                self.pending[into] = made
                continue
            for waiting in [n for n, e in self.pending.items() if into in e.reads]:
                self.put(depth, f"{waiting} = {self.pending.pop(waiting).text}", op.span)
            self.put(depth, f"{into} = {made.text}", op.span)

    def read_once(self, block: FlowBlock) -> set[str]:
        """Host results whose one reader is in this block and evaluates its operands once, always."""
        match block.exit:
            case Jump(edge):
                last = [a for _, a in self.names.moves(self.blocks[edge.target], edge.args)]
            case Branch():
                last = [block.exit.predicate]
            case Switch():
                last = [block.exit.index]
            case _:
                last = [o for o in _read_exit(block)]
        operands = [*(a for op in block.host for a in (op.args if op.op != "select" else op.args[:1])), *last]
        here = [o.name for o in map(self.names.resolve, operands) if isinstance(o, Ref)]
        return {op.result.name for op in block.host if op.op not in EFFECTS
                and (local := self.names.local(op.result.name)) and here.count(local) == 1 and self.uses.get(local) == 1}

    def take(self, operand: Operand) -> Expression:
        found = self.names.resolve(operand)
        if isinstance(found, Lit):
            return literal(found)
        return self.pending.pop(found.name, None) or variable(found.name)

    def text(self, operand: Operand) -> str:
        return self.take(operand).text

    def edge(self, edge: Edge, frames: Frame | None, depth: int) -> tuple[bool, str | None]:
        self.moves(edge, depth)
        if self.stands_here(edge.target, depth):
            return True, edge.target
        return self.jump(edge.target, frames, depth), None

    def stands_here(self, target: str, depth: int) -> bool:
        """Whether a block's code is written at its one way in."""
        if self.heads is None:
            return target in self.shape.inline and target not in self.begun
        return len(self.shape.arrivals[target]) == 1 and depth < SHALLOW and target not in self.heads.targets

    def moves(self, edge: Edge, depth: int) -> None:
        """Binds the target's parameters, all at once where one assignment would disturb another."""
        pairs = [(into, self.take(arg)) for into, arg in self.names.moves(self.blocks[edge.target], edge.args)]
        if any(into in later.reads for i, (into, _) in enumerate(pairs) for _, later in pairs[i + 1:]):
            self.put(depth, f"{', '.join(n for n, _ in pairs)} = {', '.join(e.text for _, e in pairs)}")
        else:
            for into, value in pairs:
                self.put(depth, f"{into} = {value.text}")

    def decide(self, block: FlowBlock, value: str, depth: int) -> None:
        decision = decides(block)
        if self.trace and decision is not None and block.name not in self.quiet:
            sides = [self.text(o) if o is not None else "None" for o in (decision.left, decision.right)]
            self.put(depth, f"decide({len(self.decisions)}, {value}, {sides[0]}, {sides[1]})", decision.span)
            self.decisions.append((block.name, decision))

    def weight(self, edge: Edge) -> int:
        return self.shape.size[edge.target] if edge.target in self.shape.inline else 0

    def side(self, edge: Edge, frames: Frame | None, depth: int) -> bool:
        falls, target = self.edge(edge, frames, depth)
        return falls if target is None else self.sequence(target, frames, depth)

    def branch(self, block: FlowBlock, exit: Branch, frames: Frame | None, depth: int) -> tuple[bool, str | None]:
        """The lighter side first, apart; where it leaves, the heavier one goes on at this level."""
        asks = self.take(exit.predicate)
        self.decide(block, asks.text, depth)
        note = _note(exit.decision)
        flipped = self.weight(exit.orelse) < self.weight(exit.then)
        light, heavy = (exit.orelse, exit.then) if flipped else (exit.then, exit.orelse)
        first, falls = self.apart(lambda: self.side(light, frames, depth + 1))
        if falls and frames is not None and frames.kind != "follow" and (self.weight(heavy) > 1 or self.heads):
            first.append(Line(depth + 1, "continue" if frames.kind == "loop" else "break"))
            falls = False
        condition = negated(asks) if flipped else asks.text
        if not falls:
            self.put(depth, f"if {condition}:{note}", exit.decision.span)
            self.lines += first
            return self.edge(heavy, frames, depth)
        second, _ = self.apart(lambda: self.side(heavy, frames, depth + 1))
        then, orelse = (second, first) if flipped else (first, second)
        if not then and not orelse:
            return True, None
        self.put(depth, f"if {asks.text if then else negated(asks)}:{note}", exit.decision.span)
        self.lines += then or orelse
        if then and orelse:
            self.put(depth, "else:")
            self.lines += orelse
        return True, None

    def switch(self, block: FlowBlock, exit: Switch, frames: Frame | None, depth: int) -> bool:
        index = self.take(exit.index)
        if not index.text.isidentifier():
            name = identifier("index", self.taken)
            self.put(depth, f"{name} = {index.text}")
            index = variable(name)
        self.decide(block, index.text, depth)
        many, falls = len(exit.cases) > FEW_CASES, False
        inside = depth + 2 if many else depth + 1
        if many:
            self.put(depth, f"match {index.text}:{_note(exit.decision)}", exit.decision.span)
        for i, (case, edge) in enumerate(exit.cases):
            ask = f"case {case}:" if many else f"{'if' if i == 0 else 'elif'} {index.text} == {case}:" + _note(exit.decision) * (i == 0)
            self.put(inside - 1, ask, exit.decision.span)
            falls |= self.arm(edge, frames, inside)
        if exit.cases:
            self.put(inside - 1, "case _:" if many else "else:")
        if exit.default is None:
            self.put(inside, f'raise IndexError(f"index {{{index.text}}} is out of range")', exit.decision.span)
        else:
            falls |= self.arm(exit.default, frames, inside)
        return falls

    def arm(self, edge: Edge, frames: Frame | None, depth: int) -> bool:
        lines, falls = self.apart(lambda: self.side(edge, frames, depth))
        self.lines += lines or [Line(depth, "pass")]
        return falls

    # ends

    def end(self, block: FlowBlock, exit: Return | Raise, depth: int) -> bool:
        for write in exit.writes:
            self.put(depth, f"state[{write.slot!r}] = {self.tree(write.tree, given=False)}", exit.span)
        if isinstance(exit, Return):
            self.put(depth, f"return {self.tree(exit.tree)}", exit.span)
        else:
            name = identifier(f"{exit.cls.rpartition(':')[2].rpartition('.')[2]}_{block.name}", self.taken)
            self.raises[name] = exit
            self.put(depth, f"raise {name}({', '.join(self.tree(t) for t in exit.args)})", exit.span)
        return False

    def tree(self, tree: Tree, given: bool = True, level: int = 0) -> str:
        """A structure as an expression; `given`: its tensors go out to the caller."""
        if isinstance(tree, Leaf):
            return self.leaf(tree.operand, given)
        plain = level < MAX_TREE and (not isinstance(tree, DictTree) or tree.kind == "dict" and all(isinstance(k, Lit) for k in tree.keys))
        if plain and isinstance(tree, (ListTree, TupleTree, DictTree)):
            items = [self.tree(t, given, level + 1) for t in tree.items]
            if isinstance(tree, DictTree):
                keys = [literal(k).text for k in tree.keys if isinstance(k, Lit)]
                return "{" + ", ".join(f"{k}: {v}" for k, v in zip(keys, items, strict=True)) + "}"
            return f"[{', '.join(items)}]" if isinstance(tree, ListTree) else f"({', '.join(items)}{',' if len(items) == 1 else ''})"
        name = tree.cls.rpartition(":")[2].rpartition(".")[2] if isinstance(tree, RecordTree) else "build"
        name = identifier(name, self.taken)
        numbers = iter(range(len(leaves(tree))))
        self.builders[name] = _numbered(tree, lambda: Leaf(Ref(str(next(numbers)))))
        return f"{name}({', '.join(self.leaf(o, given) for o in leaves(tree))})"

    def leaf(self, operand: Operand, given: bool) -> str:
        tensor = given and isinstance(operand, Ref) and isinstance(self.names.types[operand.name], TensorType)
        return f"give({self.text(operand)})" if tensor else self.text(operand)


def _numbered(tree: Tree, leaf: Callable[[], Leaf]) -> Tree:
    import msgspec

    if isinstance(tree, Leaf):
        return leaf()
    if items := getattr(tree, "items", None):
        return msgspec.structs.replace(tree, items=tuple(_numbered(t, leaf) for t in items))
    return tree


def _read(block: FlowBlock) -> list[Operand]:
    """What a block reads when nothing is traced: a decision's sides are for traces only."""
    return [*(Ref(n) for n in block.inputs), *(a for op in block.host for a in op.args), *_read_exit(block)]


def _read_exit(block: FlowBlock) -> list[Operand]:
    own: list[Operand] = []
    match block.exit:
        case Branch():
            own = [block.exit.predicate]
        case Switch():
            own = [block.exit.index]
        case Return() | Raise():
            trees = (block.exit.tree,) if isinstance(block.exit, Return) else block.exit.args
            own = [o for t in (*trees, *(w.tree for w in block.exit.writes)) for o in leaves(t)]
    return own + [a for e in edges(block.exit) for a in e.args]


def _note(decision: Decision) -> str:
    """Where and what the user's source decides, as a comment."""
    where = f"{decision.span.file}:{decision.span.line}: " if decision.span.line else ""
    return f"  # {_comment(where + decision.text)}"


def _comment(text: str) -> str:
    """`text` on one line, fit to stand behind a #."""
    return "".join(c if c.isprintable() else " " for c in text)[:120]
