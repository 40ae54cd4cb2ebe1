"""A Program run along a chosen path, with gradients: how far each decision on it is from going the chosen way.

Every boolean gets a *robustness*, a real number that is positive where it is true and says by how much (the quantitative
meaning of signal temporal logic): a > b is a - b, and is min, or is max, not is minus, any is max, all is min. Numbers that
are read out of tensors keep the tensor that they came from. So the distance to the other outcome of a decision can be
followed by gradient descent back to the inputs, through blocks, joins and host code.

    A. Donzé, O. Maler: Robust satisfaction of temporal logic over real-valued signals, FORMATS 2010.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import torch
from torch.fx import Node
from torch.fx.node import map_arg

from dync.ir.clone import clone
from dync.ir.effects import is_random
from dync.ir.flow import Branch, Edge, Jump, Switch
from dync.ir.interpret import held_slots, initial_state
from dync.ir.program import Block, Program
from dync.ir.scalars import EFFECTS, SCALAR_OPS
from dync.ir.types import Operand, Ref, ScalarType
from dync.verify.paths import Path, label, ways
from dync.verify.picks import Agreements, Picks, agreement, chosen, joined, picked

SHARP = 8.0
"""Steepness of the sigmoid that stands for a boolean where booleans are counted."""
NO_STATE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Soft:
    """A value with its shadow. shadow: a tensor that carries the gradient; robustness where the value is bool.

    picks: the scores that an argmax chose among, for each number. ranks: the robustnesses of the booleans that it counts,
    or by which its rows were picked. varies: whether the value depends on the call. places: for whole numbers of an input,
    its name and where each stands.
    """

    value: Any
    shadow: torch.Tensor | None = None
    picks: Picks | None = None
    ranks: torch.Tensor | None = None
    varies: bool = False
    places: tuple[str, torch.Tensor] | None = None

    @property
    def soft(self) -> Any:
        """The number to compute with: the shadow where there is one."""
        return self.value if self.shadow is None else self.shadow


@dataclass(frozen=True)
class Lookup:
    """Rows of a table, picked by whole numbers of an input. places: [...], where those stand in it; rows: [..., d], autograd's leaf."""

    input: str
    places: torch.Tensor
    table: torch.Tensor
    rows: torch.Tensor


@dataclass(frozen=True)
class Watch:
    """What a forced run shows: rows that inputs pick out of tables, and by how much numbers that argmax picked agree."""

    lookups: list[Lookup] = field(default_factory=list)
    agreements: Agreements = field(default_factory=Agreements)


@dataclass(frozen=True)
class Step:
    """One decision on a forced run. wanted: the label asked for; met: whether the run would have gone there by itself.

    asked: the predicate or index; one object wherever the same value is asked for. distance: robustness of the wanted
    outcome, None where no gradient leads to it. left, right: the compared numbers.
    """

    block: str
    wanted: str
    met: bool
    asked: Soft
    distance: torch.Tensor | None
    left: Any = None
    right: Any = None


def force(
    program: Program,
    path: Path,
    values: Mapping[str, Any],
    handles: Mapping[str, torch.Tensor],
    watch: Watch | None = None,
    began: Mapping[str, Any] = NO_STATE,
) -> tuple[Step, ...]:
    """Runs `program` along `path`, whatever its decisions say.

    values: inputs and run parameters by value name; tensors that want a gradient require it. handles: 0-d tensors that stand
    for scalars among them. watch: gets what the run shows. With a common class, a decision that wants numbers of argmax to be
    equal is as far as they are from being both that class. began: the state before the call; what it lacks is the first state's.
    Raises what torch raises when a block cannot run on values that would not have come to it.
    """
    watch = watch or Watch()
    if watch.agreements.common is None:
        return _forced(program, path, values, handles, watch, began)
    near = _forced(program, path, values, handles, replace(watch, agreements=Agreements()), began)
    there = _forced(program, path, values, handles, watch, began) if any(s.distance is not None for s in near) else near
    return tuple(
        s if s.distance is None or o.distance is None else replace(s, distance=torch.minimum(s.distance, o.distance))
        for s, o in zip(near, there, strict=True)
    )  # agreeing on one class is never less far than agreeing on any; disagreeing on it says nothing of the others


