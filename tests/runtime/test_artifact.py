"""Artifacts: round trip, and every kind of damage refused with one line."""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import resource
import signal
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import safetensors.torch
import torch
from support.programs import early_exit, stateful
from support.runtime_packages import package

from dync.errors import ArtifactError
from dync.runtime import artifact
from dync.runtime.container import safe_name
from dync.runtime.package import KernelEntry, Package
from dync.runtime.store import Weights
from dync.runtime.weights import Raw
from dync.runtime.weights import read as read_weights
from dync.runtime.weights import safetensors as pieces


@pytest.fixture(scope="module")
def made() -> Package:
    return replace(package(early_exit(), "onnxruntime"), coverage={"paths": 2})


@pytest.fixture
def file(made, tmp_path) -> Path:
    artifact.write(made, tmp_path / "m.dync")
    return tmp_path / "m.dync"


def refused(path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        artifact.read(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


def rezip(path: Path, change, compression: int = zipfile.ZIP_STORED) -> None:
    """The same members through `change`, zipped anew by Python's own zipfile."""
    with zipfile.ZipFile(path) as archive:
        members = [(n, archive.read(n)) for n in archive.namelist()]
        comment = archive.comment
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.comment = comment
        for name, data in change(members):
            archive.writestr(name, data)


def test_round_trip(made, file) -> None:
    read = artifact.read(file)
    assert read.flow == made.flow and read.report == made.report and read.meta == made.meta and read.sources == made.sources
    assert read.coverage == {"paths": 2}
    assert {n: bytes(m) for n, m in read.members.items()} == {n: bytes(m) for n, m in made.members.items()}
    assert {n: k.settings for n, k in read.kernels.items()} == {n: dict(k.settings) for n, k in made.kernels.items()}
    for name, tensor in made.weights.items():
        assert np.array_equal(read.weights[name], tensor.numpy())


def test_inspect_reads_the_manifest(made, file) -> None:
    manifest = artifact.inspect(file)
    assert manifest.blocks == ("b0", "b1", "b2") and manifest.kernels["b0"].loader == "onnxruntime" and manifest.size == file.stat().st_size
    assert [p.name for p in manifest.signature.params] == ["threshold"]


def test_members_are_stored_and_aligned(file) -> None:
    data = file.read_bytes()
    with zipfile.ZipFile(file) as archive:
        assert archive.testzip() is None
        for info in archive.infolist():
            assert info.compress_type == zipfile.ZIP_STORED
            start = (
                info.header_offset
                + 30
                + int.from_bytes(data[info.header_offset + 26 :][:2], "little")
                + int.from_bytes(data[info.header_offset + 28 :][:2], "little")
            )
            assert start % 64 == 0
            assert hashlib.sha256(data[start : start + info.file_size]).digest() == hashlib.sha256(archive.read(info)).digest()
        source = archive.read("host/main.py").decode()
        assert "if score > threshold:" in source
        tensors = safetensors.torch.load(archive.read("weights.safetensors"))
    assert set(tensors) == {"first.weight", "last.weight"}


def test_same_package_same_bytes(made, file, tmp_path) -> None:
    artifact.write(made, tmp_path / "again.dync")
    assert file.read_bytes() == (tmp_path / "again.dync").read_bytes()


def test_weights_are_mapped_not_copied(tmp_path) -> None:
    """Reading an artifact of 64 MB adds little memory of its own until the weights are touched (hashing reads them through the map)."""
    made = package(early_exit())
    artifact.write(replace(made, weights={**made.weights, "big": torch.zeros(16, 1024, 1024)}), tmp_path / "m.dync")
    code = (
        "import sys, resource; from dync.runtime import artifact; p = artifact.read(sys.argv[1]);"
        "lines = open('/proc/self/status').read(); print(int(lines.split('RssAnon:')[1].split()[0]))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.dync")], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 48_000, "kB of anonymous memory"


def test_every_flipped_bit_is_found(file) -> None:
    good = file.read_bytes()
    rng = random.Random(0)
    spots = set(range(0, 64)) | set(range(len(good) - 700, len(good))) | {rng.randrange(len(good)) for _ in range(500)}
    for spot in sorted(spots):
        data = bytearray(good)
        data[spot] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
        refused(file)


def test_cut_off_and_foreign_files(file, tmp_path) -> None:
    good = file.read_bytes()
    for size in (0, 1, 21, 100, len(good) // 2, len(good) - 65, len(good) - 1):
        file.write_bytes(good[:size])
        refused(file)
    for other in (good + b"x", b"x" + good, b"\x7fELF" * 100, b"PK\x05\x06" + bytes(18)):
        file.write_bytes(other)
        refused(file)
    assert "No such file" in refused(tmp_path / "none.dync")
    assert "Is a directory" in refused(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "blocks/../../evil",
        "/etc/passwd",
        "C:/evil",
        "C:evil",
        "blocks\\evil",
        "blocks//evil",
        "./evil",
        "blocks/",
        "",
        "blocks/a\0b",
        "bl\u202eocks/a",
    ],
)
def test_names_that_leave_the_artifact(file, name) -> None:
    assert not safe_name(name)
    rezip(file, lambda members: [*members, (zipfile.ZipInfo(name), b"x")])
    refused(file)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_do_not_belong(file) -> None:
    good = file.read_bytes()

    def after(change, compression=zipfile.ZIP_STORED) -> str:
        file.write_bytes(good)
        rezip(file, change, compression)
        return refused(file)

    assert "'host/flow.json' is there twice" in after(lambda m: [*m, ("host/flow.json", dict(m)["host/flow.json"])])
    assert "blocks/extra is not declared" in after(lambda m: [*m, ("blocks/extra", b"x")])
    assert "weights.safetensors is missing" in after(lambda m: [x for x in m if x[0] != "weights.safetensors"])
    assert "has no manifest.json" in after(lambda m: [x for x in m if x[0] != "manifest.json"])
    assert "compressed" in after(lambda m: m, zipfile.ZIP_DEFLATED)
    assert "repacked" in after(lambda m: m)
    assert "host/main.py has" in after(lambda m: [(n, d + b"#" * (n == "host/main.py")) for n, d in m])


def test_newer_schema(file) -> None:
    rezip(file, lambda m: [(n, d.replace(b'"schema": 1', b'"schema": 2', 1)) for n, d in m])
    assert refused(file).endswith("was written by a newer dync (schema 2); this one reads up to 1: upgrade dync")


def test_sizes_beyond_the_file(file) -> None:
    data = bytearray(file.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    for field in (20, 24):
        data[at + field : at + field + 4] = (0x7FFFFFF0).to_bytes(4, "little")
    file.write_bytes(data)
    assert "claims 2147483632 bytes" in refused(file)


def test_a_flow_that_no_host_can_walk(made, tmp_path) -> None:
    entry, *rest = made.flow.blocks
    broken = msgspec.structs.replace(entry, inputs=("nowhere",))
    bad = replace(made, flow=msgspec.structs.replace(made.flow, blocks=(broken, *rest)))
    with pytest.raises((ArtifactError, ValueError), match="reads 'nowhere', which nothing defines"):
        artifact.write(bad, tmp_path / "m.dync")
    assert not list(tmp_path.iterdir())


def test_members_and_weights_that_kernels_want(made, tmp_path) -> None:
    assert "wants 'blocks/x', which is not there" in artifact.misfit(
        replace(made, kernels={**made.kernels, "b0": KernelEntry("eager", ("blocks/x",))})
    )
    assert "wants weight 'w'" in artifact.misfit(replace(made, kernels={**made.kernels, "b0": KernelEntry("eager", (), weights=("w",))}))
    assert artifact.misfit(replace(made, kernels={})) == "block 'b0' has no kernel"
    state = package(stateful())
    assert (
        artifact.misfit(replace(state, weights={"seen": state.weights["seen"]}))
        == "state 'mean' begins as weight 'mean0', which is not there"
    )
    with pytest.raises(ArtifactError, match="must stand under blocks/, not at '../x'"):
        artifact.write(replace(made, members={"../x": b""}), tmp_path / "m.dync")


def test_failed_writing_leaves_the_old_file(made, file) -> None:
    """The disk is full half-way: the old artifact is still there, and nothing else."""
    good = file.read_bytes()
    big = replace(made, weights={**made.weights, "big": torch.zeros(1 << 20)})
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_signal = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, old_limit[1]))
    try:
        with pytest.raises(ArtifactError, match=f"cannot write {re.escape(str(file))}: File too large"):
            artifact.write(big, file)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_signal)
    assert file.read_bytes() == good and os.listdir(file.parent) == ["m.dync"]
    with pytest.raises(ArtifactError, match="cannot write"):
        artifact.write(made, file.parent / "no" / "such" / "m.dync")


