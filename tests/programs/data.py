"""Inputs for the programs: seeded, of several scales and shifts, so that decisions go both ways."""

import torch

SCALES = (1.0, 0.3, 3.0, 1.0, 0.1, 2.0)
SHIFTS = (0.0, 0.5, -0.5, 1.0, -1.0)


def rand(seed: int, *shape: int, salt: int = 0) -> torch.Tensor:
    """Normal numbers, scaled and shifted by the seed; the global generator is left alone."""
    generator = torch.Generator().manual_seed(1000 * salt + seed)
    return torch.randn(*shape, generator=generator) * SCALES[seed % len(SCALES)] + SHIFTS[seed % len(SHIFTS)]


def whole(seed: int, low: int, high: int, *shape: int, salt: int = 0) -> torch.Tensor:
    """Integers in [low, high)."""
    return torch.randint(low, high, shape, generator=torch.Generator().manual_seed(1000 * salt + seed))
