"""Classifiers on standardised features, and how a report drives them: `fit` an old task or `scale`, then `learn` and `predict`."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Classifier(Protocol):
    def fit(self, x: NDArray[Any], y: Labels) -> None:
        """Learn the old task: x (n, F) numbers of any scale, y (n,) of 0..classes-1."""

    def predict(self, x: NDArray[Any]) -> Labels:
        """Return the predicted class, (n,), of each row of x (n, F)."""

    def bytes(self) -> int:
        """Memory of what was learnt."""


class Learner(Classifier, Protocol):
    def scale(self, x: NDArray[Any]) -> None:
        """Standardise features by x (n, F), where nothing was fitted."""

    def learn(self, x: NDArray[Any], y: int) -> None:
        """One sample x (F,) with its label, in place."""


class Scaled:
    """Base of the classifiers that standardise features.

    clip: deviations from the mean beyond which a feature counts no more. A feature that hardly varied before the stream
    would otherwise outweigh all others: softmax regression falls from 78/83 to 71/67 (old/new) without it.
    """

    clip = 4.0

    def __init__(self, features: int, classes: int) -> None:
        self.features, self.classes = features, classes
        self.mean, self.deviation = np.zeros(features), np.ones(features)

    def scale(self, x: NDArray[Any]) -> None:
        """Take mean and deviation of each feature from x (n, F); a constant's deviation counts as 1."""
        self.mean, deviation = x.mean(0), x.std(0)
        self.deviation = np.where(deviation > 1e-9 * np.abs(self.mean) + 1e-30, deviation, 1.0)

    def scaled(self, x: NDArray[Any]) -> Floats:
        z: Floats = np.clip((x - self.mean) / self.deviation, -self.clip, self.clip).astype(np.float32)
        return z
