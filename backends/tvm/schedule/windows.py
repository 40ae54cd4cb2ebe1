"""The sliding windows of convolutions: which tap of a kernel meets which input, as arithmetic on numbers known at compile time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Phase:
    """Outputs o = step * i + first, for i in range(count): tap k of `taps` (k, offset) reads the input at i * stride + offset."""

    step: int
    first: int
    count: int
    stride: int
    taps: tuple[tuple[int, int], ...]

    def valid(self, tap: int, size: int) -> tuple[int, int]:
        """The range of i for which tap number `tap` reads inside an input of `size`."""
        offset = self.taps[tap][1]
        low = max(0, -(offset // self.stride))
        high = min(self.count, (size - 1 - offset) // self.stride + 1)
        return (low, max(low, high)) if low < self.count else (self.count, self.count)

    def interior(self, size: int) -> tuple[int, int]:
        """The range of i for which every tap reads inside the input."""
        ranges = [self.valid(t, size) for t in range(len(self.taps))]
        low, high = max((a for a, _ in ranges), default=0), min((b for _, b in ranges), default=self.count)
        return (low, max(low, high))


@dataclass(frozen=True)
class Window:
    """One spatial dimension of a convolution. pad: zeros before the input; size: of the input, out: of the output."""

    size: int
    out: int
    kernel: int
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    transposed: bool = False

    def phases(self) -> list[Phase]:
        """One for a convolution; for a transposed one, one for each remainder of the output index by the stride."""
        if not self.transposed:
            return [Phase(1, 0, self.out, self.stride, tuple((k, k * self.dilation - self.pad) for k in range(self.kernel)))]
        found = []
        for first in range(min(self.stride, self.out)):
            reach = [(k, first + self.pad - k * self.dilation) for k in range(self.kernel)]
            taps = tuple((k, r // self.stride) for k, r in reach if r % self.stride == 0)
            found.append(Phase(self.stride, first, -(-(self.out - first) // self.stride), 1, taps))
        return found
