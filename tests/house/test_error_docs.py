"""docs/errors.md lists every code that capture can refuse with, read from the calls themselves. `--update-golden` writes it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
HEAD = """# Capture errors

Every refusal of `dync.capture` and `dync compile` carries one of these codes, the file, line and column, the source line with a caret,
why, and what to write instead. The table is generated from the code (`make golden`); `…` stands for what depends on the model.

| code | found | why | instead |
|---|---|---|---|
"""


def text_of(node):
    """The text of a string expression, computed parts as an ellipsis."""
    match node:
        case ast.Constant(value=str() as value):
            return value
        case ast.JoinedStr():
            return "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
        case ast.BinOp(op=ast.Add()):
            return text_of(node.left) + text_of(node.right)
        case _:
            return "…"


def refusals():
    for path in sorted((ROOT / "dync" / "capture").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = next((a for a in node.args if isinstance(a, ast.Constant)), None)
            if name in ("refuse", "problem", "Diagnostic") and isinstance(first, ast.Constant) and str(first.value).startswith("DY"):
                texts = [text_of(a) for a in node.args[node.args.index(first) + (2 if name == "Diagnostic" else 1) :]]
                yield first.value, *(t.replace("|", "\\|").replace("\n", " ") for t in (*texts, "", "")[:3])


def test_the_list_of_errors_is_that_of_the_code(request):
    rows = sorted(set(refusals()))
    assert len({r[0] for r in rows}) > 15
    text = HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)
    path = ROOT / "docs" / "errors.md"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.exists() and path.read_text() == text, "docs/errors.md is not what the code says: make golden"
