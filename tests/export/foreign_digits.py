"""The digits that the networks in tests/export/foreign decide about, and learning on with half of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from metabit.export import Frozen, write_image
from metabit.runtime import Model

FILES = Path(__file__).parent / "foreign"
LARQ = dict(np.load(FILES / "larq.npz"))
DIGITS, Y = LARQ["x"], LARQ["y"].astype(np.int64)
"""The last 256 digits of scikit-learn, pixels 0..16 as uint8 (256, 64), and their labels. No network was trained on them."""


class Learner(Protocol):
    def predict(self, x: np.ndarray) -> np.ndarray: ...
    def learn(self, x: np.ndarray, y: int) -> None: ...


class OnDevice:
    """A network as a device learns it, a sample at a time."""

    def __init__(self, frozen: Frozen) -> None:
        self.model = Model(write_image(frozen))
        self.predict = self.model.predict_many

    def learn(self, x: np.ndarray, y: int) -> None:
        self.model.learn_one(x, y)


def learnt_on(make: Callable[[], Any]) -> tuple[float, float, list[Any]]:
    """Accuracy in per cent on 128 digits before and after the other 128 were learnt four times, and the learners.

    Both are means over four random halves, seeds 0 to 3, and each half has a new learner.
    """
    before, after, learners = [], [], []
    for seed in range(4):
        learner: Learner = make()
        order = np.random.default_rng(seed).permutation(256)
        learn, test = order[:128], order[128:]
        before.append((learner.predict(DIGITS[test]) == Y[test]).mean())
        for _ in range(4):
            for i in learn:
                learner.learn(DIGITS[i], int(Y[i]))
        after.append((learner.predict(DIGITS[test]) == Y[test]).mean())
        learners.append(learner)
    return 100 * float(np.mean(before)), 100 * float(np.mean(after)), learners
