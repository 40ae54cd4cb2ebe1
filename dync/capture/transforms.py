"""torch.func's transforms inside forward: a call of one is one event, and what is recorded is the ATen operations that it comes down to."""

from __future__ import annotations

from importlib import import_module
from typing import Any

TRANSFORMS = {"torch._functorch.apis": ("vmap_impl",),
              "torch._functorch.eager_transforms": ("grad_impl", "grad_and_value_impl", "_jvp_with_argnums")}
"""Where torch keeps the functions behind vmap, grad, grad_and_value and jvp."""


def open_transforms(recorder: Any, patch: Any) -> None:
    for module, names in TRANSFORMS.items():
        home = import_module(module)
        for name in names:
            patch(home, name, _event(recorder, getattr(home, name)))


def _event(recorder: Any, original: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs) if recorder.in_event is not None else recorder.engine.do(original, *args, **kwargs)

    return call
