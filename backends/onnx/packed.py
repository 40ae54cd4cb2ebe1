"""Packed sequences (torch.nn.utils.rnn.PackedSequence): rows of all sequences at one time, then at the next, longest sequence first.

Recurrent layers on them run on padded data with lengths, which ONNX's layers take.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dync.backends.onnx.builder import Builder, Size, Val
from dync.backends.onnx.linear import GRU, LSTM, RNN_RELU, RNN_TANH, layers
from dync.backends.onnx.scalars import stopped


def before(t: Builder, rows: Val, columns: Val) -> Val:
    """[rows, columns]: whether the number of a row is below that of a column."""
    return t.op("Less", t.unsqueeze(rows, 1), t.unsqueeze(columns, 0))


def flat_rows(t: Builder, x: Val) -> Val:
    """x [time, batch, ...] as [time * batch, ...]."""
    return t.reshape(x, [t.times(t.size(x, 0), t.size(x, 1)), *(t.size(x, d) for d in range(2, x.rank))])


def places(t: Builder, there: Val) -> Val:
    """Which rows of a flat [time * batch] mask are true."""
    return t.squeeze(Val(t.op("NonZero", there).name, "int64", (1, None)), 0)


def pack(t: Builder, x: Val, lengths: Val, batch_first: bool) -> tuple[Val, Val]:
    x = t.swap(x, 0, 1) if batch_first else x
    longest = t.reduce("ReduceMax", lengths, [0])
    last = t.reshape(t.slice(lengths, 0, -1, 2**31), [])
    longest = refused(t, longest, t.op("LessOrEqual", last, t.const(0, "int64")), [0])
    later = t.op("Less", t.slice(lengths, 0, 0, -1), t.slice(lengths, 0, 1, 2**31))
    unsorted = t.op("Greater", t.reduce("ReduceSum", t.cast(Val(later.name, "bool", (None,)), "int64"), [0]), t.const(0, "int64"))
    longest = refused(t, longest, unsorted, [1, 2])
    there = before(t, t.counted(t.size(x, 0)), lengths)
    data = t.op("Gather", flat_rows(t, x), places(t, t.reshape(there, [-1])), axis=0)
    alive = t.cast(before(t, t.counted(longest), lengths), "int64")
    return data, t.reduce("ReduceSum", Val(alive.name, "int64", (None, None)), [1])


def refused(t: Builder, value: Val, wrong: Val, lengths: list[int]) -> Val:
    """`value`; where `wrong` holds, what torch raises for such lengths."""
    import torch

    return stopped(t, value, wrong, torch._VF._pack_padded_sequence, torch.ones(2, len(lengths)), torch.tensor(lengths), False)  # type: ignore[attr-defined]


def padded(t: Builder, data: Val, lengths: Val, steps: Size) -> tuple[Val, Val]:
    """The rows of packed data as [steps, batch, ...], where there is none any row, and [steps, batch]: where there is one."""
    there = before(t, t.counted(steps), lengths)
    flat = t.cast(t.reshape(there, [-1]), "int64")
    row = t.op("Max", t.op("Sub", t.op("CumSum", flat, t.const(0, "int64")), t.const(1, "int64")), t.const(0, "int64"))
    rows = t.op("Gather", data, row, axis=0)
    rest = [t.size(data, d) for d in range(1, data.rank)]
    return t.reshape(Val(rows.name, data.dtype, (None, *data.dims[1:])), [steps, t.size(lengths, 0), *rest]), there


def lengths_of(t: Builder, batch_sizes: Val) -> Val:
    """The length of each sequence, from how many there are at each time."""
    first = t.op("Gather", batch_sizes, t.const(0, "int64"), axis=0)
    alive = t.cast(t.op("Greater", t.unsqueeze(batch_sizes, 1), t.unsqueeze(t.counted(first), 0)), "int64")
    return replace(t.reduce("ReduceSum", Val(alive.name, "int64", (None, None)), [0]), shape=(None,))


def pad(t: Builder, data: Val, batch_sizes: Val, batch_first: bool, value: float, steps: Size) -> tuple[Val, Val]:
    lengths = lengths_of(t, batch_sizes)
    rows, there = padded(t, data, lengths, steps)
    there = t.reshape(there, [steps, t.size(lengths, 0), *([1] * (data.rank - 1))])
    made = Val(t.where(there, rows, t.const(value, data.dtype)).name, data.dtype, (None, None, *data.dims[1:]))
    return (t.swap(made, 0, 1) if batch_first else made), lengths


def stack_of(kind: tuple[str, Sequence[int], dict[str, Any]]) -> Callable[..., tuple[Val, ...]]:
    """aten.lstm.data and its like."""

    def translate(
        t: Builder, data: Val, batch_sizes: Val, hx: Val | Sequence[Val], params: Sequence[Val], has_biases: bool, num_layers: int,
        dropout: float, train: bool, bidirectional: bool,
    ) -> tuple[Val, ...]:  # fmt: skip
        lengths = lengths_of(t, batch_sizes)
        x, there = padded(t, data, lengths, t.size(batch_sizes, 0))
        states = [hx] if isinstance(hx, Val) else hx
        y, *ends = layers(t, kind, x, states, params, has_biases, num_layers, dropout, train, bidirectional, False, lengths)
        out = t.op("Gather", flat_rows(t, y), places(t, t.reshape(there, [-1])), axis=0)
        return out, *ends

    return translate


OPS: dict[str, Callable[..., Any]] = {
    "aten._pack_padded_sequence.default": pack, "aten._pad_packed_sequence.default": pad,
    "aten.lstm.data": stack_of(LSTM), "aten.gru.data": stack_of(GRU), "aten.rnn_tanh.data": stack_of(RNN_TANH),
    "aten.rnn_relu.data": stack_of(RNN_RELU),
}  # fmt: skip