def _forced(
    program: Program,
    path: Path,
    values: Mapping[str, Any],
    handles: Mapping[str, torch.Tensor],
    watch: Watch,
    began: Mapping[str, Any],
) -> tuple[Step, ...]:
    state = clone(dict(began))
    initial_state(program, state)
    weights = {**{n: w.detach() for n, w in program.weights.items()}, **{n: state[n] for n in program.written_weights}}
    env = {n: Soft(v, handles.get(n), varies=True, places=_places(n, v)) for n, v in values.items()}
    held = held_slots(program, state)
    env |= {s.value.name: Soft(held[s.name], varies=True) for s in program.slots}
    blocks = {b.name: b for b in program.blocks}
    steps: list[Step] = []
    for name, wanted in path:
        _run_block(blocks[name], env, weights, watch)
        edge = _leave(blocks[name], wanted, env, steps)
        if edge is not None:
            bound = [_operand(a, env) for a in edge.args]
            env |= {p.name: v for p, v in zip(blocks[edge.target].flow.params, bound, strict=True)}
    return tuple(steps)


def _operand(operand: Operand, env: Mapping[str, Soft]) -> Soft:
    return env[operand.name] if isinstance(operand, Ref) else Soft(operand.python)


def _leave(block: Block, wanted: str, env: Mapping[str, Soft], steps: list[Step]) -> Edge | None:
    exit = block.flow.exit
    match exit:
        case Jump():
            return exit.edge
        case Branch():
            asked = _operand(exit.predicate, env)
            truth = _robustness(asked)
            sides = [None if o is None else _operand(o, env).value for o in (exit.decision.left, exit.decision.right)]
            distance = truth if truth is None or wanted == "true" else -truth
            steps.append(Step(block.name, wanted, label(exit, bool(asked.value)) == wanted, asked, distance, *sides))
        case Switch():
            asked = _operand(exit.index, env)
            case_number = next((k for k, _ in exit.cases if f"case {k}" == wanted), None)
            distance = None if case_number is None else _compared("eq", asked, Soft(case_number))
            steps.append(Step(block.name, wanted, label(exit, int(asked.value)) == wanted, asked, distance, asked.value, case_number))
        case _:
            return None
    return dict(ways(exit))[wanted] if wanted else None


def _robustness(soft: Soft) -> torch.Tensor | None:
    return None if soft.shadow is None else soft.shadow.reshape(-1).min() if soft.shadow.numel() else None


def _places(name: str, value: Any) -> tuple[str, torch.Tensor] | None:
    whole = isinstance(value, torch.Tensor) and value.dtype in (torch.int64, torch.int32)
    return (name, torch.arange(value.numel()).reshape(value.shape)) if whole else None


def _run_block(block: Block, env: dict[str, Soft], weights: Mapping[str, torch.Tensor], watch: Watch) -> None:
    inputs, known = iter(block.flow.inputs), {}
    for node in block.graph.nodes:
        match node.op:
            case "placeholder":
                known[node] = env[next(inputs)]
            case "get_attr":
                known[node] = Soft(weights[str(node.target)])
            case "call_function":
                known[node] = _call(node, known, watch)
            case "output":
                env |= zip(
                    (r.name for r in block.flow.results), (known[n] if isinstance(n, Node) else Soft(n) for n in node.args[0]), strict=True
                )
    for op in block.flow.host:
        args = [_operand(a, env) for a in op.args]
        says = op.op in EFFECTS and not isinstance(op.result.type, ScalarType)
        value = None if says else SCALAR_OPS[op.op].function(*(a.value for a in args))
        ranks = args[0].ranks if op.op == "int" else None
        env[op.result.name] = Soft(value, _scalar_shadow(op.op, args), ranks=ranks, varies=op.op in EFFECTS or any(a.varies for a in args))


def _call(node: Node, known: Mapping[Node, Any], watch: Watch) -> Any:
    """One operation, on values and on shadows; a list of Softs where it has several results."""
    args: tuple[Any, ...] = tuple(node.args)
    if _op_name(node) in ("detach", "alias", "lift_fresh_copy") and node.args:
        return known[args[0]]
    if node.target is operator.getitem and isinstance(known[args[0]], list):
        return known[args[0]][args[1]]
    _refuse_crash(node, known)
    varies = is_random(node) or any(_varies(known[n]) for n in node.all_input_nodes)
    value = _function(node)(*map_arg(node.args, lambda n: _plain(known[n])), **map_arg(node.kwargs, lambda n: _plain(known[n])))
    if isinstance(value, (list, tuple)):
        return [Soft(v, varies=varies, picks=_picks(node, known, watch) if i == 1 else None) for i, v in enumerate(value)]
    if (found := _lookup(node, known, value)) is not None:
        watch.lookups.append(found)
        return Soft(found.rows, varies=varies)
    picks, places = _picks(node, known, watch), _moved_places(node, known)
    return Soft(value, _tensor_shadow(node, known, value), picks, _ranks(node, known), varies, places)


