"""NumPy inside forward: `x.numpy()` is an array over the same tensor, and what NumPy is asked to do with it is recorded as torch
operations, through torch's own NumPy on tensors (torch._numpy, which torch.compile uses in the same way).

An array that NumPy makes of such arrays is one of them too. What torch._numpy lacks is refused.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map

from dync.capture.places import is_own, is_storing, is_user

QUANTILES = frozenset({"median", "percentile", "quantile"})
RUN_TIME = (torch.Tensor, torch.SymInt, torch.SymFloat, torch.SymBool)
Patch = Callable[[Any, str, Any], None]


def is_array(x: Any) -> bool:
    """Whether x is an array over a tensor of the program."""
    numpy = sys.modules.get("torch._numpy")
    return numpy is not None and type(x) is numpy.ndarray


def tensors_of(tree: Any) -> Any:
    """A structure with the tensor in place of each array."""
    return tree_map(lambda x: x.tensor if is_array(x) else x, tree, is_leaf=is_array)


def class_of(array: Any) -> type:
    """The class of the array that this one stands for."""
    return np.ndarray if array.tensor.dim() else dtype_of(array.tensor).type


def dtype_of(x: torch.Tensor) -> np.dtype[Any]:
    """NumPy's name for a tensor's dtype."""
    return np.dtype(str(x.dtype).removeprefix("torch."))


def number_of(x: Any) -> Any:
    """The number in a tensor or array of no dimensions, read at run time; anything else unchanged."""
    x = x.tensor if is_array(x) and not x.tensor.dim() else x
    return x.item() if isinstance(x, torch.Tensor) else x


def given(name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """The arguments of a torch function as torch takes arrays: NumPy's scalars are numbers, what is an index or becomes a tensor is one."""
    if name in MAKERS:
        return args, kwargs
    if name in INDEXING:
        return (args[0], index_of(args[1]), *map(_plain, args[2:])), kwargs
    return tree_map(_plain, (tuple(args), kwargs), is_leaf=is_array)


def _plain(x: Any) -> Any:
    return number_of(x) if is_array(x) and not x.tensor.dim() else x


def index_of(x: Any) -> Any:
    """An index into a tensor as torch takes it: with tensors and numbers for arrays."""
    if isinstance(x, slice):
        return slice(*map(_plain, (x.start, x.stop, x.step)))
    if isinstance(x, (tuple, list)):
        return type(x)(map(index_of, x))
    return x.tensor if is_array(x) else x


MAKERS = frozenset({"tensor", "as_tensor", "asarray", "new_tensor"})
"""Functions of torch that take arrays, and keep their dtype."""
INDEXING = frozenset({"__getitem__", "__setitem__"})
ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def array_of(engine: Any, x: torch.Tensor) -> Any:
    """The array over a tensor's memory. NumPy's doors are opened to such arrays for as long as the capture runs."""
    numpy: Any = import_module("torch._numpy")
    if not engine.arrays:
        engine.arrays = True
        _open(engine, numpy, engine.patch)
    return numpy.ndarray(x)


