"""Random numbers of Python's and NumPy's generators, and the time: host operations, in their place.

Several numbers at once are as many operations, in the order in which the generators give them: NumPy's legacy generator
(numpy/random/mtrand.pyx) and CPython's Lib/random.py.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

from dync.capture.arrays import array_of, is_array, number_of, tensors_of
from dync.capture.expressions import Expressions
from dync.capture.image import SYMBOLIC
from dync.capture.lists import Grown
from dync.capture.tape import of_model
from dync.ir.outside import CLOCKS, DRAWS

MOST = 64
"""So many numbers are drawn one by one."""
NP = "numpy.random."
INTEGERS = frozenset({"random.randrange", *(n for n in CLOCKS if n.endswith("_ns")),
                      *(NP + n for n in ("randint", "binomial", "poisson", "geometric"))})
"""What gives an integer; the others give floats."""
UNIFORM = ("random", "random_sample", "ranf", "sample")
"""The names that NumPy has for one function."""
NUMBER = (bool, int, float, *SYMBOLIC)


class Draw(NamedTuple):
    """A function of NumPy that draws numbers: the operation for one, and its parameters, whose last is always the size."""

    op: str
    names: tuple[str, ...] = ()
    defaults: tuple[float, ...] = ()


PLACE_AND_SCALE = (("loc", "scale"), (0.0, 1.0))
SIZED: dict[str, Draw] = {
    **{NP + n: Draw("numpy.random.random") for n in UNIFORM}, NP + "standard_normal": Draw("numpy.random.standard_normal"),
    **{NP + n: Draw(NP + n, *PLACE_AND_SCALE) for n in ("normal", "laplace", "logistic", "gumbel")},
    NP + "uniform": Draw("numpy.random.uniform", ("low", "high"), (0.0, 1.0)),
    NP + "lognormal": Draw("numpy.random.lognormal", ("mean", "sigma"), (0.0, 1.0)),
    NP + "exponential": Draw("numpy.random.exponential", ("scale",), (1.0,)), NP + "beta": Draw("numpy.random.beta", ("a", "b")),
    NP + "gamma": Draw("numpy.random.gamma", ("shape", "scale"), (1.0,)), NP + "poisson": Draw("numpy.random.poisson", ("lam",), (1.0,)),
    NP + "binomial": Draw("numpy.random.binomial", ("n", "p")), NP + "geometric": Draw("numpy.random.geometric", ("p",))}


def ask(engine: Expressions, op: str, *args: Any, more: bool = False) -> Any:
    """Has the host do `op`, and ends the block: what comes after it in the source is done after it. more: so will the next operation."""
    if engine.caching:
        engine.once(f"asks for `{op}`")
    made = op in DRAWS or op in CLOCKS and op != "time.sleep"
    number = engine.effect(op, *args, gives=("int" if op in INTEGERS else "float") if made else "")
    if op.endswith(("randrange", "randint")) and isinstance(number, torch.SymInt):
        engine.shape_env.bound(number.node.expr, *(n if isinstance(n, int) else None for n in (args[0], args[1] - 1)))
    if not more:
        engine.cut()
    return number


def may_ask(engine: Expressions, operands: tuple[Any, ...]) -> bool:
    """Whether a host can: what it raises for numbers that do not fit comes at run time, where no handler of the model's sees it."""
    return all(isinstance(o, NUMBER) for o in operands) and not (engine.caught() and any(isinstance(o, SYMBOLIC) for o in operands))


def numbers(engine: Expressions, op: str, operands: list[tuple[Any, ...]]) -> list[Any]:
    """A number for each tuple of operands."""
    return [ask(engine, op, *args, more=n + 1 < len(operands)) for n, args in enumerate(operands)]


# ---- one number, or an array of a size ------------------------------------------------------------------------------------------------


