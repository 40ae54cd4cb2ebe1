"""The options that several verbs share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

Json = Annotated[bool, Parameter(help="Print the result as JSON.")]
Init = Annotated[list[str], Parameter(help="Argument for building the model, name=value; repeatable.")]
Inputs = Annotated[
    list[str], Parameter(name="--input", help='Example input, "x:f32[N=1..64,3,32,32]"; N=1..64 is a named dynamic dim; repeatable.')
]
Archive = Annotated[Path | None, Parameter(name="--inputs", help="Example inputs by argument name, file.npz.")]
Weights = Annotated[Path | None, Parameter(help="Weights to load, .safetensors or .pt (never unpickled).")]
Params = Annotated[list[str], Parameter(name="--param", help="Run-time parameter, threshold=0.9:0..1; repeatable.")]
Seed = Annotated[int, Parameter(help="Seed of random weights and inputs.")]
Target = Annotated[str, Parameter(help="cpu, or cuda[:sm_90].")]
Backend = Annotated[str, Parameter(help="auto, or some of those that dync targets lists: tvm; tvm,onnxruntime; b3=tvm for one block.")]
Level = Literal["paths", "quick", "off"]