def _refuse_crash(node: Node, known: Mapping[Node, Any]) -> None:
    """Raises RuntimeError where torch would end the process: eager asks for what is empty before it comes to these kernels."""
    if _op_name(node).startswith("_scaled_dot_product_") and any(known[n].value.numel() == 0 for n in node.all_input_nodes[:3]):
        raise RuntimeError(f"{_op_name(node)} of nothing")


def _lookup(node: Node, known: Mapping[Node, Any], value: Any) -> Lookup | None:
    """The lookup that a node is: an embedding, or rows of a table by index."""
    name, args = _op_name(node), node.args
    if name == "embedding" and all(isinstance(a, Node) for a in args[:2]):
        table, index = known[args[0]], known[args[1]]  # type: ignore[index]
    elif name in ("index", "index_select") and isinstance(args[0], Node):
        listed = args[1] if name == "index" else args[2] if args[1] == 0 else None
        at = listed[0] if isinstance(listed, (list, tuple)) and len(listed) == 1 else listed
        table, index = known[args[0]], known[at] if isinstance(at, Node) else None  # type: ignore[index]
    else:
        return None
    if index is None or index.places is None or table.varies or not _is_real(value) or value.requires_grad:
        return None
    rows = value.detach().clone().requires_grad_(torch.is_grad_enabled())
    return Lookup(index.places[0], index.places[1], table.value.detach(), rows)


def _moved_places(node: Node, known: Mapping[Node, Any]) -> tuple[str, torch.Tensor] | None:
    """Where the numbers stand after a node that only shapes or copies them."""
    first = known.get(node.args[0]) if node.args and isinstance(node.args[0], Node) else None
    if not isinstance(first, Soft) or first.places is None:
        return None
    name = _op_name(node)
    if name in ("_to_copy", "clone", "contiguous"):
        return first.places
    plain = not any(isinstance(a, Node) for a in node.args[1:])
    return (first.places[0], _function(node)(first.places[1], *node.args[1:], **node.kwargs)) if name in _SHAPING and plain else None


def _function(node: Node) -> Callable[..., Any]:
    assert callable(node.target)
    return node.target


def _plain(found: Any) -> Any:
    return [s.value for s in found] if isinstance(found, list) else found.value


def _varies(found: Any) -> bool:
    return any(s.varies for s in found) if isinstance(found, list) else found.varies


# -- shadows of tensors ---------------------------------------------------------------------------------------------------
_SUBTRACTIONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "gt": lambda a, b: a - b,
    "ge": lambda a, b: a - b,
    "lt": lambda a, b: b - a,
    "le": lambda a, b: b - a,
    "eq": lambda a, b: _sameness(a - b),
    "ne": lambda a, b: -_sameness(a - b),
}


def _sameness(difference: Any) -> Any:
    """Robustness of being equal: what is exactly equal is surely so, since such numbers are flags, counts or indices."""
    if not isinstance(difference, torch.Tensor):
        return -abs(difference)
    return torch.where(difference == 0, 0.5, -difference.abs())


HALF = {"gt": -0.5, "ge": 0.5, "lt": -0.5, "le": 0.5, "eq": 0.5, "ne": -0.5}
"""What makes the robustness of comparing whole numbers never zero: they are never nearly equal."""
_LOGIC: Mapping[str, Callable[..., Any]] = {
    "logical_and": torch.minimum,
    "bitwise_and": torch.minimum,
    "logical_or": torch.maximum,
    "bitwise_or": torch.maximum,
    "mul": torch.minimum,
    "and_": torch.minimum,
    "or_": torch.maximum,
    "logical_not": operator.neg,
    "bitwise_not": operator.neg,
    "not_": operator.neg,
    "sym_not": operator.neg,
    "invert": operator.neg,
}


def _op_name(node: Node) -> str:
    return node.target.overloadpacket.__name__ if isinstance(node.target, torch._ops.OpOverload) else getattr(node.target, "__name__", "")


def _tensor_shadow(node: Node, known: Mapping[Node, Any], value: Any) -> torch.Tensor | None:
    """The shadow of a node's value; None where the value carries its own gradient or nothing is known."""
    name = _op_name(node)
    args = [known[a] if isinstance(a, Node) and not isinstance(known[a], list) else Soft(a) for a in node.args]
    if name in ("_local_scalar_dense", "item"):
        return args[0].soft if _is_real(args[0].value) else args[0].shadow
    if name in _SUBTRACTIONS and len(args) == 2:
        return _compared(name, args[0], args[1])
    if _is_bool(value):
        return _bool_shadow(name, node, args)
    if name in ("sym_size", "sym_numel"):
        return _smooth(args[0].ranks) if len(args) < 2 or args[1].value == 0 else None
    counted = [a for a in args if isinstance(a, Soft) and a.shadow is not None]
    if not counted or not isinstance(value, torch.Tensor):
        return _scalar_shadow(name, args) if counted and name in _ARITHMETIC else None
    return _again(node, known, lambda s: torch.sigmoid(SHARP * s.soft) if _is_bool(s.value) else s.soft)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool) or isinstance(value, torch.Tensor) and value.dtype == torch.bool


