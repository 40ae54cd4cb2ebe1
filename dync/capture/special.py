"""Calls of torch that read data, or sizes as plain numbers: what is recorded in their place."""

from __future__ import annotations

import operator
from typing import Any, cast

import sympy
import torch
import torch.nn.functional as F
from torch._prims_common import suggest_memory_format
from torch.utils._pytree import tree_flatten

from dync.capture.arrays import is_array, tensors_of
from dync.capture.image import SYMBOLIC
from dync.capture.lists import OF_PLACES, Grown
from dync.capture.memory import storage_of
from dync.capture.recurrent import RECURRENT
from dync.capture.scalars import scalar_of
from dync.capture.tape import Val, of_model
from dync.capture.walks import Parts, Sections, is_grown
from dync.ir.flow import MISFIT

aten = torch.ops.aten


def function_name(func: Any) -> str:
    owner = getattr(func, "__self__", None)
    name = getattr(func, "__name__", str(func))
    if name in ("__get__", "__set__", "__delete__") and owner is not None and hasattr(owner, "__name__"):
        return f"{name.strip('_')}:{owner.__name__}"
    return name


def _bool(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return bool(recorder.item(args[0]))


def _number(kind: type, error: type[Exception]) -> Any:
    def convert(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
        value = recorder.item(args[0], error)
        if isinstance(value, torch.SymBool) and kind is int:
            value = bool(value)  # one of two numbers: a path for each
        return kind(value) if not isinstance(value, SYMBOLIC) else recorder.engine.concretise(value.node, kind.__name__)

    return convert


def _item(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return recorder.item(args[0])


def _tolist(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    x = args[0]
    if x.dim() == 0:
        return recorder.item(x)
    n = recorder.engine.known_int(x.shape[0])
    if n is None:
        n = recorder.engine.least(x.shape[0])
        if n < 1 or not _is_counts(recorder, x.shape[0]):
            return recorder.engine.numbers(x)
        if recorder.engine.pick(x.shape[0], [(n,)]):  # i has no larger number, as a rule
            raise RuntimeError(f"`tolist` of more than {n} numbers")
    rows = [_tolist(recorder, func, (recorder.call(torch.select, (x, 0, i), {}),), {}) for i in range(n)]
    return recorder.engine.listed(f"the list of {x.dim()} dimensions made at {recorder.engine.span()}", rows)


def _is_counts(recorder: Any, size: Any) -> bool:
    """Whether a size is that of `torch.bincount(i, minlength=n)`."""
    engine = recorder.engine
    asked = engine.made_by.get(engine.binding(size.node.expr))
    made = engine.made_by.get(asked.args[0]) if asked is not None and isinstance(asked.args[0], Val) else None
    return made is not None and made.target is aten.bincount.default


def _unbind(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    x, dim = args[0], args[1] if len(args) > 1 else kwargs.get("dim", 0)
    if x.dim() and isinstance(x.shape[dim], torch.SymInt) and recorder.engine.known_int(x.shape[dim]) is None:
        recorder.engine.mark_stack()
        return Parts(recorder.engine, x, dim % x.dim(), None)
    return NotImplemented


def _split(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """`x.split(size, dim)`, or `x.chunk(count, dim)`, into a number of parts known only at run time."""
    name, engine = function_name(func), recorder.engine
    many = "chunks" if name == "chunk" else "split_size_or_sections" if func is torch.functional.split else "split_size"
    x = args[0] if args else kwargs.get("input", kwargs.get("tensor"))
    given = {**dict(zip((many, "dim"), args[1:])), **kwargs}
    how, dim = given.get(many), given.get("dim", 0)
    if isinstance(how, Grown) and isinstance(x, torch.Tensor) and isinstance(dim, int):
        return _sections(recorder, x, how.numbers(), dim % x.dim())
    if not isinstance(x, torch.Tensor) or not isinstance(dim, int) or not isinstance(how, (int, torch.SymInt)) or not x.dim():
        return NotImplemented
    size, most = x.shape[dim], None
    if not isinstance(size, torch.SymInt) and not isinstance(how, torch.SymInt):
        return NotImplemented
    if name == "chunk":
        if how < 1:
            raise of_model(RuntimeError(f"{MISFIT}: chunk expects `chunks` to be greater than 0"))
        if size == 0:  # as many parts as are asked for, all empty
            return Sections(engine, x, dim % x.dim(), recorder.call(torch.zeros, (how,), {"dtype": torch.int64}))
        most, how = how if isinstance(how, int) else None, (size + how - 1) // how
    parts = Parts(engine, x, dim % x.dim(), how, most)
    known = engine.known_int(parts.length)
    if known is None:
        engine.mark_stack()  # C code would see that it is no tuple
        return parts
    return tuple(parts.at(i) for i in range(known))


def _sections(recorder: Any, x: Any, sizes: Any, dim: int) -> Sections:
    """`x.split(sizes, dim)` for a list of unknown length."""
    do = recorder.engine.do
    if recorder.item(do(torch.logical_or, do(torch.ne, do(torch.sum, sizes), x.shape[dim]), do(torch.any, do(torch.lt, sizes, 0)))):
        raise of_model(RuntimeError(f"{MISFIT}: split_with_sizes expects sizes that sum to that of dimension {dim}"))
    recorder.engine.mark_stack()
    return Sections(recorder.engine, x, dim, sizes)


def _equal(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    a, b = args
    if a.dim() != b.dim() or any(x != y for x, y in zip(a.shape, b.shape)):
        return False
    return bool(recorder.item(recorder.call(torch.all, (recorder.call(torch.eq, (a, b), {}),), {})))


def _allclose(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return bool(recorder.item(recorder.call(torch.all, (recorder.call(torch.isclose, args, kwargs),), {})))


def _contains(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return bool(recorder.item(recorder.call(torch.any, (recorder.call(torch.eq, args, kwargs),), {})))


def _indexed(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """`x[i]` where i is a one-number tensor or a symbolic integer: torch reads the number and selects, and so do we."""
    x, index = args[0], args[1]
    given = index if type(index) is tuple else (index,)
    parts = [_index(recorder, p) for p in given]
    if not any(isinstance(p, torch.SymInt) for p in parts):
        if all(map(operator.is_, parts, given)):
            return NotImplemented
        return recorder.event(function_name(func), func, (x, tuple(parts), *args[2:]), kwargs)
    taken = sum(p.dim() if isinstance(p, torch.Tensor) and p.dtype == torch.bool else 0 if p is None or p is Ellipsis else 1 for p in parts)
    dim, selects, rest = 0, [], []
    for p in parts:
        if isinstance(p, torch.SymInt):
            selects.append((dim, p))
        else:
            rest.append(p)
        if p is Ellipsis:
            dim += x.dim() - taken
        elif p is not None:
            dim += p.dim() if isinstance(p, torch.Tensor) and p.dtype == torch.bool else 1
    for d, p in reversed(selects):
        recorder.engine.check_place(p, x.shape[d], d)
        x = recorder.event("select", torch.select, (x, d, p), {})
    plain = all(p is Ellipsis or (isinstance(p, slice) and p == slice(None)) for p in rest)
    if func.__name__ == "__getitem__":
        return x if plain else recorder.call(func, (x, tuple(rest)), {})
    recorder.call(func, (x, Ellipsis if plain else tuple(rest), args[2]), {})
    return None


def _index(recorder: Any, p: Any) -> Any:
    """One index: numbers in place of one-number tensors, a tensor in place of a list that holds symbolic numbers."""
    if is_number_tensor(p):
        return recorder.item(p)
    if isinstance(p, torch.SymBool):
        return bool(p)
    if isinstance(p, list) and any(isinstance(v, SYMBOLIC) for v in tree_flatten(p)[0]):
        return recorder.call(torch.tensor, (p,), {})
    if isinstance(p, Grown):
        recorder.engine.rather_known(p, OF_PLACES)
        return p.numbers()
    return _bounds(recorder, p) if isinstance(p, slice) else p


def _bounds(recorder: Any, part: slice) -> slice:
    """A slice with the numbers in place of one-number tensors."""
    ends = (part.start, part.stop, part.step)
    return slice(*(recorder.item(e) if is_number_tensor(e) else e for e in ends)) if any(map(is_number_tensor, ends)) else part


def is_number_tensor(p: Any) -> bool:
    return isinstance(p, torch.Tensor) and p.dim() == 0 and not p.dtype.is_floating_point and p.dtype not in (torch.bool, torch.uint8)


def _len(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    if args[0].dim() == 0:
        raise TypeError("len() of a 0-d tensor")
    n = args[0].shape[0]
    return n if isinstance(n, int) else recorder.engine.concretise_int(n.node.expr)


def _data(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return recorder.call(torch.Tensor.detach, (args[0],), {})


def _max_pool1d(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """As torch itself does where there is a gradient: its other kernel asks for sizes as plain numbers."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {"stride": None, "padding": 0, "dilation": 1, "ceil_mode": False, **dict(zip(names, args)), **kwargs}
    x, indices = given.pop("input"), given.pop("return_indices", False)
    plain = (int, tuple, list, type(None))
    if func not in (torch.max_pool1d, F.max_pool1d) or indices or not isinstance(x.shape[-1], torch.SymInt) or not all(
            isinstance(v, plain) for v in given.values()):
        return NotImplemented
    size, stride, padding, dilation = (v[0] if isinstance(v, (tuple, list)) and v else v for v in map(given.get, names[1:5]))
    rows = recorder.call(torch.unsqueeze, (x, -2), {})
    window = ((1, size), (1, stride or size), (0, padding), (1, dilation), given["ceil_mode"])
    return recorder.call(torch.squeeze, (recorder.call(torch.max_pool2d, (rows, *window), {}), -2), {})


def _diff(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """As torch itself does it, by differences of neighbours: its kernel asks for sizes as plain numbers."""
    given = {"n": 1, "dim": -1, "prepend": None, "append": None, **dict(zip(("input", "n", "dim", "prepend", "append"), args)), **kwargs}
    x, n, dim = given["input"], given["n"], given["dim"]
    if not any(isinstance(s, torch.SymInt) for s in x.shape) or "out" in given or not isinstance(n, int):
        return NotImplemented
    parts = [p for p in (given["prepend"], x, given["append"]) if p is not None]
    x = recorder.call(torch.cat, (parts, dim), {}) if len(parts) > 1 and n else x
    for _ in range(n):
        size = x.shape[dim]
        if size < 1:
            break
        later, earlier = (recorder.call(torch.narrow, (x, dim, start, size - 1), {}) for start in (1, 0))
        x = recorder.call(torch.ne if x.dtype == torch.bool else torch.sub, (later, earlier), {})
    return x


def _interpolate(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """An image that is empty is refused first, as torch's kernels do; the twins that take run-time sizes divide by them."""
    given = {"size": None, "scale_factor": None, **dict(zip(("input", "size", "scale_factor"), args)), **kwargs}
    x, size, scale = given["input"], given["size"], given["scale_factor"]
    space = list(x.shape[2:])
    sizes = list(size) if isinstance(size, (tuple, list)) else [size] if size is not None else []
    scales = scale if isinstance(scale, (tuple, list)) else [scale] * len(space)
    if not sizes and all(isinstance(f, (int, float, torch.SymInt, torch.SymFloat)) for f in scales):
        sizes = [torch.sym_int(n * f) for n, f in zip(space, scales)]
    for n in (*space, *sizes):
        if isinstance(n, torch.SymInt):
            recorder.engine.expect(cast(Any, sympy.Gt)(scalar_of(n), 0))
    mode, corners = given.get("mode", "nearest"), given.get("align_corners")
    twin = "_upsample_nearest_exact" if mode == "nearest-exact" else f"upsample_{mode}"
    known = hasattr(aten, f"{twin}{len(space)}d") and len(sizes) == len(space) and not (corners is not None and "nearest" in mode)
    if given.get("antialias") or not known:
        return NotImplemented
    if not any(isinstance(f, SYMBOLIC) for f in scales) and (
            "nearest" in mode or not any(isinstance(n, torch.SymInt) for n in (*x.shape, *sizes))):  # torch's twin of nearest is exact
        return NotImplemented
    by_size = size is not None or given.get("recompute_scale_factor")
    given_sizes, factors = (sizes, None) if by_size else (None, [torch.sym_float(f) for f in scales])
    numbers = (given_sizes, *(() if "nearest" in mode else (bool(corners),)), factors)
    whole = recorder.engine.weights.fake(x)
    layout = torch.contiguous_format if recorder.engine.has_symbols(whole) else suggest_memory_format(whole)
    return recorder.plain(getattr(aten, f"{twin}{len(space)}d").vec, (x, *numbers), {}, lambda: torch.empty(
        (*x.shape[:2], *sizes), dtype=x.dtype, device=x.device, memory_format=layout))


def _cov(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """As torch's kernel computes it without weights: with them it looks at their sum, and its graph asks for that."""
    given = {"correction": 1, **dict(zip(("input",), args)), **kwargs}
    x, correction, call = given["input"], given["correction"], recorder.call
    if given.keys() - {"input", "correction"} or x.dim() > 2 or not isinstance(correction, int) or x.dtype == torch.bool:
        return NotImplemented
    x = call(torch.Tensor.view, (x, 1, -1), {}) if x.dim() < 2 else x
    n = x.shape[1]
    mean = call(torch.div, (call(torch.sum, (x, 1), {}), n), {})
    left = n - correction
    if left <= 0:  # torch warns
        return NotImplemented
    x = call(torch.sub, (x, call(torch.unsqueeze, (mean, 1), {})), {})
    product = call(torch.mm, (x, call(torch.conj, (call(torch.t, (x,), {}),), {})), {})
    return call(torch.squeeze, (call(torch.div, (product, left), {}),), {})


def _corrcoef(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    call = recorder.call
    c = call(torch.cov, (args[0] if args else kwargs["input"],), {})
    if c.is_complex():
        return NotImplemented
    if not c.dim():
        return call(torch.div, (c, c), {})
    spread = call(torch.sqrt, (call(torch.diag, (c,), {}),), {})
    for shape in ((-1, 1), (1, -1)):
        c = call(torch.div, (c, call(torch.Tensor.view, (spread, *shape), {})), {})
    return call(torch.clip, (c, -1, 1), {})


def _spaced(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """`linspace` and `logspace` in a number of steps known only at run time."""
    name = function_name(func)
    given = {"base": 10.0, **dict(zip(("start", "end", "steps", "base"), args)), **kwargs}
    start, end, steps = given["start"], given["end"], given.get("steps")
    if not isinstance(steps, torch.SymInt) or any(isinstance(v, torch.Tensor) for v in (start, end, given.get("out"))):
        return NotImplemented
    recorder.engine.expect(cast(Any, sympy.Ge)(scalar_of(steps), 0))
    kind = {"dtype": given.get("dtype") or torch.get_default_dtype(), "device": torch.device(given.get("device") or "cpu")}
    numbers = (start, end, steps, given["base"]) if name == "logspace" else (start, end, steps)
    return recorder.plain(getattr(aten, name).default, numbers, kind, lambda: torch.empty((steps,), **kind))


def _fill_diagonal(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """As a write through a view: torch's kernel asks for sizes as plain numbers."""
    x, given = args[0], {"wrap": False, **dict(zip(("fill_value", "wrap"), args[1:])), **kwargs}
    if given["wrap"] or x.dim() != 2 or not any(isinstance(s, torch.SymInt) for s in x.shape):
        return NotImplemented
    recorder.call(torch.Tensor.fill_, (recorder.call(torch.diagonal, (x,), {}), given["fill_value"]), {})
    return x


def _one_hot(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """By reads and writes that refuse what is no class; torch's own graph only compares. A number of classes in the data: as ones
    scattered into zeros, where torch's kernel asks for it as a plain one."""
    given = {"num_classes": -1, **dict(zip(("input", "num_classes"), args)), **kwargs}
    x, n = given["input" if "input" in given else "tensor"], given["num_classes"]
    call = recorder.call
    if isinstance(n, torch.SymInt):
        zeros = call(torch.zeros, ((*x.shape, n),), {"dtype": torch.int64, "device": x.device})
        return call(torch.scatter, (zeros, -1, call(torch.unsqueeze, (x, -1), {}), 1), {})
    if n <= 0 or x.dtype is not torch.int64:
        return NotImplemented
    classes = call(torch.arange, (n,), {"device": x.device})
    taken = call(torch.reshape, (call(torch.gather, (classes, 0, call(torch.reshape, (x, (-1,)), {})), {}), x.shape), {})
    return call(torch.Tensor.to, (call(torch.eq, (call(torch.unsqueeze, (taken, -1), {}), classes), {}), torch.int64), {})


def _new(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """`x.new(sizes)`, where fakes take a torch.Size for contents; `x.new(numbers)`."""
    x, *sizes = args
    if len(sizes) == 1 and isinstance(sizes[0], (list, tuple, Grown)) and not isinstance(sizes[0], torch.Size):
        return recorder.call(torch.Tensor.new_tensor, (x, sizes[0]), {})
    if len(sizes) == 1 and isinstance(sizes[0], torch.Size) or sizes and all(isinstance(n, (int, torch.SymInt)) for n in sizes):
        return recorder.call(torch.Tensor.new_empty, (x, tuple(sizes[0] if isinstance(sizes[0], torch.Size) else sizes)), {})
    return NotImplemented


def _deepcopy(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A copy by itself: of tensors in one memory Python's are in one memory too."""
    memo = args[1] if len(args) > 1 else kwargs.get("memo", {})
    with torch._C.DisableTorchFunction():
        memory = f"dync memory {storage_of(recorder.engine.weights.fake(args[0]))}"
    if memory in memo:
        recorder.engine.refuse("DY202", "copy.deepcopy of several tensors in one memory", "the copies would have to be in one memory too",
                               "copy each by `.clone()`")
    made = recorder.call(torch.clone, (args[0],), {})
    memo |= {memory: True, id(args[0]): made}
    return made


def _new_tensor(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    return _tensor(recorder, func, args[1:], {"dtype": kwargs.get("dtype") or args[0].dtype})


def _tensor(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.tensor over symbolic numbers and lists of unknown length: stacked tensors."""
    given = tensors_of(args[0])
    flat = tree_flatten(given, is_leaf=is_grown)[0]
    if not any(isinstance(v, (*SYMBOLIC, torch.Tensor)) or is_grown(v) for v in flat):
        return NotImplemented
    lists = {id(v): _numbers(recorder, v) for v in flat if is_grown(v)}
    dtype = kwargs.get("dtype") or _dtype_of([FULL.get(lists[id(v)].dtype, lists[id(v)]) if id(v) in lists else v for v in flat])

    def build(x: Any) -> torch.Tensor:
        x = lists.get(id(x), x)
        if isinstance(x, (list, tuple)):
            lengths = [lists[id(v)].shape[0] if id(v) in lists else len(v) for v in x if id(v) in lists or isinstance(v, (list, tuple))]
            if any(n != lengths[0] for n in lengths[1:]):
                raise of_model(ValueError(f"{MISFIT}: torch.tensor of lists of several lengths"))
            return recorder.call(torch.stack, ([build(v) for v in x],), {})
        if isinstance(x, torch.Tensor):
            return recorder.call(torch.clone, (recorder.call(torch.Tensor.to, (x.detach(), dtype), {}),), {})
        if isinstance(x, torch.SymBool):
            x = recorder.engine.as_int(x)
        return recorder.call(torch.full, ((), x), {"dtype": dtype})

    return build(given)


def _numbers(recorder: Any, items: Any) -> Any:
    """A list of unknown length as a tensor; what has nothing in it is of floats, as torch has it."""
    if not items:
        return recorder.call(torch.zeros, (0,), {"dtype": torch.float64})
    return (items if isinstance(items, Grown) else recorder.engine.collected(items)).numbers()


def _dtype_of(leaves: list[Any]) -> torch.dtype:
    """What torch.tensor makes of numbers, of tensors, and of lists of numbers that are tensors in full precision."""
    kinds = {PLAIN.get(type(v), "int") for v in leaves if not isinstance(v, torch.Tensor)}
    tensors = [v.dtype for v in leaves if isinstance(v, torch.Tensor)]
    rest = torch.bool if kinds == {"bool"} else tensors[0] if tensors else torch.int64
    return torch.get_default_dtype() if "float" in kinds else rest


FULL = {torch.float64: 0.0, torch.int64: 0, torch.bool: False}
"""What the numbers of a list were before they were a tensor."""
PLAIN = {float: "float", torch.SymFloat: "float", bool: "bool", torch.SymBool: "bool"}


def _as_tensor(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    if is_array(args[0]):
        return recorder.call(torch.as_tensor, (args[0].tensor, *args[1:]), kwargs)
    return NotImplemented if isinstance(args[0], torch.Tensor) else _tensor(recorder, func, args, kwargs)


def _stack(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.stack or torch.cat of a list of unknown length."""
    items = args[0] if args else kwargs.get("tensors")
    if isinstance(items, Parts):
        return recorder.call(func, (recorder.engine.collected(items), *args[1:]), {k: v for k, v in kwargs.items() if k != "tensors"})
    if not is_grown(items):
        return NotImplemented
    if not items:
        name = function_name(func)
        raise of_model(RuntimeError(f"{name} expects a non-empty TensorList") if name.endswith("stack") else ValueError(
            "torch.cat(): expected a non-empty list of Tensors"))
    dim = args[1] if len(args) > 1 else kwargs.get("dim", 0)
    name, rank = function_name(func), items.rank
    if name == "stack" or rank == 0 or rank == 1 and name == "vstack":
        return recorder.call(torch.unsqueeze, (items.stacked(), 1), {}) if rank == 0 and name == "vstack" else items.stacked(dim)
    return items.concatenated(int(rank > 1) if name == "hstack" else dim)


SPECIAL = {"__bool__": _bool, "is_nonzero": _bool, "item": _item, "__int__": _number(int, ValueError), "__index__": _number(int, TypeError),
           "__float__": _number(float, ValueError), "tolist": _tolist, "equal": _equal, "allclose": _allclose, "__contains__": _contains,
           "__len__": _len,
           "__getitem__": _indexed, "__setitem__": _indexed, "get:data": _data, "tensor": _tensor, "as_tensor": _as_tensor,
           "unbind": _unbind, "split": _split, "chunk": _split, "max_pool1d": _max_pool1d, "fn": _max_pool1d, "diff": _diff,
           "interpolate": _interpolate, "cov": _cov, "corrcoef": _corrcoef, "linspace": _spaced, "logspace": _spaced,
           "fill_diagonal_": _fill_diagonal, "one_hot": _one_hot, "new": _new,
           "__deepcopy__": _deepcopy, "new_tensor": _new_tensor,
           **dict.fromkeys(("stack", "vstack", "hstack", "cat", "concat", "concatenate"), _stack), **RECURRENT}
"""Calls that read data, by name."""
TAKE_LISTS = (_stack, _split, _tensor, _as_tensor, _new_tensor, _new, _indexed)
"""Those that take lists of a length known only at run time."""
