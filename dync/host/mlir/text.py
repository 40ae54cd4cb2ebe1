"""MLIR text: types, constants, conversions between numbers. A Python number is a 0-d tensor, as in the ONNX host."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from dync.host.onnx.graph import Type
from dync.host.onnx.walk import NUMBERS
from dync.ir.types import ScalarType, TensorType, ValueType

ELEMENTS = {
    "float32": "f32", "float64": "f64", "float16": "f16", "bfloat16": "bf16", "bool": "i1",
    "int64": "i64", "int32": "i32", "int16": "i16", "int8": "i8", "uint8": "i8",
}  # fmt: skip


def tensor(dtype: str, dims: Sequence[int | None]) -> str:
    """ "tensor<?x4xf32>"."""
    return "tensor<" + "".join(f"{'?' if d is None else d}x" for d in dims) + ELEMENTS[dtype] + ">"


def type_text(type: ValueType) -> str:
    """The MLIR type of a value, with the sizes that are fixed."""
    if isinstance(type, TensorType):
        return tensor(type.dtype, [d if isinstance(d, int) else None for d in type.shape])
    assert isinstance(type, ScalarType), "declined before"
    return tensor(NUMBERS[type.kind], ())


def number(value: bool | int | float, dtype: str) -> str:
    """A number as an attribute of that dtype; floats by their bits, which says nan and inf as well."""
    if dtype == "bool":
        return "true" if value else "false"
    if dtype == "float64":
        return f"0x{struct.unpack('>Q', struct.pack('>d', float(value)))[0]:016X}"
    return str(int(value))


class Names:
    """New SSA names."""

    def __init__(self) -> None:
        self._count = 0

    def fresh(self) -> str:
        self._count += 1
        return f"%t{self._count}"


def element(names: Names, tensor_name: str, dtype: str) -> str:
    """A line that reads a 0-d tensor."""
    return f"{names.fresh()} = tensor.extract {tensor_name}[] : {tensor(dtype, ())}"


def converted(names: Names, value: str, have: str, want: str) -> Iterator[str]:
    """Lines that convert a number, as Python does; the last one's left side is it."""
    if have == want:
        return
    if want == "bool":
        zero = names.fresh()
        yield f"{zero} = arith.constant {number(0, have)} : {ELEMENTS[have]}"
        compare = "arith.cmpf une" if have == "float64" else "arith.cmpi ne"
        yield f"{names.fresh()} = {compare}, {value}, {zero} : {ELEMENTS[have]}"
        return
    if have == "bool":
        wide = names.fresh()
        yield f"{wide} = arith.extui {value} : i1 to i64"
        value = wide
    if want == "float64":
        yield f"{names.fresh()} = arith.sitofp {value} : i64 to f64"


def open_sizes(full: str) -> list[int]:
    """The axes of an MLIR type whose sizes it leaves open."""
    return [i for i, size in enumerate(full.removeprefix("tensor<").split("x")[:-1]) if size == "?"]


def sizes(names: Names, value: str, full: str) -> Iterator[str]:
    """Lines that define the sizes of `value` which its MLIR type `full` leaves open, each by its second line."""
    for i in open_sizes(full):
        place = names.fresh()
        yield f"{place} = arith.constant {i} : index"
        yield f"{names.fresh()} = tensor.dim {value}, {place} : {full}"


def copy(names: Names, made: str, value: str, type: Type, full: str) -> Iterator[str]:
    """Lines that define `made` as `value`, of the MLIR type `full`, in memory of its own, by a choice that no compiler sees through."""
    element, lines = ELEMENTS[type.dtype], list(sizes(names, value, full))
    yield from lines
    dims = [line.partition(" = ")[0] for line in lines[1::2]]
    always, hidden, empty = names.fresh(), names.fresh(), names.fresh()
    yield f"{always} = arith.constant true"
    yield f"{hidden} = util.optimization_barrier {always} : i1"
    yield f"{empty} = tensor.empty({', '.join(dims)}) : {full}"
    axes = ", ".join(f"d{i}" for i in range(type.rank))
    same = f"affine_map<({axes}) -> ({axes})>"
    loops = ", ".join(['"parallel"'] * type.rank)
    zero = "0.0" if "float" in type.dtype else "0"
    yield (
        f"{made} = linalg.generic {{indexing_maps = [{same}, {same}], iterator_types = [{loops}]}} ins({value} : {full}) "
        f"outs({empty} : {full}) {{\n^bb0(%in: {element}, %out: {element}):\n%zero = arith.constant {zero} : {element}\n"
        f"%same = arith.select {hidden}, %in, %zero : {element}\nlinalg.yield %same : {element}\n}} -> {full}"
    )
