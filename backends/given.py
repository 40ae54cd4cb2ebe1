"""What a program can give a block, as far as its graph tells: the numeric check draws no other inputs.

Decisions before a block settle sizes. A size that its graph declares as a number is that number, one that it declares as a symbol is
the same wherever the symbol stands, and one that is not declared as 1 meets only its equal (docs/decisions/0013).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ATTENTION = "aten._scaled_dot_product_flash_attention_for_cpu.default"
"""It reads as many values as there are keys, and ends the process (SIGFPE, torch 2.13) on empty tensors."""
RECURRENT = frozenset(f"aten.{n}.input" for n in ("lstm", "gru", "rnn_tanh", "rnn_relu"))
"""They take hidden states for as many sequences as the first argument has, and read memory that is not theirs where these are fewer."""
PACKED = frozenset(f"aten.{n}.data" for n in ("lstm", "gru", "rnn_tanh", "rnn_relu")) | {"aten._pad_packed_sequence.default"}
"""Operators that believe the second argument, sequences by step, and read memory that is not theirs where it is not so."""


def unsafe(target: str, args: Any) -> bool:
    """Whether the operator would read or write outside its tensors, or end the process: a model never gives it that."""
    import torch

    if target == "aten._local_scalar_dense.default":
        return args[0].numel() != 1
    if target in PACKED:
        data, sizes = args[0], args[1].tolist()
        hidden = args[2] if target == "aten.lstm.data" else [args[2]] if target.endswith(".data") else []
        fits = sum(sizes) == data.shape[0] and sizes == sorted(sizes, reverse=True) and all(n > 0 for n in sizes)
        return not fits or not sizes or any(h.shape[1] != sizes[0] for h in hidden)
    if target in RECURRENT:
        sequences = args[0].shape[0 if args[-1] else 1]
        return any(h.shape[1] != sequences for h in (args[1] if target == "aten.lstm.input" else [args[1]]))
    if target == "aten._grouped_mm.default" and len(args) > 2 and args[2] is not None and args[0].dim() == 2:
        ends = [0, *args[2].tolist()]
        return ends != sorted(ends) or ends[-1] != args[0].shape[0]  # rows behind the last group are whatever lies in memory
    if target == ATTENTION:
        return args[1].shape[:3] != args[2].shape[:3] or any(isinstance(a, torch.Tensor) and not a.numel() for a in args)
    return False


class Sizes:
    """The sizes of one run, by symbol."""

    def __init__(self) -> None:
        self._known: dict[Any, int] = {}

    def fit(self, found: Any, declared: Any) -> bool:
        """Whether a value has the sizes that are declared, and others that were seen under the same symbols."""
        import torch

        if isinstance(found, (tuple, list)) and isinstance(declared, (tuple, list)):
            return all(map(self.fit, found, declared))
        if isinstance(declared, torch.SymInt):
            return self._fits(found, declared)
        if isinstance(found, torch.Tensor) and isinstance(declared, torch.Tensor):
            return all(map(self._fits, found.shape, declared.shape))
        return True

    def _fits(self, found: Any, declared: Any) -> bool:
        if type(declared) is int:
            return found == declared
        symbol = declared.node.expr
        return not symbol.is_Symbol or self._known.setdefault(symbol, found) == found


def widens(node: Any, env: Mapping[Any, Any]) -> bool:
    """Whether a run repeats an operand of the node along a size of 1 that is not declared as one."""
    import torch

    target, result = node.target, env[node]
    pointwise = isinstance(target, torch._ops.OpOverload) and torch.Tag.pointwise in target.tags
    if not isinstance(result, torch.Tensor) or not pointwise and str(target) != "aten.expand.default":
        return False
    for operand in node.all_input_nodes:
        tensor, declared = env[operand], operand.meta.get("val")
        if isinstance(tensor, torch.Tensor) and isinstance(declared, torch.Tensor):
            for size, said, wide in zip(tensor.shape[::-1], declared.shape[::-1], result.shape[::-1], strict=False):
                if size == 1 != wide and type(said) is not int:
                    return True
    return False
