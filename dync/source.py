"""MODEL: from what a user writes ("model.py", "model.py:Net", "package.module:Net") to an nn.Module in eval mode.

The file's own directory goes onto sys.path, as for a script, so that it imports its neighbours from any directory.
Random numbers are seeded first: a model without a weights file has the same weights each time that it is built.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import random
import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from dync.errors import DyncError, UsageError

if TYPE_CHECKING:
    from torch import nn

_OWN: dict[str, ModuleType] = {}
"""Modules that were loaded here from a file, by their name in sys.modules."""


@dataclass(frozen=True)
class ModelSource:
    """A built model, where it came from, and the module that it was found in."""

    model: nn.Module
    spec: str
    namespace: ModuleType

    @property
    def file(self) -> str:
        return self.namespace.__file__ or self.namespace.__name__


def open_model(spec: str, init: Mapping[str, object] | None = None, weights: Path | None = None, seed: int = 0) -> ModelSource:
    """The model that `spec` names, built with `init`, its weights loaded, in eval mode.

    Raises UsageError for an unknown file or name, several candidates, missing arguments, code that fails, or weights that do not fit.
    """
    place, name = _split(spec)
    seed_everything(seed)
    namespace = _load_file(Path(place)) if _is_file(place) else _load_module(place)
    model = _build(_find(namespace, name, place), spec, dict(init or {}))
    if weights is not None:
        _load_weights(model, weights)
    return ModelSource(model.eval(), spec, namespace)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch."""
    import numpy
    import torch

    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


@contextmanager
def users_code(what: str, file: str) -> Iterator[None]:
    """Whatever the user's own code raises becomes one UsageError that says where."""
    try:
        yield
    except (DyncError, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise UsageError(f"{_where(error, file)}: {type(error).__name__}: {_first_line(error)} ({what})") from error


def _first_line(error: BaseException) -> str:
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return text.strip().splitlines()[0] if text.strip() else "no message"


def _where(error: BaseException, file: str) -> str:
    """file:line of the user's code that raised: the innermost frame in `file`'s folder."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    home = str(Path(file).parent)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(home) and "site-packages" not in f.filename]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else file


def _split(spec: str) -> tuple[str, str]:
    if Path(spec).is_file():
        return spec, ""
    place, _, name = spec.rpartition(":") if ":" in spec else (spec, "", "")
    if not place:
        raise UsageError(f"cannot read {spec!r} as a model; write model.py, model.py:Name or package.module:Name")
    return place, name


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or Path(place).is_file()


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    path = path.resolve()
    if path.suffix != ".py":
        raise UsageError(f"{path.name} is not a Python file; write model.py, model.py:Name or package.module:Name")
    _put_on_path(path.parent)
    text = path.read_bytes()
    with users_code("while reading the model's file", str(path)):
        tree = ast.parse(text, str(path))
    if _is_relative(tree) and (path.parent / "__init__.py").exists():
        return _load_in_package(path)
    name = _module_name(path)
    loaded = sys.modules.get(name)
    if loaded is not None and name not in _OWN and loaded.__file__ == str(path):
        return loaded
    found = importlib.util.spec_from_file_location(name, path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = _OWN[name] = module
    try:
        with users_code("while importing the model's file", str(path)):
            found.loader.exec_module(module)
    except BaseException:
        del sys.modules[name], _OWN[name]
        raise
    return module


def _module_name(path: Path) -> str:
    """The file's stem, unless a module of that name from elsewhere is already imported or built in."""
    stem = path.stem
    taken = sys.modules.get(stem)
    foreign = taken is not None and stem not in _OWN and getattr(taken, "__file__", None) != str(path)
    return f"dync_user_{stem}" if foreign or stem in sys.stdlib_module_names else stem


def _is_relative(tree: ast.Module) -> bool:
    return any(isinstance(node, ast.ImportFrom) and node.level > 0 for node in ast.walk(tree))


def _load_in_package(path: Path) -> ModuleType:
    """A file that imports relatively is imported as a member of the package that it lies in."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    _put_on_path(root)
    with users_code("while importing the model's file", str(path)):
        return importlib.import_module(".".join(parts))


def _load_module(name: str) -> ModuleType:
    _put_on_path(Path.cwd())
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"no such file or module: {name}")
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    if found is None:
        raise UsageError(f"no such file or module: {name}")
    with users_code("while importing the model's module", found.origin or name):
        return importlib.import_module(name)


def _put_on_path(folder: Path) -> None:
    text = str(folder)
    if sys.path[:1] != [text]:
        sys.path[:] = [text, *(p for p in sys.path if p != text)]


def _candidates(namespace: ModuleType) -> list[str]:
    from torch import nn

    return [n for n, v in vars(namespace).items() if inspect.isclass(v) and issubclass(v, nn.Module) and v.__module__ == namespace.__name__]


def _find(namespace: ModuleType, name: str, place: str) -> Any:
    if name:
        found: Any = namespace
        for part in name.split("."):
            if not hasattr(found, part):
                raise UsageError(f"{place} has no {name!r}; candidates: {_listed(place, _candidates(namespace)) or 'none'}")
            found = getattr(found, part)
        return found
    for usual in ("build", "model"):
        if hasattr(namespace, usual):
            return getattr(namespace, usual)
    names = _candidates(namespace)
    if not names:
        raise UsageError(f"{place} holds no model: neither build(), nor model, nor an nn.Module class")
    if len(names) > 1:
        raise UsageError(f"{place} holds several candidates, name one: {_listed(place, names)}")
    return getattr(namespace, names[0])


def _listed(place: str, names: list[str]) -> str:
    return ", ".join(f"{place}:{n}" for n in names)


def _build(found: Any, spec: str, init: dict[str, object]) -> nn.Module:
    from torch import nn

    if isinstance(found, nn.Module):
        if init:
            raise UsageError(f"{spec} is a module object, already built: --init has nothing to build")
        return found
    if not callable(found):
        raise UsageError(f"{spec} is a {type(found).__name__}, not an nn.Module, a class of one, or a function that returns one")
    try:
        inspect.signature(found).bind(**init)
    except TypeError as error:
        raise UsageError(f"cannot build {spec}: {error}; give arguments with --init name=value") from None
    with users_code(f"while building {spec}", inspect.getfile(found)):
        built = found(**init)
    if not isinstance(built, nn.Module):
        raise UsageError(f"{spec} returned a {type(built).__name__}, not an nn.Module")
    return built


def _load_weights(model: nn.Module, path: Path) -> None:
    state = _read_weights(path)
    wanted = model.state_dict()
    problems = [
        *(f"missing {n}" for n in wanted if n not in state),
        *(f"unexpected {n}" for n in state if n not in wanted),
        *(
            f"{n} is {tuple(t.shape)}, wanted {tuple(wanted[n].shape)}"
            for n, t in state.items()
            if n in wanted and t.shape != wanted[n].shape
        ),
    ]
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise UsageError(f"{path} does not fit {type(model).__name__}: {', '.join(problems[:3])}{more}")
    model.load_state_dict(state)


def _read_weights(path: Path) -> dict[str, Any]:
    import pickle

    if not path.is_file():
        raise UsageError(f"no such file: {path}")
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise UsageError(f"{path} is not a safetensors file: {error}") from None
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise UsageError(f"{path} cannot be loaded as plain weights: {_first_line(error)}") from None
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not (isinstance(state, dict) and all(isinstance(v, torch.Tensor) for v in state.values())):
        raise UsageError(f"{path} holds no state dict: save model.state_dict()")
    return state
