"""The command line. A verb's module is imported when the verb is called, so that `dync --help` stays quick."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from dync import __version__

if TYPE_CHECKING:
    from cyclopts import App

VERBS = {
    "compile": "Compile a model into an artifact.",
    "explain": "Show every control-flow construct of a model and what it becomes; no code generation.",
    "verify": "Compare an artifact with the eager model on every path.",
    "bench": "Measure latency per path, against eager.",
    "run": "Run an artifact on arrays from files.",
    "fuzz": "Compile random dynamic networks and compare them with eager.",
    "inspect": "Show what an artifact holds.",
    "targets": "Show the backends, and what each can compile and run here.",
}

INTERRUPTED, PIPE_CLOSED = 130, 141
"""Exit codes after SIGINT and SIGPIPE, as shells give them."""

EPILOGUE = """dync VERB --help shows a verb's options. MODEL is model.py, model.py:Name or package.module:Name.
Every verb takes --json (data on stdout) and --debug (tracebacks).
Exit codes: 0 done, 1 mismatch, 2 wrong usage, 3 paths left uncovered, 4 unsupported construct, 5 backend failed."""


def overview() -> str:
    """What `dync --help` says; made without the command-line library, which takes longer to import than to answer."""
    width = max(map(len, VERBS))
    verbs = [f"  {verb.ljust(width)}  {text}" for verb, text in VERBS.items()]
    return "\n".join(["Usage: dync VERB [OPTIONS]", "", "A compiler for dynamic neural networks.", "", *verbs, "", EPILOGUE])


def app() -> App:
    """The table of verbs; each is imported on its first use."""
    from cyclopts import App, Parameter

    made = App(
        name="dync", version=None, help_formatter="plain", help_format="plaintext", default_parameter=Parameter(negative=()),
        print_error=False, exit_on_error=False, result_action="return_value",
    )  # fmt: skip
    for verb, text in VERBS.items():
        made.command(f"dync.cli.{verb}:{verb}", name=verb, help=text)
    return made


def invoke(tokens: Sequence[str]) -> int:
    """Run one command line and return its exit code; errors become one clear line on stderr unless `--debug` is given."""
    if not tokens or tokens[0] in ("--help", "-h"):
        print(overview())
        return 0
    if tokens[0] == "--version":
        print(__version__)
        return 0
    from cyclopts import CycloptsError

    from dync.cli.console import complain

    debug = "--debug" in tokens
    try:
        return app()([t for t in tokens if t != "--debug"]) or 0
    except CycloptsError as error:
        if debug:
            raise
        print(f"usage error: {error} (see dync --help)", file=sys.stderr)
        return 2
    except SystemExit as exit:
        return exit.code if isinstance(exit.code, int) else 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except Exception as error:
        if debug:
            raise
        return complain(error)
