"""Which element types ONNX Runtime's CPU kernels take. The library's own kernel list is asked, so a gap is found before compiling."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

OPSET = 20
IR_VERSION = 10
CONTRIB = "com.microsoft"

ENUM = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "bool": 9,
        "float16": 10, "float64": 11, "uint32": 12, "uint64": 13, "bfloat16": 16}  # fmt: skip
"""torch's dtype names → onnx.TensorProto.DataType."""
TEXT = {**{name: f"tensor({name})" for name in ENUM}, "float32": "tensor(float)", "float64": "tensor(double)"}
NAME = {text: name for name, text in TEXT.items()}
WIDER = {"bool": ("bool", "uint8", "int32", "int64", "float32"), "uint8": ("uint8", "int32", "int64"), "int8": ("int8", "int32", "int64"),
         "int16": ("int16", "int32", "int64"), "int32": ("int32", "int64"), "float16": ("float16", "float32"),
             "bfloat16": ("bfloat16", "float32")}  # fmt: skip
"""Element types that hold every value of another: what a missing kernel may be replaced with, nearest first."""


class Unsupported(Exception):
    """There is no ONNX form of an operator as used here; the text is the reason, in the user's words where it can be."""


class Plan(NamedTuple):
    """inputs: the dtype that each input must be cast to. outputs: (dtype that the kernel gives, dtype to cast back to)."""

    inputs: tuple[str | None, ...]
    outputs: tuple[tuple[str | None, str | None], ...]


@cache
def _kernels() -> dict[tuple[str, str], list[tuple[int, int, dict[str, frozenset[str]]]]]:
    """(domain, operator) → (first version, last version, type variable → element types) of every CPU kernel."""
    from onnxruntime.capi.onnxruntime_pybind11_state import get_all_opkernel_def

    table: dict[tuple[str, str], list[tuple[int, int, dict[str, frozenset[str]]]]] = {}
    for kernel in get_all_opkernel_def():
        if kernel.provider == "CPUExecutionProvider":
            low, high = kernel.version_range
            types = {var: frozenset(NAME[t] for t in texts if t in NAME) for var, texts in kernel.type_constraints.items()}
            table.setdefault((kernel.domain, kernel.op_name), []).append((low, high, types))
    return table


@cache
def plan(domain: str, op: str, dtypes: tuple[str | None, ...], outputs: int) -> Plan:
    """How to call `op` on inputs of `dtypes` (None: absent). Raises Unsupported when no CPU kernel takes them, even widened."""
    import onnx.defs

    if domain == CONTRIB:
        return Plan(dtypes, ((dtypes[0], None),) * outputs)
    schema = onnx.defs.get_schema(op, OPSET, domain)
    formal = [schema.inputs[min(i, len(schema.inputs) - 1)].type_str for i in range(len(dtypes))]
    bound: dict[str, str] = {}
    for var, dtype in zip(formal, dtypes, strict=True):
        if dtype is not None and var not in NAME:
            assert bound.setdefault(var, dtype) == dtype, f"{op}: {var} is {bound[var]} and {dtype}"
    chosen = _choose(domain, op, schema.since_version, bound)
    only = {c.type_param_str: NAME.get(c.allowed_type_strs[0]) for c in schema.type_constraints if len(c.allowed_type_strs) == 1}
    given = [schema.outputs[min(i, len(schema.outputs) - 1)].type_str for i in range(outputs)]
    return Plan(
        tuple(None if d is None else chosen.get(v, d) for v, d in zip(formal, dtypes, strict=True)),
        tuple((NAME.get(v) or chosen.get(v) or only.get(v), bound.get(v) if chosen.get(v) != bound.get(v) else None) for v in given),
    )


def _choose(domain: str, op: str, version: int, bound: dict[str, str]) -> dict[str, str]:
    kernels = [types for low, high, types in _kernels().get((domain, op), ()) if low <= version <= high]
    for wide in product(*(WIDER.get(d, (d,)) for d in bound.values())):
        chosen = dict(zip(bound, wide, strict=True))
        if any(all(chosen[v] in types[v] for v in chosen if v in types) for types in kernels):
            return chosen
    raise Unsupported(f"ONNX Runtime has no CPU kernel of {op} for {', '.join(sorted(set(bound.values()))) or 'any type'}")
