"""Recurrent layers, unrolled over time: Relax has no loop that fusion could see through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dync.backends.onnx.builder import Val
from dync.backends.onnx.registry import Unsupported
from dync.backends.tvm.builder import RelaxBuilder, known

LONGEST = 256
"""Time steps that are unrolled at most."""


def lstm(t: RelaxBuilder, x: Val, w: Val, r: Val, b: Val | None, lens: Val | None, h: Val, c: Val, **attributes: Any) -> tuple[Val, ...]:
    """ONNX's LSTM: gates input, output, forget, cell."""

    def step(gates: Val, rest: Val, state: Sequence[Val]) -> list[Val]:
        i, o, f, g = t.ops("Split", t.op("Add", gates, rest), count=4, axis=1, num_outputs=4)
        cell = t.op("Add", t.op("Mul", t.op("Sigmoid", f), state[1]), t.op("Mul", t.op("Sigmoid", i), t.op("Tanh", g)))
        return [t.op("Mul", t.op("Sigmoid", o), t.op("Tanh", cell)), cell]

    return unrolled(t, x, w, r, b, lens, [h, c], step, **attributes)


def gru(t: RelaxBuilder, x: Val, w: Val, r: Val, b: Val | None, lens: Val | None, h: Val, **attributes: Any) -> tuple[Val, ...]:
    """ONNX's GRU with linear_before_reset: gates update, reset, hidden."""
    assert attributes.pop("linear_before_reset") == 1

    def step(gates: Val, rest: Val, state: Sequence[Val]) -> list[Val]:
        az, ar, an = t.ops("Split", gates, count=3, axis=1, num_outputs=3)
        bz, br, bn = t.ops("Split", rest, count=3, axis=1, num_outputs=3)
        z, reset = t.op("Sigmoid", t.op("Add", az, bz)), t.op("Sigmoid", t.op("Add", ar, br))
        new = t.op("Tanh", t.op("Add", an, t.op("Mul", reset, bn)))
        return [t.op("Add", new, t.op("Mul", z, t.op("Sub", state[0], new)))]

    return unrolled(t, x, w, r, b, lens, [h], step, **attributes)


def rnn(t: RelaxBuilder, x: Val, w: Val, r: Val, b: Val | None, lens: Val | None, h: Val, **attributes: Any) -> tuple[Val, ...]:
    function = attributes.pop("activations", ["Tanh"])[0]
    return unrolled(t, x, w, r, b, lens, [h], lambda gates, rest, state: [t.op(function, t.op("Add", gates, rest))], **attributes)


def unrolled(
    t: RelaxBuilder, x: Val, w: Val, r: Val, b: Val | None, lens: Val | None, states: Sequence[Val], step: Callable[..., list[Val]],
    hidden_size: int, direction: str,
) -> tuple[Val, ...]:  # fmt: skip
    """Y [time, directions, batch, hidden], then the last states [directions, batch, hidden]."""
    if lens is not None:
        raise Unsupported("a recurrent layer on sequences of several lengths")
    length = known(t.dims_of(x)[0])
    if length is None or length > LONGEST:
        raise Unsupported("a recurrent layer over a dynamic or very long sequence")
    ways = known(t.dims_of(w)[0]) or 1
    outs, ends = [], []
    for way in range(ways):
        backward = direction == "reverse" or way == 1
        out, end = one_way(t, x, [part(t, v, way) for v in (w, r)], part(t, b, way) if b else None, [part(t, s, way) for s in states],
                           step, range(length)[::-1] if backward else range(length))  # fmt: skip
        outs.append(t.unsqueeze(out, 1))
        ends.append([t.unsqueeze(e, 0) for e in end])
    return t.concat(outs, 1), *(t.concat(list(group), 0) for group in zip(*ends, strict=True))


def part(t: RelaxBuilder, value: Val, way: int) -> Val:
    return t.op("Gather", value, t.const(way, "int64"), axis=0)


def one_way(
    t: RelaxBuilder, x: Val, weights: Sequence[Val], bias: Val | None, state: list[Val], step: Callable[..., list[Val]], times: range
) -> tuple[Val, list[Val]]:
    w, r = (t.swap(v, 0, 1) for v in weights)
    gates = t.op("MatMul", x, w)
    rest_bias = None
    if bias is not None:
        first, rest_bias = t.ops("Split", bias, count=2, axis=0, num_outputs=2)
        gates = t.op("Add", gates, first)
    made: dict[int, Val] = {}
    for time in times:
        rest = t.op("MatMul", state[0], r)
        rest = rest if rest_bias is None else t.op("Add", rest, rest_bias)
        state = step(t.op("Gather", gates, t.const(time, "int64"), axis=0), rest, state)
        made[time] = t.unsqueeze(state[0], 0)
    return t.concat([made[time] for time in sorted(made)], 0), state


EMIT: dict[str, Callable[..., Any]] = {"LSTM": lstm, "GRU": gru, "RNN": rnn}
