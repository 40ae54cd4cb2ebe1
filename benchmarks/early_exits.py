"""The trained three-exit classifier on real images at batch 1, exit by exit, beside its peers."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.options import Options
from benchmarks.peers import Refused, dycl, oracle, pytorch
from benchmarks.result import Result
from benchmarks.subject import compile_dync, same
from benchmarks.timing import interleave

IMAGES = 24


def run(options: Options) -> Result:
    from dync.models import fashion_exits

    model = fashion_exits.build()
    images = fashion_exits.sample()[0].split(1)
    args, params = (images[0],), {"threshold": (model.threshold, 0.0, 1.0)}
    makers = {
        "eager": pytorch.eager,
        "dync": partial(compile_dync, params=params, threads=options.threads),
        "dync, ONNX Runtime alone": partial(compile_dync, params=params, threads=options.threads, backend="onnxruntime"),
        "torch.compile": pytorch.torch_compile,
        "TorchScript": pytorch.torchscript,
        "DyCL by hand": partial(dycl.dycl, threads=options.threads),
    }
    runners, seconds, notes = {}, {}, []
    for name, make in makers.items():
        start = time.perf_counter()
        try:
            runners[name] = make(model, args)
            seconds[name] = None if name == "eager" else time.perf_counter() - start
        except Refused as error:
            notes.append(f"{name} does not take the model: {error}")

    taken = [model(image)[1] for image in images]
    rows, ok = [], True
    for number in range(3):
        chosen = [(image,) for image, e in zip(images, taken, strict=True) if e == number][:IMAGES]
        here = runners | {"oracle": oracle.fashion_exits(model, number, options.threads)}
        wrong = {name for name, runner in here.items() if not all(same(runner(*a), model(*a)) for a in chosen)}
        ok &= not wrong
        times = interleave(here, chosen, options.seconds)
        base = times["eager"].median
        for name, one in times.items():
            verdict = "WRONG" if name in wrong else "equal"
            rows.append((number, name, one.median, one.p90, base / one.median, seconds.get(name), verdict))
    notes.append(f"up to {IMAGES} images an exit; equal: same exit, logits within 1e-4")
    notes.append("oracle: the path taken as one ONNX Runtime session, known beforehand; a bound, no system")
    columns = ("exit", "runner", "median ms", "p90 ms", "times as fast as eager", "compile s", "against eager")
    return Result("early-exits", "Three-exit classifier, Fashion-MNIST, batch 1", columns, tuple(rows), tuple(notes), ok)
