"""dync: a compiler for dynamic neural networks.

Public names are found on first use, so that `import dync` imports neither torch nor a backend.
`dync.capture` and `dync.verify` are functions; the packages that implement them bear the same names and are reached by
`from dync.capture.engine import ...`, never by `import dync.capture.engine as e`.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_NAMES = {
    **dict.fromkeys(("capture", "compile", "load", "verify", "explain", "bench", "targets"), "dync.api"),
    **dict.fromkeys(
        ("DyncError", "UsageError", "CaptureError", "GuardError", "BackendError", "VerifyError", "ArtifactError", "Diagnostic"),
        "dync.errors",
    ),
    "Program": "dync.ir.program",
    "Compiled": "dync.compiled",
    "Runtime": "dync.runtime.program",
}
__all__ = ["__version__", *_NAMES]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from dync.api import bench as bench
    from dync.api import capture as capture
    from dync.api import compile as compile
    from dync.api import explain as explain
    from dync.api import load as load
    from dync.api import targets as targets
    from dync.api import verify as verify
    from dync.compiled import Compiled as Compiled
    from dync.errors import ArtifactError as ArtifactError
    from dync.errors import BackendError as BackendError
    from dync.errors import CaptureError as CaptureError
    from dync.errors import Diagnostic as Diagnostic
    from dync.errors import DyncError as DyncError
    from dync.errors import GuardError as GuardError
    from dync.errors import UsageError as UsageError
    from dync.errors import VerifyError as VerifyError
    from dync.ir.program import Program as Program
    from dync.runtime.program import Runtime as Runtime


class _Surface(ModuleType):
    """The package itself: importing a submodule must not hide the public function of the same name."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (isinstance(value, ModuleType) and name in _NAMES):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Surface


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'dync' has no attribute {name!r}")
    value = getattr(import_module(_NAMES[name]), name)
    setattr(sys.modules[__name__], name, value)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_NAMES})
