"""Numbers in tensors that torch's kernels refuse, as a decision of the program, where the model may catch the error.

Elsewhere the kernel itself raises at run time. Here a path on which it would is one of its own, that ends in the error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from dync.capture.tape import of_model
from dync.capture.text import formatted, join
from dync.ir.flow import MISFIT

aten = torch.ops.aten
Call = Callable[..., Any]


class Refused(NamedTuple):
    """One thing that a kernel looks at: the elements that it refuses as a mask, the error's class and its text.

    text: in two parts around the first number that is refused, of which `numbers` holds all; one part where it names none.
    """

    mask: Any
    error: type[Exception]
    text: tuple[Any, ...]
    numbers: Any = None


Check = Callable[[Call, dict[str, Any]], Iterator[Refused]]


def check_numbers(engine: Any, call: Call, read: Call, func: Any, args: Any, kwargs: Any) -> None:
    """Raises what the operation raises, on the path where it does."""
    names = [a.name for a in func._schema.arguments]
    given = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()} | dict(zip(names, args)) | kwargs
    for found in CHECKED[func.overloadpacket](call, given):
        if func._schema.is_mutable and engine.known_int(found.mask.numel()) != 1:
            continue  # what the kernel wrote before it came to the number that it refuses, only the kernel knows: it raises, at run time
        if read(call(aten.any.default, found.mask)):
            raise of_model(found.error(message(engine, call, read, found)))


def message(engine: Any, call: Call, read: Call, found: Refused) -> Any:
    """The text as torch writes it; where several elements may be refused, which one it names depends on the kernel's order."""
    before, *after = found.text
    if not after:
        return before
    if found.numbers is None or found.numbers.dim() > 1:
        return f"{MISFIT}: {before}a number{' '.join(p for p in after if isinstance(p, str))}"
    numbers = found.numbers
    if numbers.dim():
        first = call(aten.argmax.default, call(aten.mul.Scalar, found.mask, 1))
        numbers = call(aten.take.default, numbers, first)
    return join(engine, [before, formatted(engine, read(numbers), -1, ""),
                         *(p if isinstance(p, str) else formatted(engine, p, -1, "") for p in after)])


def outside(call: Call, index: Any, low: Any, size: Any) -> Any:
    """Which elements are not in low..size-1."""
    return call(aten.logical_or.default, call(aten.lt.Scalar, index, low), call(aten.ge.Scalar, index, size))


def size_at(x: Any, dim: int) -> Any:
    return x.shape[dim] if x.dim() else 1


