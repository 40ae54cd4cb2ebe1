"""The legality of a Program: one small function per invariant, in one table."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dync.ir import invariants_flow as flow
from dync.ir import invariants_graph as graph
from dync.ir.program import Program
from dync.ir.scope import Scope

Invariant = Callable[[Scope], Iterator[str]]

STRUCTURE: tuple[Invariant, ...] = (flow.names_are_unique_identifiers, flow.edges_lead_to_blocks)
"""What the other invariants rely on: where one of these is broken, the others are not asked."""

INVARIANTS: tuple[Invariant, ...] = (
    flow.every_block_is_reached,
    flow.uses_are_dominated,
    flow.edges_fit_params,
    flow.predicates_are_scalars,
    flow.host_operations_are_known,
    flow.writes_name_slots,
    flow.leaves_of_the_call_are_inputs,
    flow.symbols_are_bound,
    graph.graphs_are_branch_free_aten,
    graph.placeholders_are_inputs,
    graph.outputs_are_results,
    graph.nodes_say_where_and_what,
    graph.weights_are_those_read,
    graph.tied_weights_are_stored_once,
    graph.mutates_is_what_is_written,
)


class InvariantError(AssertionError):
    """A Program is not legal: a bug of dync's own. `breaches` holds (invariant's name, what is wrong) pairs."""

    def __init__(self, program: str, breaches: tuple[tuple[str, str], ...]) -> None:
        self.breaches = breaches
        super().__init__("\n".join([f"{program}: {len(breaches)} broken invariants", *(f"  {name}: {text}" for name, text in breaches)]))


def breaches(program: Program) -> tuple[tuple[str, str], ...]:
    """Every breach of an invariant, as (invariant's name, what is wrong)."""
    scope = Scope(program)
    found = _ask(STRUCTURE, scope)
    return found or _ask(INVARIANTS, scope)


def verify(program: Program) -> None:
    """Raises InvariantError with all breaches, unless the program is legal."""
    found = breaches(program)
    if found:
        raise InvariantError(program.name, found)


def _ask(invariants: tuple[Invariant, ...], scope: Scope) -> tuple[tuple[str, str], ...]:
    return tuple((i.__name__, text) for i in invariants for text in i(scope))
