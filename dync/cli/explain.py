"""`dync explain MODEL`."""

from __future__ import annotations

from dync.api import explain as run
from dync.cli.console import constant, emit, pairs, run_params, steps
from dync.cli.words import Archive, Backend, Init, Inputs, Json, Params, Seed, Target, Weights
from dync.examples import examples
from dync.progress import stage
from dync.source import open_model


def explain(
    model: str, *, input: Inputs = [], inputs: Archive = None, param: Params = [], init: Init = [], weights: Weights = None,  # noqa: B006
    target: Target = "cpu", backend: Backend = "auto", seed: Seed = 0, json: Json = False,
) -> int:  # fmt: skip
    """Show every control-flow construct of a model and what it becomes; no code generation."""
    with steps(2):
        with stage("load", model):
            source = open_model(model, {n: constant(v) for n, v in pairs(init, "--init").items()}, weights, seed)
            found = examples(source, input, inputs, seed)
        with stage("capture", model):
            explained = run(source.model, found.args, found.kwargs, backend, target, found.dynamic_shapes, run_params(param))
    emit(explained, json)
    return 0
