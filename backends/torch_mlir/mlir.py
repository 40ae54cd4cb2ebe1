"""MLIR text around lowered blocks: types, weights as globals that parameters fill, calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SCOPE = "dync"
"""The scope of the parameters that hold weights."""
ELEMENTS: Mapping[str, str] = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "i1",
    "int64": "i64", "int32": "i32", "int16": "i16", "int8": "i8", "uint8": "i8",
}  # fmt: skip


def tensor(dtype: str, dims: Sequence[int | None]) -> str:
    """ "tensor<?x4xf32>"."""
    return "tensor<" + "".join(f"{'?' if d is None else d}x" for d in dims) + ELEMENTS[dtype] + ">"


def onnx_types(infos: Any) -> list[str]:
    """The MLIR types of a model's inputs or outputs."""
    return [tensor(_dtype(i.type.tensor_type.elem_type), _dims(i.type.tensor_type.shape)) for i in infos]


def dtypes(infos: Any) -> list[str]:
    return [_dtype(i.type.tensor_type.elem_type) for i in infos]


def weight_global(name: str, type: str, inside: bool = False) -> str:
    """A weight, which a parameter of that name fills when the module is loaded; `inside`: which the compiler is given."""
    return f"util.global private @{name}" + (f" : {type}" if inside else f' = #flow.parameter.named<"{SCOPE}"::"{name}"> : {type}')


def load_weight(name: str, type: str) -> str:
    return f"%{name} = util.global.load immutable @{name} : {type}"


def declaration(name: str, inputs: Sequence[str], results: Sequence[str]) -> str:
    return f"func.func private @{name}({', '.join(inputs)}) -> ({', '.join(results)})"


def call(name: str, result: str, arguments: Sequence[str], inputs: Sequence[str], results: Sequence[str]) -> str:
    """A call; its results are `values_of(result, len(results))`."""
    left = f"{result}{f':{len(results)}' if len(results) > 1 else ''} = " if results else ""
    return f"{left}func.call @{name}({', '.join(arguments)}) : ({', '.join(inputs)}) -> ({', '.join(results)})"


def values_of(result: str, count: int) -> list[str]:
    return [f"{result}#{i}" for i in range(count)] if count > 1 else [result] * count


def _dtype(number: int) -> str:
    from dync.backends.onnx.registry import ENUM

    return next(name for name, value in ENUM.items() if value == number)


def _dims(shape: Any) -> list[int | None]:
    return [d.dim_value if d.HasField("dim_value") else None for d in shape.dim]
