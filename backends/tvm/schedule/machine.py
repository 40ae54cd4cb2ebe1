"""What a schedule must know of a processor: the width of its vectors and how many of them it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tvm.target import Target


@dataclass(frozen=True)
class Machine:
    """bits: of a vector register. registers: how many. threads: that a kernel may use; 1 makes code without any parallel loop.

    feed: bytes a cycle that weights come in from the caches beyond the first. asks: whether to ask for weights ahead gains more than it
    takes from a step. Both as measured, on a Xeon and an EPYC with AVX-512 and on a Zen 3 (docs/decisions/0010).
    """

    bits: int = 128
    registers: int = 16
    threads: int = 1
    feed: int = 16
    asks: bool = False

    def lanes(self, dtype: str) -> int:
        """Elements of `dtype` in one vector."""
        from tvm_ffi import dtype as parse

        return max(1, self.bits // max(8, parse(dtype).bits))


def of(target: Target, threads: int) -> Machine:
    """The machine of an llvm target, from the features that LLVM gives its `mcpu` and `mattr`."""
    from tvm.target.codegen import llvm_get_cpu_features

    features = set(llvm_get_cpu_features(target))
    if "avx512f" in features and "avx512vl" in features:
        attributes: Any = target.attrs
        return Machine(512, 32, threads, feed=32 if str(attributes.get("mcpu", "")).startswith("znver") else 16, asks=True)
    if "avx2" in features:
        return Machine(256, 16, threads, feed=32)
    if "neon" in features:
        return Machine(128, 32, threads)
    return Machine(128, 16, threads)
