"""Margins of predictions, and of a head the confidence and the counts of classes (docs/telling.md)."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.runtime.inputs import LAYERS, RECORD, RECORD_SIZE

_OF_GATES = 4
"""Field `input` of a head above gates."""


class ModelError(ValueError):
    """The image cannot be used. ``code`` is the runtime's error, e.g. -6 for MB_E_HEADER_CRC."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code

    def __reduce__(self) -> tuple[type[ModelError], tuple[str, int]]:
        return type(self), (str(self), self.code)


class Telling(ABC):
    """Base of `Model`: all of it follows from scores and state."""

    @property
    @abstractmethod
    def learner(self) -> str:
        """Name of the learner."""

    @abstractmethod
    def scores(self, x: ArrayLike) -> NDArray[np.int32]:
        """Scores, int32 (n, classes), of inputs (n, features)."""

    @abstractmethod
    def image(self) -> bytes:
        """The image with the present state."""

    def margins(self, x: ArrayLike) -> NDArray[np.int64]:
        """Returns the margins, int64 (n,) >= 0, of inputs (n, features): best score less second. A large one is sure.

        In units of this model's scores: good for ranking its predictions, not for comparing two models.
        """
        best_two = np.sort(self.scores(x).astype(np.int64), axis=1)[:, -2:]
        return best_two[:, -1] - best_two[:, 0]

    def confidence(self, x: ArrayLike) -> NDArray[np.float32]:
        """Returns how probable the predicted class is, float32 (n,) in 0..1, of inputs (n, features).

        It is the softmax of a head's scores, 2**15 to a nat. A score is the logarithm of a probability in 2**-14 nat, as if all
        that a head sees were independent; half of it agrees with how often predictions are right (docs/telling.md).

        Raises ModelError: this model has no head, and its scores have no unit.
        """
        if self.learner != "head":
            raise ModelError(f"confidence needs the scores of a head, and this model has the learner {self.learner!r}: "
                             "rank its predictions by margins", -28)  # fmt: skip
        found = self.scores(x).astype(np.float64)
        chances = np.exp((found - found.max(1, keepdims=True)) / 2**15)
        return np.asarray(1 / chances.sum(1), np.float32)

    @property
    def class_counts(self) -> NDArray[np.int64]:
        """Returns the samples that stand behind each class's means, int64 (classes,): 0 for a class that is not known yet.

        Means before deployment count at most 1000, and all counts halve when one reaches 1024, none below 64: they say which
        classes are frequent, not how many samples there were. Raises ModelError: this model has no head.
        """
        if self.learner != "head":
            raise ModelError(f"only a head counts classes, and this model has the learner {self.learner!r}", -28)
        return _class_counts(self.image())

    @property
    def novelties(self) -> NoReturn:
        """Raises ModelError, which names `margins`: this was taken out, and the next release drops the name."""
        raise ModelError("Model.novelties was taken out: rank predictions by Model.margins", -28)


def _class_counts(image: bytes) -> NDArray[np.int64]:
    """The counts of a head by class, int64 (classes,), of an image that the runtime has checked and that has a head."""
    (count,) = struct.unpack_from("<H", image, LAYERS)
    record = image[RECORD + RECORD_SIZE * (count - 1) :][:RECORD_SIZE]
    inputs, classes = struct.unpack_from("<HH", record, 4)
    (at,) = struct.unpack_from("<I", record, 20)
    rows, several = record[48], record[49] > 1
    values = 2 * inputs if record[1] == _OF_GATES else inputs
    counts_at = at + 8 * rows + values * (values + 2) + 2 * rows * values
    counts = np.frombuffer(image, "<u2", rows, counts_at).astype(np.int64)
    if not several:
        return counts
    owners = np.frombuffer(image, np.uint8, rows, counts_at + 2 * rows + 6 + rows * values)
    return np.array([counts[owners == label].sum() for label in range(classes)], np.int64)
