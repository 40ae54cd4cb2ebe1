"""Recurrent layers over sequences or batches whose sizes are known only at run time.

torch's shape functions unroll a layer over its sequence, which needs the length: it is one operation of the block here, as ATen has it,
and a cell is written out (PyTorch, aten/src/ATen/native/RNN.cpp).
"""

from __future__ import annotations

from typing import Any, cast

import sympy
import torch
from torch.utils._pytree import tree_flatten

from dync.capture import packed
from dync.capture.scalars import scalar_of

aten = torch.ops.aten


def layer(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """A layer on padded sequences: (input, states, weights, has_biases, num_layers, dropout, train, bidirectional, batch_first)."""
    name = func.__name__
    if len(args) != 9 or kwargs or isinstance(args[3], (list, tuple)):
        return packed.rnn(recorder, func, args, kwargs)
    if args[6] and args[5] or not _free(recorder, args[:2]):
        return NotImplemented
    x, states, *rest, batch_first = args
    x = recorder.call(torch.transpose, (x, 0, 1), {}) if batch_first else x
    y, *last = recorder.event(name, lambda *given: _whole(recorder, LAYERS[name], given), (x, states, *rest, False), {})
    return (recorder.call(torch.transpose, (y, 0, 1), {}) if batch_first else y), *last


def _whole(recorder: Any, op: Any, args: Any) -> Any:
    engine = recorder.engine
    x, states = args[:2]
    first = states[0] if isinstance(states, (list, tuple)) else states
    _expect(engine, sympy.Ne, x.shape[0], 0)
    _expect(engine, sympy.Eq, x.shape[1], first.shape[1])
    width = first.shape[2] * (2 if args[7] else 1)
    y = engine.made([*x.shape[:2], width], x)
    out = (y, *(engine.made(list(s.shape), s) for s in (states if isinstance(states, (list, tuple)) else (states,))))
    if recorder.resumes():
        return recorder.resume()
    recorder.record(op, args, {}, out)
    return recorder.done(out)


def cell(recorder: Any, func: Any, args: Any, kwargs: Any) -> Any:
    """(input, state, w_ih, w_hh, b_ih, b_hh)."""
    if kwargs or len(args) != 6 or not _free(recorder, args[:2]):
        return NotImplemented
    x, state, w_ih, w_hh, b_ih, b_hh = args
    h = state[0] if isinstance(state, (list, tuple)) else state
    _expect(recorder.engine, sympy.Eq, x.shape[0], h.shape[0])
    call = recorder.call
    mine, theirs = (call(torch.nn.functional.linear, given, {}) for given in ((x, w_ih, b_ih), (h, w_hh, b_hh)))

    def add(a: Any, b: Any) -> Any:
        return call(torch.add, (a, b), {})

    def mul(a: Any, b: Any) -> Any:
        return call(torch.mul, (a, b), {})

    name = func.__name__
    if name == "lstm_cell":
        i, f, g, o = call(torch.chunk, (add(theirs, mine), 4, 1), {})
        i, f, g, o = (call(torch.tanh if v is g else torch.sigmoid, (v,), {}) for v in (i, f, g, o))
        c = add(mul(f, state[1]), mul(i, g))
        return mul(o, call(torch.tanh, (c,), {})), c
    if name == "gru_cell":
        (r, z, n), (hr, hz, hn) = (call(torch.chunk, (v, 3, 1), {}) for v in (mine, theirs))
        # In place, as ATen: a row after the other, where a sum of its own would go through vectors, with other last bits.
        r, z = (call(torch.Tensor.sigmoid_, (call(torch.Tensor.add_, (b, a), {}),), {}) for a, b in ((r, hr), (z, hz)))
        n = call(torch.tanh, (add(n, mul(hn, r)),), {})
        return add(mul(call(torch.sub, (h, n), {}), z), n)
    return call(torch.tanh if name == "rnn_tanh_cell" else torch.relu, (add(theirs, mine),), {})


def _free(recorder: Any, tensors: Any) -> bool:
    return any(recorder.engine.has_symbols(t) for t in tree_flatten(tensors)[0] if isinstance(t, torch.Tensor))


def _expect(engine: Any, relation: Any, a: Any, b: Any) -> None:
    if isinstance(a, torch.SymInt) or isinstance(b, torch.SymInt):
        engine.expect(cast(Any, relation)(scalar_of(a), scalar_of(b)))


LAYERS = {"lstm": aten.lstm.input, "gru": aten.gru.input, "rnn_tanh": aten.rnn_tanh.input, "rnn_relu": aten.rnn_relu.input}
RECURRENT = {**dict.fromkeys(LAYERS, layer), **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), cell)}