def in_bounds(place: str, error: type[Exception], *text: str, negative: bool = False) -> Check:
    """Indices along one dimension. text: of the error; that of torch's own check where there is none."""
    def check(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
        x, index, dim = given["self" if "self" in given else "weight"], given[place], given.get("dim", 0)
        size = size_at(x, dim)
        said = text or ("index ", f" is out of bounds for dimension {dim % max(x.dim(), 1)} with size ", size)
        yield Refused(outside(call, index, -size if negative else 0, size), error, said, index)

    return check


def indexed(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    """`x[i, j]`: masks have no bounds, and take as many dimensions as they have."""
    x, dim = given["self"], 0
    whole = [i for i in given["indices"] if i is not None and i.dtype not in (torch.bool, torch.uint8)]
    for index in given["indices"]:
        if index is None:
            dim += 1
        elif index.dtype in (torch.bool, torch.uint8):
            dim += index.dim()
        else:
            size = x.shape[dim]
            said = ("index ", f" is out of bounds for dimension {dim} with size ", size)
            yield Refused(outside(call, index, -size, size), IndexError, said, index if len(whole) == 1 else None)
            dim += 1


def index_added(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    """A vector is added to by another kernel than a matrix."""
    flat = given["self"].dim() <= 1
    yield from (in_bounds("index", IndexError, "index out of range in self") if flat else in_bounds("index", RuntimeError))(call, given)


def taken(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    n = given["self"].numel()
    index, said = given["index"], ("out of range: tried to access index ", " on a tensor of ", n, " elements.")
    yield Refused(outside(call, index, -n, n), IndexError, said, index)


def classes(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    """Targets of nll_loss, those that it leaves out excepted."""
    x, target = given["self"], given["target"]
    wrong = outside(call, target, 0, x.shape[1 if x.dim() > 1 else 0])
    counted = call(aten.ne.Scalar, target, given["ignore_index"])
    yield Refused(call(aten.logical_and.default, wrong, counted), IndexError, ("Target ", " is out of bounds."), target)


def divided(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    """Integers, where some are divided by zero."""
    x, y = given["self"], given["other"]
    whole = [t for t in (x, y) if isinstance(t, torch.Tensor) and not t.dtype.is_floating_point and not t.dtype.is_complex]
    if len(whole) == 2 and given.get("rounding_mode", "floor") is not None:  # `==` broadcasts: nothing is divided where that is empty
        yield Refused(call(aten.logical_and.default, call(aten.eq.Scalar, y, 0), call(aten.eq.Tensor, x, x)), RuntimeError,
                      ("ZeroDivisionError",))


def divided_by_mode(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    yield from divided(call, given) if "rounding_mode" in given else ()


def drawn(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    weights = given["self"]
    finite = call(aten.logical_and.default, call(aten.ge.Scalar, weights, 0), call(aten.lt.Scalar, weights, float("inf")))
    yield Refused(call(aten.logical_not.default, finite), RuntimeError,
                  ("probability tensor contains either `inf`, `nan` or element < 0",))
    yield Refused(call(aten.eq.Scalar, call(aten.sum.dim_IntList, weights, [-1]), 0), RuntimeError,
                  ("invalid multinomial distribution (sum of probabilities <= 0)",))


def no_less_than_zero(place: str, text: str) -> Check:
    def check(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
        if isinstance(given[place], torch.Tensor):
            yield Refused(call(aten.lt.Scalar, given[place], 0), RuntimeError, (text,))

    return check


def chances(call: Call, given: dict[str, Any]) -> Iterator[Refused]:
    for place in ("self", "target"):
        x = given[place]
        inside = call(aten.logical_and.default, call(aten.ge.Scalar, x, 0), call(aten.le.Scalar, x, 1))
        text = "all elements of input should be between 0 and 1" if place == "self" else "all elements of target should be between 0 and 1"
        yield Refused(call(aten.logical_not.default, inside), RuntimeError, (text,))


along = in_bounds("index", RuntimeError)
CHECKED: dict[Any, Check] = {
    aten.embedding: in_bounds("indices", IndexError, "index out of range in self"),
    aten.index_select: in_bounds("index", IndexError, "index out of range in self"),
    **dict.fromkeys((aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_), indexed),
    **dict.fromkeys((aten.gather, aten.scatter, aten.scatter_, aten.scatter_add, aten.scatter_add_, aten.scatter_reduce,
                     aten.scatter_reduce_), along),
    **dict.fromkeys((aten.index_add, aten.index_add_), index_added),
    **dict.fromkeys((aten.index_fill, aten.index_fill_), in_bounds("index", IndexError, negative=True)),
    **dict.fromkeys((aten.index_copy, aten.index_copy_), in_bounds("index", IndexError, f"{MISFIT}: index_copy_(): index out of bounds")),
    **dict.fromkeys((aten.index_reduce, aten.index_reduce_), in_bounds("index", IndexError, "index out of range in self")),
    **dict.fromkeys((aten.take, aten.put, aten.put_), taken),
    **dict.fromkeys((aten.nll_loss_forward, aten.nll_loss2d_forward), classes),
    **dict.fromkeys((aten.floor_divide, aten.floor_divide_, aten.remainder, aten.remainder_, aten.fmod, aten.fmod_), divided),
    **dict.fromkeys((aten.div, aten.div_), divided_by_mode),
    aten.multinomial: drawn,
    aten.bincount: no_less_than_zero("self", "bincount only supports 1-d non-negative integral inputs."),
    aten.repeat_interleave: no_less_than_zero("repeats", "repeats can not be negative"),
    aten.binary_cross_entropy: chances,
}
"""What operations look at in their arguments before they give a result, by name."""