def arrays_for(function: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arguments of a function of NumPy: lists of tensors or of numbers known only at run time as the arrays that NumPy makes of them."""
    scalars = isinstance(function, np.ufunc) or function in OF_SCALARS
    taken = len(args) if scalars else 1
    return (*(np.array(a) if _holds_run_time(a) or scalars and isinstance(a, RUN_TIME[1:]) else a for a in args[:taken]), *args[taken:])


OF_SCALARS = (np.clip, np.nan_to_num, np.round, np.around)
"""Functions of NumPy's that are no ufuncs, and give one of NumPy's scalars for a number."""


def _holds_run_time(x: Any) -> bool:
    return type(x) in (list, tuple) and not any(map(is_array, x)) and any(isinstance(v, RUN_TIME) for v in tree_flatten(x)[0])


def open_makers(engine: Any, patch: Patch) -> None:
    """numpy.array and its like take what is known only at run time."""
    for name in ("array", "asarray", "ascontiguousarray"):
        patch(np, name, _maker(engine, name))
    for name in ("zeros", "ones", "empty", "full", "arange", "eye", "identity"):
        patch(np, name, _sized_maker(engine, name))
    from_numpy = torch.from_numpy
    patch(torch, "from_numpy", lambda x: x.tensor if is_array(x) else from_numpy(x))


def _open(engine: Any, numpy: Any, patch: Patch) -> None:
    original: Any = numpy.ndarray.__getattribute__

    def get(self: Any, name: str) -> Any:
        own = PRETENDED.get(name)
        if own is not None and _stranger(sys._getframe(1)):
            return own(original(self, "tensor"))
        if not name.startswith("__") and hasattr(np.ndarray, name) and not hasattr(numpy.ndarray, name):
            return getattr(stand_in(engine, f"`numpy.ndarray.{name}`", original(self, "tensor")), name)
        return original(self, name)

    def function(self: Any, asked: Any, types: Any, args: Any, kwargs: Any) -> Any:
        home = numpy
        for part in asked.__module__.split(".")[1:]:
            home = getattr(home, part, None)
        return _done(engine, getattr(home, asked.__name__, None), asked, args, kwargs)

    def ufunc(self: Any, asked: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        if method == "at" and asked.__name__ in ("add", "subtract") and len(args) == 3 and not kwargs:
            return _added_at(engine, asked.__name__ == "subtract", *args)
        if asked.__name__ in FLOATING and all(map(_is_whole, args)):
            args = tuple(numpy.ndarray(a.tensor.double()) if is_array(a) else a for a in args)
        return _done(engine, getattr(numpy, asked.__name__, None) if method == "__call__" else None, asked, args, kwargs)

    def array(self: Any, *_: Any, **__: Any) -> Any:
        if is_storing(sys._getframe(1)):
            trace(engine)
        return stand_in(engine, "code that is not NumPy's", self.tensor)

    patch(numpy.ndarray, "__getattribute__", get)
    patch(numpy.ndarray, "__array_function__", function)
    patch(numpy.ndarray, "__array_ufunc__", ufunc)
    patch(numpy.ndarray, "__array__", array)
    for name in ("__str__", "__repr__", "__format__"):
        patch(numpy.ndarray, name, lambda self, *_: engine.text_of(None))
    for name in (*ARITHMETIC, *COMPARISONS):
        patch(numpy.ndarray, f"__{name}__", _yielding(getattr(numpy.ndarray, f"__{name}__")))
    for name in ARITHMETIC:
        patch(numpy.ndarray, f"__r{name}__", _giving(getattr(numpy.ndarray, f"__r{name}__")))
    for name in ("__copy__", "__deepcopy__"):
        patch(numpy.ndarray, name, lambda self, *_: numpy.ndarray(self.tensor.clone()))
    patch(numpy.ndarray, "flatten", lambda self, order="C": numpy.ndarray(self.tensor.flatten().clone()))
    cast: Any = numpy.ndarray.astype

    def astype(self: Any, dtype: Any, *args: Any, copy: bool = True, **kwargs: Any) -> Any:
        made = cast(self, dtype, *args, copy=copy, **kwargs)
        return numpy.ndarray(made.tensor.clone()) if copy and made.tensor.dtype == self.tensor.dtype else made

    patch(numpy.ndarray, "astype", astype)
    part: Any = numpy.ndarray.__getitem__

    def getitem(self: Any, index: Any) -> Any:
        made = part(self, index)
        ends = index if isinstance(index, tuple) else (index,)
        if any(isinstance(i, slice) and isinstance(i.step, int) and i.step < 0 for i in ends):  # a view in NumPy, here a copy
            engine.keep(self.tensor)
            engine.keep(made.tensor)
        return made

    patch(numpy.ndarray, "__getitem__", getitem)
    made: Any = numpy.DType.__init__
    patch(numpy.DType, "__init__", lambda self, x: made(self, np.dtype(x).name if _is_real_dtype(x) else x))


def _class(x: torch.Tensor) -> type:
    """What an array over x says that it is: torch's C++ takes a scalar of NumPy's for a number, as it takes the real ones."""
    if x.dim():
        return np.ndarray
    return torch.SymBool if x.dtype == torch.bool else torch.SymFloat if x.dtype.is_floating_point else torch.SymInt


PRETENDED: dict[str, Callable[[torch.Tensor], Any]] = {"__class__": _class, "dtype": dtype_of}
"""What an array tells of itself to code other than ours, as the real one would."""


def _stranger(frame: Any) -> bool:
    """Whether a frame is neither ours nor of torch's NumPy."""
    return not is_own(frame.f_code) and not frame.f_globals.get("__name__", "").startswith("torch._numpy")


def _yielding(method: Any) -> Any:
    """An array's operator, which leaves tensors to the tensor's own."""
    return lambda self, other: NotImplemented if isinstance(other, torch.Tensor) else method(*_promoted(method, self, other))


def _giving(method: Any) -> Any:
    """`tensor + array`, which torch leaves to the array: NumPy's sum, as a tensor."""
    return lambda self, other: method(self, other).tensor if isinstance(other, torch.Tensor) else method(*_promoted(method, self, other))


def _unscalar(x: Any) -> Any:
    """A scalar of NumPy's as torch's NumPy takes it: an array with no dimensions, which keeps its dtype."""
    return import_module("torch._numpy").ndarray(torch.tensor(x)) if isinstance(x, np.generic) else x


FLOATING = frozenset({"divide", "arctan2", "hypot", "logaddexp", "logaddexp2", "copysign"})
"""Operations of two arguments that give doubles for integers, where torch gives float32 or nothing."""


def _is_whole(x: Any) -> bool:
    """Whether an operand holds integers."""
    if is_array(x):
        return not x.tensor.dtype.is_floating_point and not x.tensor.dtype.is_complex
    return isinstance(x, (int, torch.SymInt)) or isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind in "biu"


def _promoted(method: Any, x: Any, other: Any) -> tuple[Any, Any]:
    """Operands as torch's NumPy takes them: with arrays for scalars, and integers that are divided as NumPy's doubles."""
    other = _unscalar(other)
    whole = _is_whole(other)
    divided = "truediv" in method.__name__ and whole and not x.tensor.dtype.is_floating_point
    return (type(x)(x.tensor.double()) if divided else x), other


def _is_real_dtype(x: Any) -> bool:
    return isinstance(x, np.dtype) or isinstance(x, type) and issubclass(x, np.generic)


def _sized_maker(engine: Any, name: str) -> Any:
    """`numpy.zeros` and its like, of sizes and numbers that are known only at run time too."""
    real = getattr(np, name)

    def make(*args: Any, **kwargs: Any) -> Any:
        floats = any(isinstance(v, (float, torch.SymFloat)) for v in tree_flatten((args, kwargs), is_leaf=is_array)[0])
        traced = is_run_time((args, kwargs)) or engine.traces_arrays and is_user(sys._getframe(1).f_code)
        if not traced or name == "arange" and floats:  # torch adds up floats another way
            return real(*args, **kwargs)
        args, kwargs = tree_map(_plainly, (args, kwargs), is_leaf=is_array)
        return array_of(engine, getattr(import_module("torch._numpy"), name)(*args, **kwargs).tensor)

    return make


def _plainly(x: Any) -> Any:
    """An argument as torch's NumPy takes it: a dtype by its name, a shape as a list."""
    return np.dtype(x).name if _is_dtype(x) else x.tolist() if isinstance(x, np.ndarray | np.generic) else number_of(x)


def _is_dtype(x: Any) -> bool:
    return _is_real_dtype(x) or isinstance(x, type) and x in (bool, int, float)


def is_run_time(tree: Any) -> bool:
    """Whether a structure holds what is known only at run time."""
    return any(isinstance(v, RUN_TIME) or is_array(v) for v in tree_flatten(tree, is_leaf=is_array)[0])


def written(engine: Any, index: Any) -> None:
    """A real array is written at an index that may be known only at run time."""
    if is_run_time(index):
        trace(engine)


def read(engine: Any, x: Any, index: Any) -> Any:
    """`x[index]` of a real array, at an index that may be known only at run time: of one that forward makes it is traced from its making.

    A row of another is a view in NumPy. Of an array of the model's nothing may write it; what forward itself does to that is DY408.
    """
    if not is_run_time(index) or x.dtype.kind not in "biuf":
        return x[index]
    own = id(x) in engine.heap.index
    if not own:
        trace(engine)
    whole = torch.tensor(x)
    part = array_of(engine, whole)[index]
    with torch._C.DisableTorchFunction():
        view = engine.memory.of(engine.weights.fake(part.tensor)) is engine.memory.of(engine.weights.fake(whole))
    if own:
        engine.keep(part.tensor)
    elif view and part.tensor.dim():
        engine.refuse("DY201", "rows of a numpy array that forward makes are taken at a place known only at run time",
                      "they are views, and what is written to the array or to them would have to show in the other",
                      "make the array by np.zeros, np.ones, np.full or np.array, or take a tensor's rows")
    return part


def _maker(engine: Any, name: str) -> Any:
    real = getattr(np, name)

    def make(x: Any, dtype: Any = None, **kwargs: Any) -> Any:
        if not is_run_time(x):
            made = real(x, dtype, **kwargs)
            traced = engine.traces_arrays and name == "array" and made.dtype.kind in "biuf" and is_user(sys._getframe(1).f_code)
            return array_of(engine, torch.tensor(made)) if traced else made
        kind = None if dtype is None else getattr(torch, np.dtype(dtype).name)
        plain = tensors_of(x)
        if not isinstance(plain, torch.Tensor):
            floats = any(isinstance(v, (float, torch.SymFloat)) for v in tree_flatten(plain)[0])
            plain = torch.tensor(plain, dtype=torch.float64 if floats and kind is None else kind)
        elif name == "array":
            plain = plain.clone()
        return array_of(engine, plain if kind is None else plain.to(kind))

    return make


def _done(engine: Any, twin: Any, asked: Any, args: Any, kwargs: Any) -> Any:
    missing = f"`numpy.{asked.__name__}`"
    if twin is not None:
        args, kwargs = tree_map(_unscalar, (args, kwargs), is_leaf=is_array)
        try:
            made = twin(*args, **kwargs)
            return _quantile(asked, made, args, kwargs) if asked.__name__ in QUANTILES else made
        except NotImplementedError as error:
            missing += f", {error},"
    return stand_in(engine, missing, next(a for a in tree_flatten((args, kwargs), is_leaf=is_array)[0] if is_array(a)).tensor)


def _quantile(asked: Any, made: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A quantile in NumPy's form: torch's twin gives a row of one for a whole array, and other dtypes and places for several."""
    given = inspect.signature(asked).bind(*args, **kwargs).arguments
    if np.ndim(given.get("q", 0.5)):
        raise NotImplementedError("of several quantiles")
    return made if given.get("axis") is not None or given.get("keepdims") else made.reshape(())


def _added_at(engine: Any, less: bool, x: Any, index: Any, values: Any) -> None:
    """`np.add.at(x, index, values)`: one after another, so that an element may be met several times."""
    if not is_array(x) or engine.caught() or any(isinstance(i, slice) for i in (index if isinstance(index, tuple) else (index,))):
        trace(engine)
        stand_in(engine, "`numpy.add.at`", torch.zeros(0))
        return
    tensor, index = x.tensor, tensors_of(index)
    values = torch.as_tensor(tensors_of(values)).to(tensor.dtype)
    places = tuple(torch.as_tensor(i) for i in (index if isinstance(index, tuple) else (index,)))
    tensor.index_put_(places, -values if less else values, accumulate=True)


def trace(engine: Any) -> None:
    """A real array is given what is known only at run time: those that forward makes are arrays over tensors, from now on."""
    if not engine.traces_arrays:
        engine.traces_arrays = True
        engine.start_again()


def stand_in(engine: Any, missing: str, x: torch.Tensor) -> Any:
    """Notes that real contents are asked for; an array of the right form stands for them, so that later problems are seen too."""
    engine.problem("DY201", f"a numpy array is made of a tensor by {missing}", "its contents exist only at run time",
                   "stay in torch, or do this outside the model")
    return np.ones([s if isinstance(s, int) else 1 for s in x.shape], str(x.dtype).removeprefix("torch."))
