"""Hidden weights on the device's grid while they train, so that what is exported is what was trained.

A k-bit level h stands for the hidden weight (h + ½)·Δ: the middle of its cell, so that the sign of h and of the weight
agree (docs/learning-rule.md, "From the trained float"). Steps of training are far smaller than Δ; they are rounded
stochastically to whole levels, so that the mean step is the one asked for (probabilistic metaplasticity, Zohora et al., 10.1038/s41598-024-78290-w).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from metabit.train.errors import TrainError, extra

with extra("torch"):
    import torch
    from torch import Tensor

BITS = range(2, 9)
_WORD = 0xFFFFFFFF


class Grid(NamedTuple):
    """The levels h = -2^(k-1) .. 2^(k-1) - 1, each standing for the weight (h + ½)·delta.

    A plain tuple, so that an optimizer's state that holds one is JSON.

    Args:
        k: bits of a level, sign included, 2 to 8.
        delta: width of a level in hidden-weight units, finite and > 0.
    """

    k: int
    delta: float

    @classmethod
    def reaching(cls, k: int, m: float, top: float = 3.0) -> Grid:
        """The grid whose range ends where m·|W| = top: at 3, steps toward zero are held back to 1 % there.

        Args:
            k: 2 to 8.
            m: metaplasticity of the layer, > 0.
            top: > 0.

        Raises:
            TrainError: a value is out of its range.
        """
        if not (0 < m < math.inf and 0 < top < math.inf):
            raise TrainError(f"m={m} and top={top}: both must be finite and above 0")
        return cls.of((k, top / (m * 2 ** (k - 1))))

    @classmethod
    def of(cls, value: object) -> Grid:
        """A checked grid from (k, delta), as JSON gives it back.

        Raises:
            TrainError: value is not such a pair, or out of range.
        """
        if not isinstance(value, tuple | list) or len(value) != 2:
            raise TrainError(f"grid={value!r}: must be a Grid or a pair (k, delta)")
        k, delta = value
        if not isinstance(k, int) or k not in BITS or not 0 < delta < math.inf:
            raise TrainError(
                f"grid={tuple(value)}: k must be {BITS[0]} to {BITS[-1]} bits and delta a finite number > 0"
            )
        return cls(k, float(delta))

    @property
    def low(self) -> int:
        return -(1 << (self.k - 1))

    @property
    def high(self) -> int:
        return (1 << (self.k - 1)) - 1

    def levels(self, w: Tensor) -> Tensor:
        """h = clamp(floor(w / delta)), as export computes it; same dtype as w."""
        return torch.floor(w / self.delta).clamp_(self.low, self.high)

    def weights(self, h: Tensor) -> Tensor:
        """The weights that levels stand for: (h + ½)·delta."""
        return (h + 0.5) * self.delta

    def move_(self, w: Tensor, step: Tensor, seed: tuple[int, int]) -> None:
        """w = w - step in place, rounded up or down to whole levels so that the mean is kept, then clamped.

        A w off the grid is first moved to the middle of its cell; its sign stays.

        Args:
            w: float, contiguous.
            step: of w's shape, in hidden-weight units.
            seed: two 32-bit words; each (seed, position in w) has its own random number.
        """
        # In float32, as the native pass: in half precision a random number could round to 1 and move a step of zero.
        dtype = torch.promote_types(w.dtype, torch.float32)
        u = uniform(w.numel(), seed, w.device).to(dtype).reshape(w.shape)
        delta = torch.tensor(self.delta, dtype=dtype, device=w.device)
        h = torch.floor(w.to(dtype) / delta) + torch.floor(u - step.to(dtype) / delta)
        w.copy_((h.clamp_(self.low, self.high) + 0.5) * delta)


def uniform(n: int, seed: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """n numbers in [0, 1) of 24 bits each, float64: number i depends on the seed and i alone.

    The mixing function is the finaliser "lowbias32" with a second seed in its middle; `native/kernels.c` computes the same.
    """
    x = torch.arange(n, dtype=torch.int64, device=device)
    x = (x * 0x9E3779B9 + seed[0]) & _WORD
    x = ((x ^ (x >> 16)) * 0x7FEB352D & _WORD) ^ seed[1]
    x = (x ^ (x >> 15)) * 0x846CA68B & _WORD
    x = x ^ (x >> 16)
    return (x >> 8).to(torch.float64) * 2.0**-24


def seed_words(seed: int, parameter: int, step: int) -> tuple[int, int]:
    """Two well-mixed 32-bit words for one step of one parameter (splitmix64 over the three numbers).

    Counting instead of drawing from a generator means that there is no generator state to save: a resumed run, which
    knows its step, continues with the same numbers.
    """
    x = 0
    for part in (seed, parameter, step):
        x = (x ^ part) + 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & 0xFFFFFFFFFFFFFFFF
        x = (x ^ x >> 27) * 0x94D049BB133111EB & 0xFFFFFFFFFFFFFFFF
        x ^= x >> 31
    return x & _WORD, x >> 32
