"""Real tensors that the model's code touches: parameters, buffers, attributes, constants. Each gets one name and one fake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from dync.capture.heap import StaticHeap, place_name
from dync.capture.memory import storage_of
from dync.capture.tape import Weight
from dync.ir.effects import identity


def extent(t: torch.Tensor) -> tuple[int, int]:
    """Where a tensor's elements begin and end in its storage, in elements."""
    first, last = int(t.storage_offset()), sum((n - 1) * step for n, step in zip(t.shape, t.stride())) if t.numel() else -1
    return first, first + last + 1


def overlap(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors may have elements in common."""
    if a.is_sparse or b.is_sparse or a.untyped_storage().data_ptr() != b.untyped_storage().data_ptr():
        return False
    (first, last), (begin, end) = ([n * t.element_size() for n in extent(t)] for t in (a, b))
    return first < end and begin < last


class Weights:
    """Names real tensors and gives their fakes."""

    def __init__(self, model: Any, heap: StaticHeap) -> None:
        self.names: dict[tuple[Any, ...], str] = {}
        self.tensors: dict[str, torch.Tensor] = {}
        self.objects: dict[tuple[Any, ...], set[int]] = {}
        """Identity → the Python objects that are the tensor."""
        self.fakes: dict[str, Any] = {}
        self.by_fake: dict[int, Weight] = {}
        self.fake_mode: Any = None
        self.constants = 0
        self.tied: dict[str, str] = {}
        """Weights in the memory of another that forward writes → that other one, of which they are views."""
        self.alive: list[torch.Tensor] = []
        if isinstance(model, nn.Module):
            for name, t in (*model.named_parameters(), *model.named_buffers()):
                self._name(t, name)
        for n, places in enumerate(heap.kept):
            for key, t in places:
                if isinstance(t, torch.Tensor) and type(t) in (torch.Tensor, nn.Parameter, nn.Buffer):
                    self._name(t, place_name(heap, n, key))
        arrays = [x for x in heap.objects if type(x) is np.ndarray]
        dense = {n: t for n, t in self.tensors.items() if not t.is_sparse and t.device.type == "cpu"} if arrays else {}
        memory = {n: torch.empty(0, dtype=torch.uint8).set_(t.untyped_storage()).numpy() for n, t in dense.items()}
        self.arrays = {n: a for a in arrays for n, m in memory.items() if np.may_share_memory(a, m)}
        """Arrays of the model's in the memory of weights, by these."""

    def _name(self, t: torch.Tensor, name: str) -> None:
        if not t.is_sparse:
            self.objects.setdefault(identity(t), set()).add(id(t))
        if not t.is_sparse and identity(t) not in self.names:
            name = name.replace(":", ".") or "weight"
            while name in self.tensors:
                name += "_"
            self.names[identity(t)] = name
            self.tensors[name] = t.detach()

    def is_alone(self, t: torch.Tensor) -> bool:
        """Whether no other tensor that the model reaches lies in the same memory."""
        place = t.untyped_storage().data_ptr()
        own = self.names.get(identity(t))
        others = (x for name, x in self.tensors.items() if name != own and not x.is_sparse)
        return len(self.objects.get(identity(t), ())) == 1 and not any(x.untyped_storage().data_ptr() == place for x in others)

    def in_memory_of(self, fake: Any) -> list[str]:
        """Names of the weights that a fake shows a part of."""
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            return [n for n, f in self.fakes.items() if n not in self.tied and storage_of(f) == storage_of(fake)]

    def is_apart(self, name: str) -> bool:
        """Whether a weight is kept by itself though others lie in its memory."""
        tied = name in self.tied or name in self.tied.values()
        return not tied and any(n != name and overlap(self.tensors[name], t) for n, t in self.tensors.items())

    def tie(self, name: str) -> bool:
        """Sees to it that the tensors in a weight's memory are views of one of them, or of all that they lie in; whether that is new.

        Raises ValueError for tensors of several dtypes.
        """
        group, fresh = {name}, {name}
        while fresh:
            seen = [self.tensors[n] for n in fresh]
            fresh = {n for n, t in self.tensors.items() if n not in group and any(overlap(t, s) for s in seen)}
            group |= fresh
        if len(group) == 1 or len(group - self.tied.keys()) == 1:
            return False
        tensors = [self.tensors[n] for n in group]
        if len({t.dtype for t in tensors}) > 1:
            raise ValueError(", ".join(sorted(group)))
        first, last = min(extent(t)[0] for t in tensors), max(extent(t)[1] for t in tensors)
        base = next((n for n in sorted(group) if extent(t := self.tensors[n]) == (first, last) and t.is_contiguous()), "")
        if not base:
            base = f"memory of {min(group)}"
            self.tensors[base] = tensors[0].as_strided((last - first,), (1,), first)
            self.names[identity(self.tensors[base])] = base
        self.tied |= dict.fromkeys(group - {base}, base)
        return True

    def show(self, do: Callable[..., Any]) -> None:
        """Makes the fakes of tied weights, as views. do: calls a function of torch on the program's behalf."""
        for name, base in sorted(self.tied.items()):
            whole, t = self.tensors[base], self.tensors[name]
            first, last = (n - extent(whole)[0] for n in extent(t))
            part = do(torch.narrow, do(torch.Tensor.view, whole, (-1,)), 0, first, last - first)
            dense = t.is_contiguous()
            self.fakes[name] = do(torch.Tensor.view, part, t.shape) if dense else do(torch.as_strided, part, t.shape, t.stride())

    def start(self, fake_mode: Any) -> None:
        """Forgets the fakes of an earlier attempt."""
        self.fake_mode, self.fakes, self.by_fake = fake_mode, {}, {}

    def fake(self, t: Any) -> Any:
        """The fake of a real tensor; anything else unchanged."""
        from torch._subclasses.fake_tensor import FakeTensor

        if not isinstance(t, torch.Tensor) or isinstance(t, FakeTensor):
            return t
        with torch._C.DisableTorchFunction(), _disable_current_modes():
            key = identity(t)
            name = self.names.get(key)
            if name is None:
                name = f"constant_{self.constants}"
                self.constants += 1
                self.names[key] = name
                self.tensors[name] = t.detach().clone()
                self.alive.append(t)
            if name not in self.fakes:
                fake = self.fake_mode.from_tensor(t.detach(), static_shapes=True).requires_grad_(t.requires_grad)
                self.fakes[name] = fake
                self.by_fake[id(fake)] = Weight(name)
        return self.fakes[name]


def tensor_class(fake: Any) -> type:
    """The class that the model is to see of a tensor that a fake stands for."""
    return nn.Parameter if isinstance(fake, nn.Parameter) else torch.Tensor
