"""NumPy inside forward: `x.numpy()` is an array over the same tensor, and what NumPy is asked to do with it is recorded as torch
operations, through torch's own NumPy on tensors (torch._numpy, which torch.compile uses in the same way).

An array that NumPy makes of such arrays is one of them too. What torch._numpy lacks is refused.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch.utils._pytree import tree_flatten, tree_map

from dync.capture.image import SYMBOLIC
from dync.capture.places import is_user

Patch = Callable[[Any, str, Any], None]


def is_array(x: Any) -> bool:
    """Whether x is an array over a tensor of the program."""
    numpy = sys.modules.get("torch._numpy")
    return numpy is not None and type(x) is numpy.ndarray


def tensors_of(tree: Any) -> Any:
    """A structure with the tensor in place of each array."""
    return tree_map(lambda x: x.tensor if is_array(x) else x, tree, is_leaf=is_array)


def array_of(engine: Any, x: torch.Tensor) -> Any:
    """The array over a tensor's memory. NumPy's doors are opened to such arrays for as long as the capture runs."""
    numpy: Any = import_module("torch._numpy")
    if not engine.arrays:
        engine.arrays = True
        _open(engine, numpy, engine.patch)
    return numpy.ndarray(x)


def open_makers(engine: Any, patch: Patch) -> None:
    """numpy.array and its like take what is known only at run time."""
    for name in ("array", "asarray", "ascontiguousarray"):
        patch(np, name, _maker(engine, name))


def _open(engine: Any, numpy: Any, patch: Patch) -> None:
    original: Any = numpy.ndarray.__getattribute__

    def get(self: Any, name: str) -> Any:
        return np.ndarray if name == "__class__" and is_user(sys._getframe(1).f_code) else original(self, name)

    def function(self: Any, asked: Any, types: Any, args: Any, kwargs: Any) -> Any:
        home = numpy
        for part in asked.__module__.split(".")[1:]:
            home = getattr(home, part, None)
        return _done(engine, getattr(home, asked.__name__, None), asked, args, kwargs)

    def ufunc(self: Any, asked: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return _done(engine, getattr(numpy, asked.__name__, None) if method == "__call__" else None, asked, args, kwargs)

    def array(self: Any, *_: Any, **__: Any) -> Any:
        return stand_in(engine, "code that is not NumPy's", self.tensor)

    patch(numpy.ndarray, "__getattribute__", get)
    patch(numpy.ndarray, "__array_function__", function)
    patch(numpy.ndarray, "__array_ufunc__", ufunc)
    patch(numpy.ndarray, "__array__", array)
    from_numpy = torch.from_numpy
    patch(torch, "from_numpy", lambda x: x.tensor if is_array(x) else from_numpy(x))
    made: Any = numpy.DType.__init__
    patch(numpy.DType, "__init__", lambda self, x: made(self, np.dtype(x).name if _is_real_dtype(x) else x))


def _is_real_dtype(x: Any) -> bool:
    return isinstance(x, np.dtype) or isinstance(x, type) and issubclass(x, np.generic)


def _maker(engine: Any, name: str) -> Any:
    real = getattr(np, name)

    def make(x: Any, dtype: Any = None, **kwargs: Any) -> Any:
        if not any(isinstance(v, (*SYMBOLIC, torch.Tensor)) or is_array(v) for v in tree_flatten(x, is_leaf=is_array)[0]):
            return real(x, dtype, **kwargs)
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
        try:
            return twin(*args, **kwargs)
        except NotImplementedError as error:
            missing += f", {error},"
    return stand_in(engine, missing, next(a for a in tree_flatten((args, kwargs), is_leaf=is_array)[0] if is_array(a)).tensor)


def stand_in(engine: Any, missing: str, x: torch.Tensor) -> Any:
    """Notes that real contents are asked for; an array of the right form stands for them, so that later problems are seen too."""
    engine.problem("DY201", f"a numpy array is made of a tensor by {missing}", "its contents exist only at run time",
                   "stay in torch, or do this outside the model")
    return np.ones([s if isinstance(s, int) else 1 for s in x.shape], str(x.dtype).removeprefix("torch."))