def test_weights_of_every_dtype() -> None:
    tensors = {
        str(d): torch.arange(6).to(d).reshape(2, 3)
        for d in (
            torch.float64,
            torch.float32,
            torch.float16,
            torch.bfloat16,
            torch.int64,
            torch.int32,
            torch.int16,
            torch.int8,
            torch.uint8,
            torch.bool,
            torch.complex64,
            torch.float8_e4m3fn,
            torch.float8_e5m2,
        )
    }
    tensors |= {"scalar": torch.tensor(3.0), "empty": torch.zeros(0, 4), "view": torch.arange(12.0).reshape(3, 4).T[1:]}
    data = b"".join(pieces(tensors))
    library = safetensors.torch.load(b"".join(pieces({n: t for n, t in tensors.items() if not t.is_complex()})))
    found = read_weights(memoryview(data))
    for name, tensor in tensors.items():
        got = found[name]
        bytes_ = bytes(got.data) if isinstance(got, Raw) else got.tobytes()
        assert bytes_ == tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else bytes_ == b""
        assert tuple(got.shape) == tuple(tensor.shape)
        assert tensor.is_complex() or torch.equal(library[name].float(), tensor.float())
    assert isinstance(found["torch.bfloat16"], Raw)


def test_damaged_weights() -> None:
    data = b"".join(pieces({"a": np.zeros(4, np.float32)}))
    for bad in (
        b"",
        data[:20],
        data[:-1],
        data + b"x",
        (2**63).to_bytes(8, "little") + data[8:],
        data.replace(b'"F32"', b'"F64"'),
        data.replace(b"[0, 16]", b"[4, 20]"),
        data.replace(b"[4]", b"[5]"),
        data.replace(b'{"a"', b'["a"'),
    ):
        with pytest.raises(ArtifactError):
            read_weights(memoryview(bad))


