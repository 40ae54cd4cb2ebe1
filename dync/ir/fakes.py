"""Types of new nodes. What is static is computed on fakes; of what has dynamic sizes only the dtype is.

The sizes of a program's fakes belong to the capture that made them: to compute with them would ask it to decide anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.fx.node import map_arg
from torch.utils._pytree import tree_leaves, tree_map

from dync.ir import grouped as grouped  # its description of an operation counts from here on

FAKE_LOG = "torch._subclasses.fake_tensor"
"""Where torch logs operations that fail on fakes."""
_SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


def computed(target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any], like: Any) -> Any:
    """The val of a call: exact where all sizes are static; else the results of `like` in the dtypes that the call gives."""
    args, kwargs = map_arg((args, dict(kwargs)), lambda n: n.meta["val"])  # type: ignore[misc]
    given = tree_leaves((args, kwargs))
    modes = {v.fake_mode for v in (*given, like) if isinstance(v, FakeTensor)}
    if len(modes) < 2 and not any(isinstance(v, _SYMBOLIC) or _is_dynamic(v) for v in given):
        with modes.pop() if modes else FakeTensorMode(), torch.no_grad():
            return target(*args, **kwargs)
    if target is torch.ops.aten.sym_size.int:
        return args[0].shape[args[1]]
    dtypes = _dtypes(target, args, kwargs)
    if isinstance(like, (tuple, list)):
        return type(like)(_retyped(one, dtype) for one, dtype in zip(like, dtypes or [None] * len(like)))
    return _retyped(like, dtypes)


def _is_dynamic(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not all(
        isinstance(s, int) for s in (*value.shape, *value.stride(), value.storage_offset(), value.untyped_storage().nbytes())
    )


def _dtypes(target: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The dtypes of what the call gives, on sizes made up for the symbols; None where these do not fit each other."""
    sizes: dict[Any, int] = {}
    with FakeTensorMode() as mode, torch.no_grad(), _quiet():
        made = tree_map(lambda v: _made_up(v, sizes, mode), (args, kwargs))
        try:
            return tree_map(lambda v: getattr(v, "dtype", None), target(*made[0], **made[1]))
        except (RuntimeError, IndexError, ValueError):
            return None


@contextmanager
def _quiet() -> Iterator[None]:
    """No log of torch about shapes that do not fit."""
    log = logging.getLogger(FAKE_LOG)
    before, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = before


def _made_up(value: Any, sizes: dict[Any, int], mode: FakeTensorMode) -> Any:
    if isinstance(value, torch.Tensor):
        return torch.empty([_size(s, sizes) for s in value.shape], dtype=value.dtype, device=value.device)
    if isinstance(value, torch.SymInt):
        return _size(value, sizes)
    return 1.5 if isinstance(value, torch.SymFloat) else True if isinstance(value, torch.SymBool) else value


def _size(size: Any, sizes: dict[Any, int]) -> int:
    """A number for a size: each symbol becomes another multiple of 12, so that halves and thirds come out even."""
    if isinstance(size, int):
        return size
    expression = size.node.expr
    for symbol in sorted(expression.free_symbols, key=str):
        sizes.setdefault(symbol, 12 * (len(sizes) + 1))
    return max(0, int(expression.xreplace(sizes)))


def _retyped(like: Any, dtype: torch.dtype | None) -> Any:
    if not isinstance(like, FakeTensor) or dtype in (None, like.dtype):
        return like
    with like.fake_mode, torch.no_grad():
        return torch.empty_strided(like.shape, like.stride(), dtype=dtype, device=like.device)