def _between(start: Any, stop: Any = None, step: Any = 1) -> Any:
    if not (type(step) is int and step == 1):
        return NotImplemented
    low, high = (0, start) if stop is None else (start, stop)
    if type(low) is int and type(high) is int and high <= low:
        random.Random(0).randrange(*((start,) if stop is None else (start, stop)))  # raises what it raises
    return low, high


ARGUMENTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "random.random": ("random.random", lambda: ()), "random.uniform": ("random.uniform", lambda a, b: (a, b)),
    "random.gauss": ("random.gauss", lambda mu=0.0, sigma=1.0: (mu, sigma)),
    "random.normalvariate": ("random.normalvariate", lambda mu=0.0, sigma=1.0: (mu, sigma)),
    "random.expovariate": ("random.expovariate", lambda lambd=1.0: (lambd,)),
    "random.betavariate": ("random.betavariate", lambda alpha, beta: (alpha, beta)),
    "random.randrange": ("random.randrange", _between), "random.randint": ("random.randrange", lambda a, b: _between(a, b + 1)),
    "random.seed": ("random.seed", lambda a=None: (a,)), "numpy.random.seed": ("numpy.random.seed", lambda seed=None: (seed,)),
    "time.sleep": ("time.sleep", lambda seconds: (seconds,)),
    "torch.manual_seed": ("torch.manual_seed", lambda seed: (seed,)),
    **{n: (n, lambda: ()) for n in CLOCKS if n != "time.sleep"},
}
"""By the function's name: the operation that does it, and what its operands are for the call's arguments."""


def shape_of(size: Any) -> tuple[int, ...] | None:
    """A size as NumPy takes it, that is known and of at most MOST numbers; None for any other."""
    shape = (size,) if isinstance(size, int) else tuple(size) if isinstance(size, (tuple, list)) else ()
    known = shape and all(type(s) is int and s >= 0 for s in shape)
    return shape if known and math.prod(shape) <= MOST else None


def _filled(engine: Expressions, op: str, operands: tuple[Any, ...], size: Any) -> Any:
    """One number, or an array of them."""
    if not may_ask(engine, operands):
        return NotImplemented
    if size is None:
        return ask(engine, op, *operands)
    shape = shape_of(size)
    if shape is None:
        return NotImplemented
    found = numbers(engine, op, [operands] * math.prod(shape))
    kind = torch.int64 if op in INTEGERS else torch.float64
    return array_of(engine, torch.tensor(found, dtype=kind).reshape(shape))


