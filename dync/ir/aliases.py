"""Which values of a Program may share memory: views cross blocks, params are what their edges bring, slots what calls left in them."""

from __future__ import annotations

from collections.abc import Mapping

from torch.fx import Node

from dync.ir.effects import roots
from dync.ir.flow import Raise, Return, edges, leaves
from dync.ir.program import Block, Program
from dync.ir.types import Operand, Ref

Memory = frozenset[str]


def memory(program: Program) -> dict[str, Memory]:
    """For each value, names of the memory that it may be: an input or slot by name, "@weight", or "block.node" where it is new.

    Values whose sets are disjoint share nothing, as long as the caller's inputs share nothing. On the safe side otherwise.
    """
    found: dict[str, Memory] = {
        v: frozenset((v,))
        for v in (
            *(i.value.name for i in program.signature.inputs),
            *(p.value.name for p in program.signature.params),
            *(s.value.name for s in program.slots),
        )
    }
    made = {b.name: roots(b.graph) for b in program.blocks}
    before: dict[str, Memory] | None = None
    while found != before:
        before = dict(found)
        for block in program.blocks:
            _results(block, made[block.name], found)
            _onward(program, block, found)
        for slot in program.slots:
            first = frozenset(f"@{o.name}" for o in leaves(slot.initial) if isinstance(o, Ref))
            found[slot.value.name] |= first.union(*(_of(found, o) for o in _left_in(program, slot.name)))
    return found


def _results(block: Block, made: Mapping[Node, frozenset[Node]], found: dict[str, Memory]) -> None:
    inputs = block.names
    for result, node in zip(block.flow.results, block.outputs):
        found[result.name] = frozenset().union(
            *(
                _of(found, Ref(inputs[r])) if r in inputs else (f"@{r.target}",) if r.op == "get_attr" else (f"{block.name}.{r.name}",)
                for r in made.get(node, ())
            )
        )  # type: ignore[call-overload]


def _onward(program: Program, block: Block, found: dict[str, Memory]) -> None:
    for edge in edges(block.flow.exit):
        for param, arg in zip(program.block(edge.target).flow.params, edge.args, strict=True):
            found[param.name] = found.get(param.name, frozenset()) | _of(found, arg)


def _of(found: Mapping[str, Memory], operand: Operand) -> Memory:
    return found.get(operand.name, frozenset()) if isinstance(operand, Ref) else frozenset()


def _left_in(program: Program, slot: str) -> list[Operand]:
    exits = [b.flow.exit for b in program.blocks if isinstance(b.flow.exit, (Return, Raise))]
    return [o for e in exits for w in e.writes if w.slot == slot for o in leaves(w.tree)]


def written_memory(program: Program, found: Mapping[str, Memory] | None = None) -> Memory:
    """Names of the memory that some block writes, itself or through a view made elsewhere."""
    if not any(b.flow.mutates for b in program.blocks):
        return frozenset()
    found = memory(program) if found is None else found
    return frozenset().union(*(found.get(m, frozenset((f"@{m}",))) for b in program.blocks for m in b.flow.mutates))


def written_weights(program: Program) -> tuple[str, ...]:
    """Names of the weights that some block writes, itself or through a view made elsewhere."""
    written = written_memory(program)
    return tuple(n for n in program.weights if f"@{n}" in written)


def keeps_aliases(program: Program) -> frozenset[str]:
    """Names of the blocks whose results must stay views: another block writes memory that one of them shares with something else.

    Code for such a block must give views where its graph does, as eager does; copies would not show the write.
    """
    found = memory(program)
    written = written_memory(program, found)
    kept = set()
    for block in program.blocks if written else ():
        results = [found[r.name] & written for r in block.flow.results]
        own = [t for r in results for t in r if t.startswith(f"{block.name}.")]
        if len(own) != len(set(own)) or len(own) < sum(map(len, results)):
            kept.add(block.name)
    return frozenset(kept)


def overlaps(block: Block, found: Mapping[str, Memory]) -> tuple[tuple[str, str], ...]:
    """Pairs of a value or weight that `block` writes and another that it reads which may be the same memory.

    Where there is one, the block's graph must run in place as it is: a functional rewrite takes its inputs for separate.
    """
    own = {n: found.get(n, frozenset()) for n in block.flow.inputs} | {n: frozenset((f"@{n}",)) for n in block.weights}
    return tuple((a, b) for a in block.flow.mutates for b in own if b != a and own[a] & own[b])