def _compared(name: str, a: Soft, b: Soft) -> torch.Tensor | None:
    for x, y in ((a, b), (b, a)):
        if x.picks is not None and isinstance(y.value, int) and name in ("eq", "ne"):
            equal = chosen(x.picks, y.value)
            return equal if name == "eq" else None if equal is None else -equal
    if a.picks is not None and b.picks is not None and name in ("eq", "ne"):
        same = agreement(a.picks, b.picks)
        return same if same is None or name == "eq" else -same
    if a.ranks is not None and isinstance(b.value, int) and not isinstance(a.value, torch.Tensor):
        return _ranked(name, a.ranks, b.value)
    if _is_bool(a.value) or _is_bool(b.value) or not (_is_number(a.soft) and _is_number(b.soft)):
        return None
    if isinstance(a.soft, int) and isinstance(b.soft, int):
        return _t(_SUBTRACTIONS[name](a.soft, b.soft) + HALF[name])
    found = _SUBTRACTIONS[name](_t(a.soft), _t(b.soft))
    return found if found.is_floating_point() else found.double()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, torch.Tensor))


def _is_real(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _bool_shadow(name: str, node: Node, args: list[Soft]) -> torch.Tensor | None:
    """Robustness of a boolean tensor made from boolean tensors."""
    shadows = [a.shadow for a in args]
    if not args or shadows[0] is None:
        return None
    rest = [a.value for a in args[1:]]
    if name == "any":
        return shadows[0].amax(*rest) if shadows[0].numel() else None
    if name == "all":
        return shadows[0].amin(*rest) if shadows[0].numel() else None
    if name in _LOGIC:
        return _LOGIC[name](*shadows) if all(s is not None for s in shadows) else None
    if name in ("_to_copy", "clone", "detach", "alias", "lift_fresh_copy"):
        return shadows[0]
    if len([s for s in shadows if s is not None]) == 1 and name in _SHAPING:
        return (
            _function(node)(shadows[0], *rest, **node.kwargs)
            if not any(isinstance(a, Node) for a in (*node.args[1:], *node.kwargs.values()))
            else None
        )
    return None


_SHAPING = frozenset(
    {"view", "reshape", "_unsafe_view", "select", "slice", "squeeze", "unsqueeze", "expand", "permute", "transpose", "t", "flatten"}
)


def _picks(node: Node, known: Mapping[Node, Any], watch: Watch) -> Picks | None:
    """The scores behind what argmax picks, kept through moving, joining and reading out."""
    name, first = _op_name(node), node.args[0] if node.args else None
    if name in ("cat", "stack") and isinstance(first, (list, tuple)):
        parts = [known[n] for n in first]  # type: ignore[index]
        return joined([(p.value, p.picks) for p in parts], lambda ats: _function(node)(ats, *node.args[1:], **node.kwargs))
    soft = known.get(first) if isinstance(first, Node) else None
    if not isinstance(soft, Soft):
        return None
    if isinstance(soft.value, torch.Tensor) and (name in ("argmax", "argmin") or name in ("max", "min") and len(node.args) > 1):
        dim, keep = (*node.args[1:], *(None, False)[len(node.args) - 1 :])[:2]
        score = soft.soft if name in ("argmax", "max") else -soft.soft
        keeps = bool(node.kwargs.get("keepdim", keep))
        return picked(score, dim, keeps, watch.agreements) if score.is_floating_point() else None  # type: ignore[arg-type]
    if soft.picks is None:
        return None
    if name in ("_local_scalar_dense", "item"):
        return soft.picks.moved(lambda at: at.reshape(()))
    if name in ("clone", "detach", "_to_copy", "int", "contiguous", "alias"):
        return soft.picks
    if name not in _SHAPING and name not in ("index", "index_select"):
        return None
    rest = map_arg(node.args[1:], lambda n: _plain(known[n]))
    return soft.picks.moved(lambda at: _function(node)(at, *rest))


def _smooth(ranks: torch.Tensor | None) -> torch.Tensor | None:
    """A smooth count of the positive ones."""
    return None if ranks is None else torch.sigmoid(SHARP * ranks).sum()


def _ranks(node: Node, known: Mapping[Node, Any]) -> torch.Tensor | None:
    """What a count counts, or what picked the rows of a value; kept through views and reading out."""
    name, first = _op_name(node), known.get(node.args[0]) if node.args and isinstance(node.args[0], Node) else None
    mask = first
    if name == "index":
        listed = node.args[1]
        mask = known[listed[0]] if isinstance(listed, (list, tuple)) and isinstance(listed[0], Node) else None
        if isinstance(mask, Soft) and mask.ranks is not None:
            return mask.ranks
    if not isinstance(first, Soft):
        return None
    counts = name in ("nonzero", "index", "masked_select", "count_nonzero") or name == "sum" and len(node.args) == 1
    if counts and isinstance(mask, Soft) and _is_bool(mask.value) and mask.shadow is not None:
        return mask.shadow.reshape(-1)
    kept = name in _SHAPING or name in ("_local_scalar_dense", "_to_copy", "int") or name == "sym_size" and node.args[1:] == (0,)
    return first.ranks if kept else None


def _ranked(name: str, ranks: torch.Tensor, k: int) -> torch.Tensor | None:
    """Robustness of a comparison of the number of positive ranks with k: at least n are positive iff the n-th largest is."""
    ordered = ranks.sort(descending=True).values

    def at_least(n: int) -> torch.Tensor:
        return ordered.sum() * 0 + (1.0 if n <= 0 else -1.0) if not 1 <= n <= len(ordered) else ordered[n - 1]

    def equal() -> torch.Tensor:
        return torch.minimum(at_least(k), -at_least(k + 1))

    return {
        "gt": lambda: at_least(k + 1),
        "ge": lambda: at_least(k),
        "lt": lambda: -at_least(k),
        "le": lambda: -at_least(k + 1),
        "eq": equal,
        "ne": lambda: -equal(),
    }[name]()


def _again(node: Node, known: Mapping[Node, Any], soft: Callable[[Soft], Any]) -> torch.Tensor | None:
    """The node's operation on shadows; None where it does not take them."""

    def swap(n: Node) -> Any:
        found = known[n]
        return [s.soft for s in found] if isinstance(found, list) else soft(found) if found.shadow is not None else found.value

    if _op_name(node).endswith("_"):
        return None
    try:
        found = _function(node)(*map_arg(node.args, swap), **map_arg({k: v for k, v in node.kwargs.items() if k != "dtype"}, swap))
    except (RuntimeError, TypeError, IndexError):
        return None
    return found if isinstance(found, torch.Tensor) and found.is_floating_point() else None


# -- shadows of scalars ---------------------------------------------------------------------------------------------------
_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "truediv": operator.truediv,
    "neg": operator.neg,
    "float": lambda a: a,
    "int": lambda a: a,
    "sym_float": lambda a: a,
    "abs": abs,
    "pos": lambda a: a,
    "pow": operator.pow,
    "min": lambda a, b: torch.minimum(_t(a), _t(b)),
    "max": lambda a, b: torch.maximum(_t(a), _t(b)),
    **{
        f"math.{n}": getattr(torch, n)
        for n in ("sqrt", "exp", "expm1", "log", "log2", "log10", "log1p", "sin", "cos", "tan", "tanh", "erf")
    },
}


