"""Tensors from anything to a package's home form, and back to what the caller uses. Torch is imported only where torch is in play.

Home form: numpy arrays where no kernel needs torch, torch tensors otherwise. All conversions share memory, but for tensors on another
device and arrays that torch cannot view (read-only, negative strides).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Literal, TypeGuard, cast

import numpy as np

from dync.errors import ArtifactError, GuardError
from dync.runtime.weights import WIDTHS, Array, Layout, Raw, layout, span

Form = Literal["numpy", "torch"]
Give = Callable[[Any], Any]

SHARED = "efdlqihbB?FD"
"""Type characters of numpy's dtypes that torch has too."""


def is_numpy(value: Any) -> TypeGuard[Array]:
    """Whether `value` is a numpy array."""
    return isinstance(value, np.ndarray)


def is_stored(value: Any) -> TypeGuard[Array | Raw]:
    """Whether `value` is what a file's weights are read as."""
    return isinstance(value, (np.ndarray, Raw))


def is_torch(value: Any) -> bool:
    """Whether `value` is a torch tensor; does not import torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_tensor(value: Any) -> bool:
    """Whether `value` is an array of any library."""
    return isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__dlpack__")


def describe(value: Any) -> str:
    """A value as error messages show it: "float32[2, 3]", "int 3"."""
    if is_tensor(value):
        dtype = str(getattr(value, "dtype", "?")).removeprefix("torch.")
        device = f" on {value.device}" if is_torch(value) and value.device.type != "cpu" else ""
        layout = str(value.layout).removeprefix("torch.") + " " if is_torch(value) and str(value.layout) != "torch.strided" else ""
        return f"{layout}{dtype}[{', '.join(map(str, getattr(value, 'shape', ())))}]{device}"
    return f"{type(value).__name__} {value!r}" if isinstance(value, (bool, int, float, str)) else type(value).__name__


def numpy_dtype(name: str) -> np.dtype[Any]:
    """numpy's dtype for torch's name of one; bfloat16 and float8 through ml_dtypes. Raises ArtifactError when that is not installed."""
    if name not in WIDTHS:
        return np.dtype(name)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ArtifactError(f"{name} needs torch or ml_dtypes: pip install ml_dtypes") from error
    return np.dtype(getattr(ml_dtypes, name))


def to_numpy(value: Any) -> Array:
    """An array of any library as a numpy array that shares its memory. Raises GuardError for a device that numpy cannot see."""
    if is_numpy(value):
        return value
    if isinstance(value, Raw):
        return np.frombuffer(value.data, numpy_dtype(value.dtype)).reshape(value.shape)
    if isinstance(value, np.generic):
        return np.asarray(cast(Any, value))
    if is_torch(value):
        return _numpy_of_torch(value)
    try:
        return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise GuardError(f"{describe(value)} cannot be read on the CPU: {error}") from error


def dense(value: Any) -> Any:
    """A torch tensor without gradient whose memory holds its values. Raises GuardError for a layout that is not dense."""
    if str(value.layout) != "torch.strided":
        raise GuardError(f"a tensor of layout {value.layout} given, dense ones are allowed")
    plain = value.detach()
    return plain.resolve_conj().resolve_neg() if plain.is_conj() or plain.is_neg() else plain


def _numpy_of_torch(value: Any) -> Array:
    plain = dense(value)
    name = str(value.dtype).removeprefix("torch.")
    if name in WIDTHS:
        torch = sys.modules["torch"]
        return plain.view(torch.uint16 if WIDTHS[name] == 2 else torch.uint8).numpy().view(numpy_dtype(name))
    if plain.device.type != "cpu":
        raise GuardError(f"{describe(value)} given, tensors on the CPU are allowed")
    return plain.numpy()


def to_torch(value: Any) -> Any:
    """An array of any library as a torch tensor without gradient; shares memory where torch can."""
    torch: Any = import_module("torch")

    if isinstance(value, torch.Tensor):
        return value.detach() if value.requires_grad or type(value) is not torch.Tensor else value
    if isinstance(value, Raw):
        return torch.frombuffer(value.data, dtype=getattr(torch, value.dtype)).reshape(value.shape) if len(value.data) else torch.empty(
            value.shape, dtype=getattr(torch, value.dtype))
    if not isinstance(value, (np.ndarray, np.generic)):
        try:
            return torch.from_dlpack(value)
        except (BufferError, RuntimeError, TypeError, ValueError) as error:
            raise GuardError(f"{describe(value)} cannot be read by torch: {error}") from error
    array: Array = np.asarray(cast(Any, value))
    if not viewable(array):
        array = array.copy()
    if array.dtype.char not in SHARED and array.dtype.name in WIDTHS:  # the name takes microseconds to make
        return torch.from_numpy(array.view(f"uint{8 * WIDTHS[array.dtype.name]}")).view(getattr(torch, array.dtype.name))
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise GuardError(f"{describe(value)} given, which torch has no dtype for") from error


def placed(value: Array | Raw, lies: Layout | None) -> Any:
    """A copy as a torch tensor that lies in memory as told, row by row if none."""
    torch: Any = import_module("torch")

    dtype = value.dtype if isinstance(value, Raw) else value.dtype.name
    words = f"uint{8 * WIDTHS[dtype]}" if dtype in WIDTHS else dtype
    source = np.frombuffer(value.data, words).reshape(value.shape) if isinstance(value, Raw) else value.view(words)
    lies = lies or (0, *(math.prod(source.shape[i + 1:]) for i in range(source.ndim)))
    memory = torch.empty(span(source.shape, lies), dtype=getattr(torch, dtype))
    inside = memory.view(getattr(torch, words)).numpy()[lies[0]:]
    np.lib.stride_tricks.as_strided(inside, source.shape, [s * source.itemsize for s in lies[1:]])[...] = source
    return memory.as_strided(source.shape, lies[1:], lies[0])


def duplicate(tensor: Any) -> Any:
    """A copy of a torch tensor, which lies in memory as it does."""
    lies, plain = layout(tensor), tensor.detach()
    if lies is None or 0 in lies[1:]:
        return plain.clone()
    memory = plain.new_empty(span(plain.shape, lies))
    return memory.as_strided(plain.shape, lies[1:], lies[0]).copy_(plain)


def viewable(array: Array) -> bool:
    """Whether torch can share the array's memory."""
    flags = array.flags
    return flags.writeable and (flags.c_contiguous or all(s >= 0 for s in array.strides)) and array.dtype.isnative


