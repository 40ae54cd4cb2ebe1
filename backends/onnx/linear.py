"""Matrix products, attention, and recurrent layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from dync.backends.onnx.builder import INT64_MAX, Builder, Number, Size, Val
from dync.backends.onnx.registry import Unsupported


def matmul(t: Builder, a: Val, b: Val) -> Val:
    """A vector beside a matrix goes in as a matrix: ONNX Runtime 1.32 multiplies it wrong where the other is a transposed one."""
    a, b = t.cast(a, t.dtype), t.cast(b, t.dtype)
    if b.rank == 1 < a.rank:
        return t.squeeze(t.op("MatMul", a, t.unsqueeze(b, 1)), a.rank - 1)
    if a.rank == 1 < b.rank:
        return t.squeeze(t.op("MatMul", t.unsqueeze(a, 0), b), b.rank - 2)
    return t.op("MatMul", a, b)


def gemm(t: Builder, a: Val, b: Val, c: Val | None, alpha: Number = 1, beta: Number = 1) -> Val:
    """alpha·a@b + beta·c; a matrix that was only transposed is read in place."""
    if not a.floating:
        product = t.op("MatMul", a, b)
        return product if c is None else t.op("Add", product, c)
    (a, flip_a), (b, flip_b) = t.untransposed(a), t.untransposed(b)
    return t.op(
        "Gemm",
        a,
        b,
        None if c is None or beta == 0 else c,
        alpha=None if alpha == 1 else float(alpha),
        beta=None if beta == 1 else float(beta),
        transA=int(flip_a) or None,
        transB=int(flip_b) or None,
    )


def mm(t: Builder, a: Val, b: Val, *_: Any) -> Val:
    return gemm(t, a, b, None) if t.untransposed(a)[1] or t.untransposed(b)[1] else t.op("MatMul", a, b)


def addmm(t: Builder, c: Val, a: Val, b: Val, beta: Number = 1, alpha: Number = 1) -> Val:
    if isinstance(alpha, Val) or isinstance(beta, Val) or (not a.floating and (alpha, beta) != (1, 1)):
        raise Unsupported("addmm scaled by a run-time number")
    return gemm(t, a, b, c, alpha, beta)


def trilinear(
    t: Builder, x: Val, weight: Val, y: Val, expand1: Sequence[int], expand2: Sequence[int], expand3: Sequence[int], sumdim: Sequence[int],
    unroll_dim: int = 1,
) -> Val:  # fmt: skip
    """The sum of x[n, i]·weight[o, i, j]·y[n, j] over i and j, as torch.nn.Bilinear asks for it, in two products."""
    if (list(expand1), list(expand2), list(expand3), list(sumdim)) != ([1, 3], [0], [1, 2], [2, 3]):
        raise Unsupported("a product of three tensors other than that of nn.Bilinear")
    outs, ins, others = t.sizes(weight)
    by_y = t.op("MatMul", y, t.swap(t.reshape(weight, [t.count(weight, (0, 1)), others]), 0, 1))
    return t.squeeze(t.op("MatMul", t.reshape(by_y, [t.size(x, 0), outs, ins]), t.unsqueeze(x, 2)), 2)


def linear(t: Builder, x: Val, weight: Val, bias: Val | None = None) -> Val:
    """Gemm on rows, so that ONNX Runtime reads the weight as it is stored; more dims are folded into the rows."""
    if x.rank == 1:
        return t.reshape(linear(t, t.unsqueeze(x, 0), weight, bias), t.sizes(weight)[:1])
    count = t.count(x, range(x.rank - 1)) if 0 in (x.shape or ()) else -1
    rows = x if x.rank == 2 else t.reshape(x, [count, t.size(x, -1)])
    if not x.floating:
        product = t.op("MatMul", rows, t.swap(weight, 0, 1))
        product = product if bias is None else t.op("Add", product, bias)
    else:
        product = t.op("Gemm", rows, weight, bias, transB=1)
    return product if x.rank == 2 else t.reshape(product, [*t.sizes(x)[:-1], t.size(weight, 0)])


def grouped_mm(t: Builder, a: Val, b: Val, offs: Val | None = None, bias: Val | None = None, out_dtype: Any = None) -> Val:
    """Rows up to offs[g] times matrix g, group after group; what lies behind the last is anything in torch, here of the last group."""
    groups = b.shape[0] if b.shape else None
    if a.rank != 2 or b.rank != 3 or offs is None or bias is not None or groups is None:
        raise Unsupported("grouped_mm of these forms")
    ends = t.cast(offs, "int64")
    end: list[Size] = [0, *(t.op("Gather", ends, t.const(g, "int64"), axis=0) for g in range(groups - 1)), INT64_MAX]
    products = [t.op("MatMul", t.slice(a, 0, end[g], end[g + 1]), t.op("Gather", b, t.const(g, "int64"), axis=0)) for g in range(groups)]
    return t.reshape(t.concat(products, 0), [t.size(a, 0), t.size(b, 2)])


def scaled_sum(t: Builder, c: Val, product: Val, beta: Number, alpha: Number) -> Val:
    product = product if alpha == 1 else t.op("Mul", product, t.lift(alpha, t.dtype))
    if beta == 0:
        return product
    return t.op("Add", product, c if beta == 1 else t.op("Mul", c, t.lift(beta, t.dtype)))


def addmv(t: Builder, c: Val, a: Val, b: Val, beta: Number = 1, alpha: Number = 1) -> Val:
    return scaled_sum(t, c, matmul(t, a, b), beta, alpha)


def addbmm(t: Builder, c: Val, a: Val, b: Val, beta: Number = 1, alpha: Number = 1) -> Val:
    product = t.op("ReduceSum", t.op("MatMul", a, b), t.const([0], "int64"), keepdims=0)
    return scaled_sum(t, c, product, beta, alpha)


def outer(t: Builder, a: Val, b: Val) -> Val:
    return t.op("Mul", t.cast(t.unsqueeze(a, 1), t.dtype), t.cast(t.unsqueeze(b, 0), t.dtype))


def cdist(t: Builder, a: Val, b: Val, p: Number = 2.0, compute_mode: int | None = None) -> Val:
    gap = t.op("Sub", t.unsqueeze(a, a.rank - 1), t.unsqueeze(b, b.rank - 2))
    ops: dict[Number, str] = {2: "ReduceL2", 1: "ReduceL1"}
    if p not in ops:
        raise Unsupported(f"cdist of order {p}")
    return t.op(ops[p], gap, t.const([-1], "int64"), keepdims=0)


# -- attention -----------------------------------------------------------------------------------------------------------


def attention(
    t: Builder,
    q: Val,
    k: Val,
    v: Val,
    mask: Val | None = None,
    dropout: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    gqa: bool = False,
) -> Val:
    """softmax(q kᵀ · scale + mask) v over the last two dims; a row that is masked everywhere gives zeros."""
    if dropout:
        raise Unsupported("attention with dropout draws from eager's random generator")
    if scale is None:
        width = q.dims[-1]
        if width is None:
            raise Unsupported("attention over a dynamic width")
        scale = 1 / math.sqrt(width) if width else 1.0
    if gqa:
        k, v = (grouped(t, x, q) for x in (k, v))
    scores = t.op("MatMul", t.op("Mul", q, t.lift(scale, q.dtype)), t.swap(k, k.rank - 2, k.rank - 1))
    low = t.const(-math.inf, q.dtype)
    if causal:
        scores = t.where(causal_mask(t, q, k), scores, low)
    if mask is not None:
        scores = t.where(mask, scores, low) if mask.dtype == "bool" else t.op("Add", scores, t.cast(mask, q.dtype))
    weights = t.op("Softmax", scores, axis=-1)
    if mask is not None:
        dead = t.op("Equal", t.op("ReduceMax", scores, t.const([-1], "int64"), keepdims=1), low)
        weights = t.where(dead, t.const(0, q.dtype), weights)
    return t.op("MatMul", weights, v)


def grouped(t: Builder, x: Val, q: Val) -> Val:
    heads, wanted = x.dims[-3], q.dims[-3]
    if heads is None or wanted is None:
        raise Unsupported("grouped attention over a dynamic number of heads")
    sizes, at = t.sizes(x), x.rank - 3
    wide = t.expand(t.unsqueeze(x, at + 1), [*sizes[: at + 1], wanted // heads, *sizes[at + 1 :]])
    return t.reshape(wide, [*sizes[:at], wanted, *sizes[at + 1 :]])


def causal_mask(t: Builder, q: Val, k: Val) -> Val:
    rows, columns = (t.counted(t.size(x, -2)) for x in (q, k))
    return t.op("GreaterOrEqual", t.op("Unsqueeze", rows, t.ints([1])), t.op("Unsqueeze", columns, t.ints([0])))


def sdpa(
    t: Builder,
    q: Val,
    k: Val,
    v: Val,
    attn_mask: Val | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Val:
    return attention(t, q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa)


def sdpa_flash(
    t: Builder,
    q: Val,
    k: Val,
    v: Val,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    attn_mask: Val | None = None,
    scale: float | None = None,
) -> tuple[Val | None, ...]:
    """The fused CPU operator; its second result, the log-sum-exp, serves the backward pass only."""
    gqa = q.shape is not None and k.shape is not None and q.shape[1] != k.shape[1]
    return attention(t, q, k, v, attn_mask, dropout_p, is_causal, scale, gqa), None


def sdpa_math(
    t: Builder,
    q: Val,
    k: Val,
    v: Val,
    attn_mask: Val | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    dropout_mask: Val | None = None,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Val | None, ...]:
    return attention(t, q, k, v, attn_mask, dropout_p, is_causal, scale, enable_gqa), None


# -- recurrent layers ----------------------------------------------------------------------------------------------------


def gates(t: Builder, w: Val, order: Sequence[int]) -> Val:
    """The gate blocks of a stacked weight, put in another order."""
    rows = w.dims[0]
    assert rows is not None
    size = rows // len(order)
    return Val(t.concat([t.slice(w, 0, g * size, (g + 1) * size) for g in order], 0).name, w.dtype, w.shape)


def recurrent(
    t: Builder,
    op: str,
    x: Val,
    weights: Sequence[Val | None],
    states: Sequence[Val],
    order: Sequence[int],
    reverse: bool = False,
    both: Sequence[Val | None] = (),
    lengths: Val | None = None,
    **attributes: Any,
) -> tuple[Val, ...]:
    """One ONNX LSTM, GRU or RNN layer on x [time, batch, features]; `weights` is w_ih, w_hh, b_ih, b_hh, `both` the other direction's.

    lengths: of the sequences [batch], where they are not all as long as x.
    """
    directions = [weights, both] if both else [weights]
    hidden = states[0].dims[-1]
    assert hidden is not None

    def stacked(i: int) -> Val:
        parts = []
        for one in directions:
            w = one[i]
            assert w is not None
            parts.append(t.unsqueeze(gates(t, w, order), 0))
        return t.concat(parts, 0)

    bias = t.concat([stacked(2), stacked(3)], 1) if weights[2] is not None else None
    direction = "bidirectional" if both else "reverse" if reverse else "forward"
    lens = t.cast(lengths, "int32") if lengths is not None else None
    results = t.ops(
        op, x, stacked(0), stacked(1), bias, lens, *states, count=1 + len(states), hidden_size=hidden, direction=direction, **attributes
    )
    y = t.transpose(Val(results[0].name, x.dtype, (None,) * 4), [0, 2, 1, 3])
    return t.op("Reshape", y, t.ints([0, 0, len(directions) * hidden])), *results[1:]


LSTM = ("LSTM", (0, 3, 1, 2), {})
GRU = ("GRU", (1, 0, 2), {"linear_before_reset": 1})
RNN_TANH = ("RNN", (0,), {})
RNN_RELU = ("RNN", (0,), {"activations": "Relu"})


def layers(
    t: Builder,
    kind: tuple[str, Sequence[int], dict[str, Any]],
    x: Val,
    states: Sequence[Val],
    params: Sequence[Val],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
    lengths: Val | None = None,
) -> tuple[Val, ...]:
    """aten.lstm.input and its like: a stack of layers."""
    if train and dropout:
        raise Unsupported("dropout in training draws from eager's random generator")
    if x.rank != 3:
        raise Unsupported("a recurrent layer on an unbatched sequence")
    op, order, own = kind
    extra: dict[str, Any] = dict(own)
    ways, step = 2 if bidirectional else 1, 4 if has_biases else 2
    if len(params) != num_layers * ways * step:
        raise Unsupported("a recurrent layer with projections")
    if "activations" in extra:
        extra = {"activations": [extra["activations"]] * ways}
    y = t.swap(x, 0, 1) if batch_first else x
    ends: list[list[Val]] = [[] for _ in states]
    for layer in range(num_layers):
        sets = [
            [*params[(layer * ways + w) * step : (layer * ways + w + 1) * step], *([] if has_biases else [None, None])] for w in range(ways)
        ]
        start = [Val(t.slice(s, 0, layer * ways, (layer + 1) * ways).name, s.dtype, (ways, *s.dims[1:])) for s in states]
        y, *last = recurrent(t, op, y, sets[0], start, order, both=sets[1] if bidirectional else (), lengths=lengths, **extra)
        for end, value in zip(ends, last, strict=True):
            end.append(value)
    y = Val(y.name, y.dtype, (None, None, None))
    return (t.swap(y, 0, 1) if batch_first else y), *(t.concat(e, 0) for e in ends)


def lstm(
    t: Builder,
    x: Val,
    hx: Sequence[Val],
    params: Sequence[Val],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Val, ...]:
    return layers(t, LSTM, x, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def stack_of(kind: tuple[str, Sequence[int], dict[str, Any]]) -> Callable[..., tuple[Val, ...]]:
    def translate(
        t: Builder,
        x: Val,
        hx: Val,
        params: Sequence[Val],
        has_biases: bool,
        num_layers: int,
        dropout: float,
        train: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> tuple[Val, ...]:
        return layers(t, kind, x, [hx], params, has_biases, num_layers, dropout, train, bidirectional, batch_first)

    return translate


def mkldnn_rnn(
    t: Builder,
    x: Val,
    w0: Val,
    w1: Val,
    w2: Val | None,
    w3: Val | None,
    hx: Val,
    cx: Val,
    reverse: bool,
    batch_sizes: Sequence[int],
    mode: int,
    hidden_size: int,
    num_layers: int,
    has_biases: bool,
    bidirectional: bool,
    batch_first: bool,
    train: bool,
) -> tuple[Val | None, ...]:
    """One direction of one layer, as oneDNN's operator under nn.LSTM: torch's gate order, x [time, batch, features] always."""
    if mode != 2 or batch_sizes:
        raise Unsupported("mkldnn_rnn_layer other than an LSTM on padded sequences")
    start = [t.reshape(s, [1, t.size(x, 1), hidden_size]) for s in (hx, cx)]
    y, h, c = recurrent(t, "LSTM", x, [w0, w1, w2 if has_biases else None, w3 if has_biases else None], start, LSTM[1], reverse)
    return y, as_out(t, h, 1), as_out(t, c, 2), None


def as_out(t: Builder, value: Val, at: int) -> Val:
    shape = t.outs[at].shape
    sizes = [0 if s is None else s for s in shape or ()]
    return value if shape is None or None in shape else t.reshape(value, sizes)


def cell_gates(t: Builder, x: Val, h: Val, w_ih: Val, w_hh: Val, b_ih: Val | None, b_hh: Val | None) -> tuple[Val, Val]:
    return t.op("Gemm", x, w_ih, b_ih, transB=1), t.op("Gemm", h, w_hh, b_hh, transB=1)


def lstm_cell(
    t: Builder, x: Val, hx: Sequence[Val], w_ih: Val, w_hh: Val, b_ih: Val | None = None, b_hh: Val | None = None
) -> tuple[Val, Val]:
    a, b = cell_gates(t, x, hx[0], w_ih, w_hh, b_ih, b_hh)
    i, f, g, o = t.ops("Split", t.op("Add", a, b), count=4, axis=1, num_outputs=4)
    c = t.op("Add", t.op("Mul", t.op("Sigmoid", f), hx[1]), t.op("Mul", t.op("Sigmoid", i), t.op("Tanh", g)))
    return t.op("Mul", t.op("Sigmoid", o), t.op("Tanh", c)), c


def gru_cell(t: Builder, x: Val, h: Val, w_ih: Val, w_hh: Val, b_ih: Val | None = None, b_hh: Val | None = None) -> Val:
    a, b = cell_gates(t, x, h, w_ih, w_hh, b_ih, b_hh)
    (ar, az, an), (br, bz, bn) = (t.ops("Split", v, count=3, axis=1, num_outputs=3) for v in (a, b))
    r, z = t.op("Sigmoid", t.op("Add", ar, br)), t.op("Sigmoid", t.op("Add", az, bz))
    n = t.op("Tanh", t.op("Add", an, t.op("Mul", r, bn)))
    return t.op("Add", n, t.op("Mul", z, t.op("Sub", h, n)))


def rnn_cell(op: str) -> Callable[..., Val]:
    def translate(t: Builder, x: Val, h: Val, w_ih: Val, w_hh: Val, b_ih: Val | None = None, b_hh: Val | None = None) -> Val:
        return t.op(op, t.op("Add", *cell_gates(t, x, h, w_ih, w_hh, b_ih, b_hh)))

    return translate


# fmt: off
OPS: dict[str, Callable[..., Any]] = {
    "aten._grouped_mm.default": grouped_mm, "aten._trilinear.default": trilinear,
    "aten.mm.default": mm, "aten.bmm.default": matmul, "aten.matmul.default": matmul, "aten.mv.default": matmul, "aten.dot.default": matmul,
    "aten.vdot.default": matmul, "aten.addmm.default": addmm, "aten.linear.default": linear, "aten.addmv.default": addmv,
    "aten.baddbmm.default": addmv, "aten.addbmm.default": addbmm, "aten.outer.default": outer, "aten.ger.default": outer,
    "aten._addmm_activation.default": lambda t, c, a, b, beta=1, alpha=1, use_gelu=False: (
        t.op("Gelu" if use_gelu else "Relu", addmm(t, c, a, b, beta, alpha))),
    "aten.mkldnn_linear.default": linear, "aten._cdist_forward.default": cdist, "aten.cdist.default": cdist,
    "aten.scaled_dot_product_attention.default": sdpa, "aten._scaled_dot_product_flash_attention_for_cpu.default": sdpa_flash,
    "aten._scaled_dot_product_attention_math.default": sdpa_math,
    "aten.lstm.input": lstm, "aten.gru.input": stack_of(GRU), "aten.rnn_tanh.input": stack_of(RNN_TANH),
        "aten.rnn_relu.input": stack_of(RNN_RELU),
    "aten.mkldnn_rnn_layer.default": mkldnn_rnn, "aten.lstm_cell.default": lstm_cell, "aten.gru_cell.default": gru_cell,
    "aten.rnn_tanh_cell.default": rnn_cell("Tanh"), "aten.rnn_relu_cell.default": rnn_cell("Relu"),
}
