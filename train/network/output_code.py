"""The fixed ±1 output code from hidden units to classes.

In our measurements a trained output layer causes nearly all forgetting; a fixed code removes it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

DRAWS = 300


def output_code(classes: int, units: int, seed: int) -> NDArray[np.int8]:
    """Return a code in which each hidden unit counts +1 for half of the classes and -1 for the others.

    With an odd number of classes, units alternate between the larger and the smaller half. The function makes 300 random
    codes and returns the first of those whose two most similar classes differ in the most units.

    Args:
        classes: C >= 2.
        units: number of hidden units, >= 1.
        seed: of NumPy's default generator.

    Returns:
        int8 (C, units), each +1 or -1.
    """
    generator = np.random.default_rng(seed)
    rank = np.arange(classes)[:, None]
    positive = (classes + np.arange(units) % 2) // 2
    ordered = np.where(rank < positive, 1, -1).astype(np.int8)
    best, best_distance = ordered, -1
    for _ in range(DRAWS):
        draw = generator.permuted(ordered, axis=0)
        distance = _closest_pair(draw)
        if distance > best_distance:
            best, best_distance = draw, distance
    return best


def _closest_pair(code: NDArray[np.int8]) -> int:
    """Return the smallest Hamming distance between two rows."""
    rows = code.astype(np.float32)  # for BLAS; exact up to 2**24 units
    agreement = rows @ rows.T
    np.fill_diagonal(agreement, -code.shape[1])
    return int((code.shape[1] - agreement.max()) // 2)