def overlap(a: Any, b: Any) -> bool:
    """Whether two tensors of the home form, or on a device, may share memory, by the bounds of what they span."""
    a, b = getattr(a, "source", a), getattr(b, "source", b)
    if is_numpy(a) or is_numpy(b):
        return is_numpy(a) and is_numpy(b) and bool(np.may_share_memory(a, b))
    (low, high), (other_low, other_high) = _span(a), _span(b)
    return low < other_high and other_low < high


def _span(tensor: Any) -> tuple[int, int]:
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride())) if tensor.numel() else -1
    return tensor.data_ptr(), tensor.data_ptr() + (last + 1) * tensor.element_size()


def to_home(value: Any, form: Form) -> Any:
    """`value` in the home form."""
    return to_numpy(value) if form == "numpy" else to_torch(value)


def caller_form(form: Form) -> Form:
    """What a caller gets who gave no tensor: torch tensors where torch is loaded, as from the eager model."""
    return "torch" if form == "torch" or "torch" in sys.modules else "numpy"


def same(value: Any) -> Any:
    return value


def once(give: Give) -> Give:
    """`give` for one call: a tensor that is returned twice is one object of the caller's, as it was one of the model's."""
    given: dict[int, tuple[Any, Any]] = {}

    def remembered(value: Any) -> Any:
        found = given.get(id(value))
        if found is None:
            found = given[id(value)] = value, give(value)
        return found[1]

    return remembered


def giver(form: Form, example: Any) -> Give:
    """What turns a home tensor into the caller's kind, that of `example`."""
    if isinstance(example, (np.ndarray, np.generic)):
        return same if form == "numpy" else to_numpy
    if is_torch(example):
        give = same if form == "torch" else _torch_of_result()
        device = example.device
        return give if device.type == "cpu" or form == "torch" else lambda value: give(value).to(device)
    return _giver_of_library(example)


@lru_cache(maxsize=1)
def _torch_of_result() -> Give:
    """to_torch, short for what kernels give most: writable arrays of a dtype that torch can share."""
    share: Any = import_module("torch").from_numpy

    def give(value: Any) -> Any:
        return share(value) if type(value) is np.ndarray and value.dtype.char in SHARED and viewable(value) else to_torch(value)

    return give


def _giver_of_library(example: Any) -> Give:
    """By the array API where the library has it, else by its from_dlpack, else numpy: whoever made a lone __dlpack__ object reads that."""
    if hasattr(example, "__array_namespace__"):
        read = getattr(example.__array_namespace__(), "from_dlpack", None)
    else:
        root = sys.modules.get(type(example).__module__.partition(".")[0])
        read = getattr(root, "from_dlpack", None) or getattr(getattr(root, "dlpack", None), "from_dlpack", None)
    if read is None:
        return to_numpy
    return lambda value: read(value if is_torch(value) or value.flags.writeable else value.copy())
