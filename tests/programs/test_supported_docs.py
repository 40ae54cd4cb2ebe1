"""docs/supported-python.md says what the programs of this folder show. `--update-golden` writes it."""

import importlib
from pathlib import Path

from programs.refusals import EXPECTED
from programs.test_programs import GROUPS, PROGRAMS

HEAD = """# What Python a model may use

Generated from `tests/programs` (`make golden`): each name below is a small model, written as its users would, that is captured unedited
and compared with eager PyTorch bit for bit: results with their types and structure, exceptions, state, written inputs, random numbers.

Anything that runs before or between decisions, and does not depend on data, is run by Python itself at capture, so it may be any Python:
`super()`, closures, decorators, generators, comprehensions, dataclasses, context managers, hooks, configuration flags.

"""
APART = """
## Where a call differs from eager's

- An operation that raises by itself (an index out of range in an embedding, a matrix that is not positive definite) ends the call with
  eager's class of error, and often not its words. Tensors that the call wrote in place until then stay written; attributes that it would
  have set keep what they held. What the model itself raises, and what it catches, is as in eager, state included.
- Last bits, where eager itself takes other kernels when gradients are recorded: `nn.LSTM` is as under `torch.no_grad()`, and
  `nn.TransformerEncoderLayer` as without its fast path (`torch.backends.mha.set_fastpath_enabled(False)`).
- A tensor of the caller's that goes into a list of unknown length and comes back out of it is a copy.
"""
REFUSED = """
## Refused

With file, line and remedy, never silently. Codes are explained in [errors.md](errors.md).

| program | code |
|---|---|
"""


def listed(group):
    module = importlib.import_module(f"programs.{group}")
    names = [c.__name__ for c in PROGRAMS if c.__module__ == module.__name__ and c.__name__ not in EXPECTED]
    words = (module.__doc__ or "").strip().splitlines()[0]
    return f"**{words}** ({len(names)}) {', '.join(f'`{n}`' for n in names)}\n\n"


def test_the_page_says_what_the_programs_show(request):
    refused = "".join(f"| `{n}` | {c} |\n" for n, c in sorted(EXPECTED.items()))
    text = HEAD + "".join(map(listed, GROUPS)).rstrip("\n") + "\n" + APART + REFUSED + refused
    path = Path(__file__).parents[2] / "docs" / "supported-python.md"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.exists() and path.read_text() == text, "docs/supported-python.md is not what the programs say: make golden"