def _sized(engine: Expressions, draw: Draw, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    names = (*draw.names, "size")
    given: dict[str, Any] = dict(zip(draw.names[len(draw.names) - len(draw.defaults):], draw.defaults)) | dict(zip(names, args)) | kwargs
    if len(args) > len(names) or set(given) - {*names} or any(n not in given for n in draw.names):
        return NotImplemented
    return _filled(engine, draw.op, tuple(given[n] for n in draw.names), given.get("size"))


def _integers(engine: Expressions, low: Any, high: Any = None, size: Any = None, dtype: Any = int) -> Any:
    if dtype not in (int, np.int64) or dtype is not int and size is None:
        return NotImplemented
    low, high = (0, low) if high is None else (low, high)
    if type(low) is int and type(high) is int and high <= low:
        np.random.RandomState(0).randint(low, high)
    return _filled(engine, "numpy.random.randint", (low, high), size)


# ---- orders, and choices from what there is ----------------------------------------------------------------------------------------------


def _order(engine: Expressions, op: str, n: int) -> torch.Tensor:
    """The numbers below n in an order that is drawn: Fisher and Yates, from the last place on."""
    order = torch.arange(n)
    places = range(n - 1, 0, -1)
    for i, j in zip(places, numbers(engine, op, [(0, i + 1) for i in places])):
        last = order[i].clone()
        order[i] = order[j]
        order[j] = last
    return order


def _pool(engine: Expressions, n: int, k: int) -> Any:
    """k of the numbers below n, as `random.sample` takes them from a pool."""
    if k > n or n > MOST:
        return NotImplemented
    pool, taken = torch.arange(n), list[Any]()
    for i, j in enumerate(numbers(engine, "random.randrange", [(0, n - i) for i in range(k)])):
        taken.append(pool[j].clone())
        pool[j] = pool[n - i - 1]
    return torch.stack(taken) if taken else pool[:0]


def _set_size(k: int) -> int:
    """How many items `random.sample` makes a pool of; of more it keeps those that are taken."""
    return 21 + (4 ** math.ceil(math.log(k * 3, 4)) if k > 5 else 0)


def _rows(engine: Expressions, items: Any) -> Any:
    """Numbers, or an array, as a tensor; NotImplemented for anything else."""
    if is_array(items):
        return items.tensor if items.tensor.dim() else NotImplemented
    if isinstance(items, Grown):
        return items.numbers()
    if isinstance(items, np.ndarray):
        return torch.from_numpy(items.copy()) if items.dtype.kind in "biuf" and items.ndim else NotImplemented
    found = list(items) if isinstance(items, (list, tuple, range)) else []
    large = any(type(i) is int and abs(i) >= 1 << 63 for i in found)
    alike = found and not large and any(all(isinstance(i, kinds) and type(i) is not bool for i in found) for kinds in (
        (int, torch.SymInt), (float, torch.SymFloat)))
    if not alike:
        return NotImplemented
    return torch.tensor(found, dtype=torch.int64 if isinstance(found[0], (int, torch.SymInt)) else torch.float64)


def _chosen(engine: Expressions, a: Any, size: Any = None, replace: bool = True, p: Any = None) -> Any:
    """`numpy.random.choice`."""
    rows = None if isinstance(a, (int, torch.SymInt)) else _rows(engine, a)
    if rows is NotImplemented or rows is not None and p is None and rows.dim() != 1:
        return NotImplemented
    n = a if rows is None else rows.shape[0]
    shape = () if size is None else shape_of(size)
    if shape is None or type(n) is int and n < 1 or not may_ask(engine, (n,)):
        return NotImplemented
    many = math.prod(shape)
    if p is None and size is None and replace:
        place = ask(engine, "numpy.random.randint", 0, n)
        return place if rows is None else array_of(engine, rows[place])
    if p is not None:
        if size is not None and not replace:
            return NotImplemented
        places = _weighted(engine, p, n, many)
    elif replace:
        places = torch.tensor(numbers(engine, "numpy.random.randint", [(0, n)] * many), dtype=torch.int64)
    elif type(n) is int and many <= n <= MOST:
        places = _order(engine, "numpy.random.randint", n)[:many]
    else:
        return NotImplemented
    if places is NotImplemented:
        return NotImplemented
    if rows is None and size is None:
        return engine.at_least(places.reshape(()).item(), 0)
    places = places.reshape(shape)
    return array_of(engine, places if rows is None else rows[places])


def _weighted(engine: Expressions, p: Any, n: Any, many: int) -> Any:
    """Places by their probabilities: where a uniform number stands in their sums."""
    weights = tensors_of(p) if is_array(p) else _rows(engine, p)
    if not isinstance(weights, torch.Tensor) or weights.dim() != 1 or not weights.shape[0] == n:
        return NotImplemented
    close = max(math.sqrt(np.finfo(np.float64).eps), math.sqrt(torch.finfo(weights.dtype).eps) if is_array(p) else 0)
    weights = weights.double()
    for fails, said in ((weights.isnan().any(), "probabilities contain NaN"), ((weights < 0).any(), "probabilities are not non-negative"),
                        ((weights.sum() - 1).abs() > close, "probabilities do not sum to 1")):
        if fails:
            raise of_model(ValueError(said))
    sums = weights.cumsum(0)
    drawn = torch.tensor(numbers(engine, "numpy.random.random", [()] * many), dtype=torch.float64)
    return torch.searchsorted(sums / sums[-1], drawn, right=True)


def _permuted(engine: Expressions, x: Any) -> Any:
    rows = torch.arange(x) if type(x) is int else _rows(engine, x)
    if rows is NotImplemented or type(rows.shape[0]) is not int or rows.shape[0] > MOST:
        return NotImplemented
    return array_of(engine, rows[_order(engine, "numpy.random.randint", rows.shape[0])])


def _listed(engine: Expressions, rows: torch.Tensor, order: Any) -> Any:
    return NotImplemented if order is NotImplemented else rows[order].tolist()


def _shuffled(op: str) -> Callable[..., Any]:
    def shuffle(engine: Expressions, x: Any) -> Any:
        rows = _rows(engine, x)
        if rows is NotImplemented or type(rows.shape[0]) is not int or rows.shape[0] > MOST or not (type(x) is list or is_array(x)):
            return NotImplemented
        order = _order(engine, op, rows.shape[0])
        x[:] = rows[order].tolist() if type(x) is list else array_of(engine, rows[order])
        return None

    return shuffle


def _sampled(engine: Expressions, population: Any, k: Any, **more: Any) -> Any:
    rows = _rows(engine, population)
    n = None if rows is NotImplemented or is_array(population) else rows.shape[0]
    if more or type(n) is not int or type(k) is not int or not 0 <= k <= n or n > _set_size(k):
        return NotImplemented
    return _listed(engine, rows, _pool(engine, n, k))


def _choices(engine: Expressions, population: Any, weights: Any = None, **more: Any) -> Any:
    rows, k = _rows(engine, population), more.pop("k", 1)
    n = None if rows is NotImplemented or is_array(population) else rows.shape[0]
    if more or weights is not None or type(n) is not int or type(k) is not int or not n or not 0 <= k <= MOST:
        return NotImplemented
    drawn = torch.tensor(numbers(engine, "random.random", [()] * k), dtype=torch.float64)
    return _listed(engine, rows, (drawn * n).floor().long())


def _choice(engine: Expressions, items: Any) -> Any:
    n = engine.builtin(len)(items)
    if not isinstance(n, (int, torch.SymInt)):
        return NotImplemented
    if n < 1:
        raise of_model(IndexError("Cannot choose from an empty sequence"))
    return engine.getitem(items, ask(engine, "random.randrange", 0, n))


SPECIAL: dict[str, Callable[..., Any]] = {
    "random.choice": _choice, "random.shuffle": _shuffled("random.randrange"), "random.sample": _sampled, "random.choices": _choices,
    NP + "randint": _integers, NP + "choice": _chosen, NP + "permutation": _permuted, NP + "shuffle": _shuffled("numpy.random.randint"),
    NP + "rand": lambda engine, *sizes: _filled(engine, "numpy.random.random", (), sizes or None),
    NP + "randn": lambda engine, *sizes: _filled(engine, "numpy.random.standard_normal", (), sizes or None)}


def _given(x: Any) -> Any:
    """The number in a tensor or array of no dimensions; anything else as it is."""
    return x if isinstance(x, torch.Tensor) and x.dim() else number_of(x)


def asked(engine: Expressions, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What a call of the function gives; NotImplemented where no host operations do it."""
    args, kwargs = tuple(map(_given, args)), {k: _given(v) for k, v in kwargs.items()}
    if name in SPECIAL:
        return SPECIAL[name](engine, *args, **kwargs)
    if name in SIZED:
        return _sized(engine, SIZED[name], args, kwargs)
    if name not in ARGUMENTS:
        return NotImplemented
    op, arguments = ARGUMENTS[name]
    operands = arguments(*args, **kwargs)
    if operands is NotImplemented or not may_ask(engine, operands):
        return NotImplemented
    result = ask(engine, op, *operands)
    return torch.default_generator if name == "torch.manual_seed" else result
