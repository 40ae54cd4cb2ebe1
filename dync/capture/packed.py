"""Packed sequences, whose lengths are data: torch's own operations on them, kept whole, and the form of what they give."""

from __future__ import annotations

from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._python_dispatch import _disable_current_modes

from dync.capture.tape import Val, of_model

aten = torch.ops.aten
RNNS = {name: getattr(aten, name).data for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")}
"""torch's recurrent networks by name, on packed data."""
PACKED = frozenset({aten._pack_padded_sequence.default, aten._pad_packed_sequence.default, *RNNS.values()})


def form(recorder: Any, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Fakes of what `func` gives. A fake of packed data has as many rows as the lengths sum up to."""
    if func is aten._pack_padded_sequence.default:
        return _pack(recorder, *args)
    if func is aten._pad_packed_sequence.default:
        return _pad(recorder, *args)
    data, _, hidden, *_ = args
    states = hidden if func is aten.lstm.data else [hidden]
    made = recorder.engine.made
    ways = 2 if args[-1] else 1
    return (made([data.shape[0], states[0].shape[2] * ways], data), *(made(list(h.shape), h, dense=True) for h in states))


def _pack(recorder: Any, x: Any, lengths: Any, batch_first: bool) -> tuple[Any, ...]:
    engine = recorder.engine
    batch, steps = (x.shape[0], x.shape[1]) if batch_first else (x.shape[1], x.shape[0])
    known = recorder.constant(engine.value(lengths))
    if known is not None and known.dtype == torch.int64 and known.numel():
        rows, longest = int(known.sum()), int(known.max())
    else:
        most, number = engine.known_int(steps), engine.known_int(batch)
        longest = engine.shape_env.new_symbol(1, most)
        rows = engine.shape_env.new_symbol(number or 1, most * number if most is not None and number is not None else None)
    return engine.made([rows, *x.shape[2:]], x, dense=True), engine.made([longest], lengths, dense=True)


def check_lengths(call: Any, read: Any, x: Any, lengths: Any, batch_first: bool) -> None:
    """Raises on the path where a sequence is empty."""
    if read(call(aten.any.default, call(aten.le.Scalar, lengths, 0))):
        raise of_model(RuntimeError("Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"))


def _pad(recorder: Any, data: Any, batch_sizes: Any, batch_first: bool, value: Any, steps: Any) -> tuple[Any, ...]:
    engine = recorder.engine
    batch = batch_of(recorder, engine.value(batch_sizes))
    if batch is None:
        batch = recorder.item(recorder.call(torch.select, (batch_sizes, 0, 0), {}))
    out = engine.made([steps, batch, *data.shape[1:]], data, dense=True)
    with torch._C.DisableTorchFunction(), _disable_current_modes(), engine.fake_mode:
        return out.transpose(0, 1) if batch_first else out, torch.empty((batch,), dtype=torch.int64)


def batch_of(recorder: Any, batch_sizes: Any) -> Any:
    """How many sequences are packed: the first batch has a row of each."""
    made = recorder.engine.made_by.get(batch_sizes)
    if made is None or made.target is not aten._pack_padded_sequence.default or not isinstance(made.args[1], Val):
        return None
    return made.args[1].fake.shape[0]


def first_batch(recorder: Any, source: Any) -> Any:
    """The number that a tensor is where it is `batch_sizes[0]`; None for any other."""
    made = recorder.engine.made_by.get(source)
    return batch_of(recorder, made.args[0]) if made is not None and made.target is aten.select.int and made.args[1:] == (0, 0) else None


def rnn(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """torch.lstm and the like on packed data."""
    op = RNNS.get(getattr(func, "__name__", ""))
    if op is None or len(args) != len(op._schema.arguments) or not isinstance(args[1], torch.Tensor) or isinstance(args[3], bool):
        return NotImplemented
    return recorder.event(op.name(), lambda *a: recorder.dispatch(op, a, {}), args, {})


def open_padding(recorder: Any, patch: Any) -> None:
    """`pad_packed_sequence` asks torch with plain numbers, before any mode sees it: here it asks with symbolic ones."""
    original, op = torch._VF._pad_packed_sequence, aten._pad_packed_sequence.default

    def padded(*args: Any) -> Any:
        return recorder.dispatch(op, args, {})

    def pad(*args: Any) -> Any:
        return recorder.engine.do(padded, *args) if isinstance(args[0], FakeTensor) else original(*args)

    patch(torch._VF, "_pad_packed_sequence", pad)
    expected: Any = torch.nn.RNNBase.get_expected_hidden_size

    def hidden_size(self: Any, input: Any, batch_sizes: Any) -> Any:
        """Without `int(batch_sizes[0])`, which may be known only at run time."""
        if not isinstance(batch_sizes, FakeTensor):
            return expected(self, input, batch_sizes)
        return self.num_layers * (2 if self.bidirectional else 1), batch_sizes[0].item(), self.proj_size or self.hidden_size

    patch(torch.nn.RNNBase, "get_expected_hidden_size", hidden_size)
