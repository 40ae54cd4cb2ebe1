"""Real tensors that the model's code touches: parameters, buffers, attributes, constants. Each gets one name and one fake."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import _disable_current_modes

from dync.capture.heap import StaticHeap, place_name
from dync.capture.tape import Weight


def identity(t: torch.Tensor) -> tuple[Any, ...]:
    """Equal for tensors over the same memory in the same form: tied weights."""
    return (t.untyped_storage()._cdata, t.storage_offset(), tuple(t.shape), t.stride(), t.dtype)


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
        self.alive: list[torch.Tensor] = []
        if isinstance(model, nn.Module):
            for name, t in (*model.named_parameters(), *model.named_buffers()):
                self._name(t, name)
        for n, places in enumerate(heap.kept):
            for key, t in places:
                if isinstance(t, torch.Tensor) and type(t) in (torch.Tensor, nn.Parameter, nn.Buffer):
                    self._name(t, place_name(heap, n, key))

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