def _t(value: Any) -> torch.Tensor:
    return value if isinstance(value, torch.Tensor) else torch.tensor(float(value))


def _scalar_shadow(name: str, args: list[Soft]) -> torch.Tensor | None:
    if name in _SUBTRACTIONS:
        return _compared(name, args[0], args[1])
    shadows = [a.shadow for a in args]
    if all(s is None for s in shadows):
        return None
    if name in ("and_", "or_"):
        return _joined(name, args)
    if name == "select":
        return shadows[1] if args[0].value else shadows[2]
    if name == "bool":
        return shadows[0] if _is_bool(args[0].value) else None if shadows[0] is None else abs(shadows[0])
    if name in _LOGIC and all(s is not None for s in shadows):
        return _LOGIC[name](*shadows)
    return _t(_ARITHMETIC[name](*(a.soft for a in args))) if name in _ARITHMETIC else None


def _joined(name: str, args: list[Soft]) -> torch.Tensor | None:
    """and/or of robustnesses; an operand without one counts as fixed at its value."""
    known = [a.shadow for a in args if a.shadow is not None]
    fixed = [bool(a.value) for a in args if a.shadow is None]
    if len(known) == 2:
        return _LOGIC[name](*known)
    decisive = fixed[0] is (name == "or_")
    return known[0] * 0 + (1.0 if fixed[0] else -1.0) if decisive else known[0]
