"""Puts tests/ on the path, so that `from support.programs import early_exit` works in every test; golden files; a cache of its own."""

import gc
import sys
from pathlib import Path
from zlib import crc32

import pytest

gc.set_threshold(100_000, 20, 20)  # captures make many objects: looking for garbage after each 700 took 6 % of the time
sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the golden files instead of comparing with them")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too, and all of those marked part")


def is_later(item) -> bool:
    """Whether a test runs with --slow only. Which ones of those marked part(n) do not, their names say: the same in each run."""
    part = item.get_closest_marker("part")
    return bool(item.get_closest_marker("slow") or part and crc32(item.name.encode()) % part.args[0])


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow") and not config.getoption("--update-golden"):
        later = [is_later(i) for i in items]
        config.hook.pytest_deselected(items=[i for i, no in zip(items, later) if no])
        items[:] = [i for i, no in zip(items, later) if not no]


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """No test sees what was compiled before, or leaves something behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_budget():
    """Blocks go to the first backend that takes them: a test that wants them timed on all asks for a `budget`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dync.options.BUDGET", 0.0)
        yield


@pytest.fixture
def golden(request):
    """golden(text, "txt") compares with golden/<test file>/<test name>.txt beside the test; a missing file fails."""

    def check(text: str, suffix: str = "txt") -> None:
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in request.node.name)
        path = Path(request.path).parent / "golden" / Path(request.path).stem / f"{name}.{suffix}"
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        assert path.exists(), f"no golden file {path}; write it with --update-golden"
        assert text == path.read_text()

    return check