def test_reading_does_not_import_torch(made, file) -> None:
    code = (
        "import sys, dync, numpy; r = dync.load(sys.argv[1]); y = r(numpy.ones((2, 4), 'float32'));"
        "print(type(y).__name__, sorted({'torch', 'onnx', 'libcst', 'sympy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert done.stdout.split(" ", 1)[1] == "[]\n", done.stderr
    code = "import sys; from dync.runtime import artifact; print(artifact.inspect(sys.argv[1]).name, 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True)
    assert done.stdout == "early_exit False\n", done.stderr


def test_python_text_in_an_artifact_is_never_run(made, tmp_path) -> None:
    """Names and comments that would be code if they were printed unchanged."""
    from dync.ir.flow import Decision
    from dync.runtime.program import Runtime

    entry, *rest = made.flow.blocks
    evil = "x\n    import os; os._exit(3)  #"
    exit_ = msgspec.structs.replace(entry.exit, decision=Decision(evil, msgspec.structs.replace(entry.span, file=evil, line=3)))
    renamed = msgspec.structs.replace(entry, exit=exit_)
    flow = msgspec.structs.replace(made.flow, name=evil, blocks=(renamed, *rest))
    artifact.write(replace(made, flow=flow), tmp_path / "m.dync")
    runtime = Runtime(artifact.read(tmp_path / "m.dync"))
    runtime(np.ones((2, 4), np.float32))
    runtime.traced(np.ones((2, 4), np.float32))
    assert io.BytesIO(zipfile.ZipFile(tmp_path / "m.dync").read("host/main.py")).getvalue().count(b"\n    import os") == 0


@pytest.mark.parametrize("lies", [(0,), (64, 3, 1), (0, -3, 1), (0, 1 << 40, 1)])
def test_a_weight_lies_where_it_can(lies, made, tmp_path):
    name = next(n for n, w in made.weights.items() if len(w.shape) == 2)
    artifact.write(replace(made, layouts={name: lies}), tmp_path / "m.dync")
    assert f"weight {name!r} cannot lie in memory as" in refused(tmp_path / "m.dync")


def test_weights_lie_as_they_did(made, tmp_path):
    whole = torch.arange(60.0).reshape(6, 10)
    given = {"rows": whole[1], "columns": whole[:, 3], "turned": whole.t(), "wide": whole[2].expand(4, 10), "plain": whole[0].clone()}
    artifact.write(replace(made, weights={**made.weights, **given}), tmp_path / "m.dync")
    read = artifact.read(tmp_path / "m.dync")
    weights = Weights(read.weights, "torch", ["rows"], read.layouts)
    for name, tensor in given.items():
        found = weights.torch(name)
        assert torch.equal(found, tensor) and found.stride() == tensor.stride(), name
        assert found.data_ptr() % 64 == 4 * tensor.storage_offset() % 64, name
