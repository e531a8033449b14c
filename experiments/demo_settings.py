"""Settings of the demo, and the defaults of commands: the network and how its device learns.

Chosen on a validation part of the training digits (docs/results/demo.md), never on the test digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Recipe:
    """Settings of training (hidden, planes, output, m, epochs), of export (bits, visits) and of the stream (passes).

    visits: visit rate (docs/glossary.md). gentle_visits: the visit rate that suits m = 0 best, because without consolidation only
    a small one keeps the old task.
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
