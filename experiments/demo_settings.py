"""The defaults of the road, in one place: the demo's network and how its device learns.

Chosen on a validation part of the training digits (docs/results/demo.md), never on the test digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """hidden, planes, output, m, epochs: training. bits, visits: export. passes: over the stream.

    gentle_visits is what suits m = 0 best: without consolidation, only a small dose keeps the old world.
    """

    hidden: tuple[int, ...] = (512,)
    planes: int = 4
    output: Literal["learned", "code"] = "code"
    m: float = 25.0
    epochs: int = 50
    bits: int = 5
    visits: float = 0.12
    gentle_visits: float = 0.03
    passes: int = 3


RECIPE = Recipe()
