"""Weights as bytes: the safetensors format, written as a stream and read in place from a memory map.

Format: https://github.com/huggingface/safetensors#format: 8 bytes of header length, a JSON header, then the tensors without holes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from dync.errors import ArtifactError

Array = np.ndarray[Any, np.dtype[Any]]
Layout = tuple[int, ...]
"""How a tensor lies in memory: elements between an address that is a multiple of ALIGNMENT and its first one, then its strides."""
ALIGNMENT = 64
"""Bytes; torch's own allocations begin at multiples of it."""
SPARSEST = 1 << 20
"""Elements that a tensor with gaps may span for its layout to be kept."""
MAX_HEADER = 100_000_000
CODES = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2"}
"""torch's name of a dtype → its code in the format."""
NAMES = {code: name for name, code in CODES.items()}
WIDTHS = {"bfloat16": 2, "float8_e4m3fn": 1, "float8_e5m2": 1}
"""Bytes of the dtypes that numpy lacks."""


@dataclass(frozen=True)
class Raw:
    """A tensor whose dtype numpy lacks, as its bytes in C order."""

    dtype: str
    shape: tuple[int, ...]
    data: Any


class Entry(msgspec.Struct, frozen=True):
    """One tensor of a safetensors header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def raw(name: str, tensor: Any) -> Raw:
    """A torch tensor, numpy array or Raw as contiguous little-endian bytes. Raises ArtifactError for a dtype that the format lacks."""
    if isinstance(tensor, Raw):
        return tensor
    if not hasattr(tensor, "detach"):
        own: Array = tensor
        dtype, array = own.dtype.name, np.ascontiguousarray(own, own.dtype.newbyteorder("<"))
    else:
        import torch

        dtype = str(tensor.dtype).removeprefix("torch.")
        flat = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        array = flat.view(torch.uint8).numpy() if flat.numel() else np.empty(0, np.uint8)
    if dtype not in CODES:
        raise ArtifactError(f"weight {name!r} is {dtype}, which an artifact cannot hold")
    return Raw(dtype, tuple(tensor.shape), array.reshape(-1).view(np.uint8).data)


def layout(tensor: Any) -> Layout | None:
    """How a torch tensor lies in memory where that is not row by row from the start: matrix products round by it. Else none."""
    if not hasattr(tensor, "storage_offset") or not tensor.numel():
        return None
    offset = tensor.storage_offset() % (ALIGNMENT // math.gcd(ALIGNMENT, tensor.element_size()))
    found = (offset, *tensor.stride())
    return found if (offset or not tensor.is_contiguous()) and fits(tensor.shape, found) else None


def fits(shape: Sequence[int], lies: Layout) -> bool:
    """Whether a tensor of this shape can lie so, without more room than SPARSEST or twice its own."""
    able = len(lies) == 1 + len(shape) and min(lies) >= 0 and lies[0] < ALIGNMENT
    return able and span(shape, lies) <= max(SPARSEST, 2 * math.prod(shape))


def span(shape: Sequence[int], lies: Layout) -> int:
    """Elements from the aligned address to behind a tensor's last element."""
    return lies[0] + 1 + sum((n - 1) * s for n, s in zip(shape, lies[1:], strict=True)) if math.prod(shape) else 0


def width(dtype: str) -> int:
    """Bytes of one element."""
    return WIDTHS.get(dtype) or np.dtype(dtype).itemsize


def safetensors(weights: Mapping[str, Any]) -> Iterator[Any]:
    """The pieces of a safetensors file, wide elements first so that each tensor is aligned to its element."""
    found = {name: raw(name, tensor) for name, tensor in weights.items()}
    order = sorted(found, key=lambda n: (-width(found[n].dtype), n))
    header, end = {}, 0
    for name in order:
        size = len(found[name].data)
        header[name] = {"dtype": CODES[found[name].dtype], "shape": list(found[name].shape), "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)
    yield len(text).to_bytes(8, "little") + text
    for name in order:
        yield found[name].data


def read(buffer: memoryview) -> dict[str, Array | Raw]:
    """The tensors of a safetensors file, as views into `buffer`. Raises ArtifactError for anything out of place."""
    length = int.from_bytes(buffer[:8], "little")
    if len(buffer) < 8 or length > min(MAX_HEADER, len(buffer) - 8):
        raise ArtifactError("the weights have a damaged header")
    try:
        header = msgspec.json.decode(buffer[8:8 + length], type=dict[str, msgspec.Raw])
        entries = {n: msgspec.json.decode(v, type=Entry) for n, v in header.items() if n != "__metadata__"}
    except msgspec.DecodeError as error:
        raise ArtifactError(f"the weights have a damaged header: {error}") from error
    body = buffer[8 + length:]
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        if entry.data_offsets[0] != end or entry.dtype not in NAMES or any(n < 0 for n in entry.shape):
            raise ArtifactError(f"weight {name!r} is out of place")
        end = entry.data_offsets[1]
        if end - entry.data_offsets[0] != math.prod(entry.shape) * width(NAMES[entry.dtype]) or end > len(body):
            raise ArtifactError(f"weight {name!r} has another size than its shape says")
    if end != len(body):
        raise ArtifactError("the weights have bytes to spare")
    return {n: _view(e, body[e.data_offsets[0]:e.data_offsets[1]]) for n, e in entries.items()}


def _view(entry: Entry, data: memoryview) -> Array | Raw:
    dtype = NAMES[entry.dtype]
    if dtype in WIDTHS:
        return Raw(dtype, entry.shape, data)
    return np.frombuffer(data, np.dtype(dtype)).reshape(entry.shape)
