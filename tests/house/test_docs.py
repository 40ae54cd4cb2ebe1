"""Code in the documents runs: each page's blocks in order, in one folder, `# name.py` blocks written to that file."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(python|sh)\n(.*?)^```$", re.M | re.S)


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.name)
def test_code_blocks_run(page, tmp_path):
    import numpy as np

    np.save(tmp_path / "x.npy", np.ones((1, 8), "float32"))
    for kind, text in blocks(page):
        named = re.match(r"# (\w+\.py)\n", text)
        if named:
            (tmp_path / named[1]).write_text(text)
        elif kind == "python":
            python(tmp_path, "-c", "import sys; sys.path.insert(0, '.')\n" + text)
        else:
            for line in text.splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["dync"]:
                    python(tmp_path, "-m", "dync", *words[1:])


def python(folder: Path, *argv: str) -> None:
    done = subprocess.run([sys.executable, "-P", *argv], cwd=folder, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"


def test_pages_name_files_that_exist():
    for page in PAGES:
        for name in re.findall(r"`((?:dync|passes|backends|models|tests|docs|benchmarks)/[\w/.-]*)`", page.read_text()):
            assert (ROOT / name).exists(), f"{page.name} names {name}"
