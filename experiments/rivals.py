"""The learners that every report of learning is compared with: float32, on the same features, standardised.

Majority class, nearest class mean, SLDA and softmax regression learn a sample at a time, as the device does. Logistic
regression and a perceptron of 64 units (scikit-learn) are fitted once; they say what a data set allows.

Standardised means (x - mean)/deviation of each feature over the samples that `fit` or `scale` was given, clipped for the
learners in place (`Scaled.clip`). `bytes()` counts what learning changes, 4 bytes a number; mean and deviation are
constants and do not count, as the encoder of metabit does not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import extra
from metabit.experiments.development_sets import split_rows
from metabit.experiments.scaled import Classifier, Floats, Labels, Learner, Scaled

__all__ = [
    "RATES",
    "SLDA",
    "Classifier",
    "Frozen",
    "Learner",
    "Logistic",
    "Majority",
    "NearestMean",
    "Perceptron",
    "Softmax",
]

RATES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""Learning rates among which softmax regression chooses on the first task."""
_EMPTY = np.float32(-1e30)  # score of a class without a sample


class Frozen:
    """A fitted classifier that does not learn on: what learning in place is worth is measured against it."""

    def __init__(self, fitted: Classifier) -> None:
        self._fitted = fitted

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        self._fitted.fit(x, y)

    def scale(self, x: NDArray[Any]) -> None:
        """Nothing."""

    def predict(self, x: NDArray[Any]) -> Labels:
        return self._fitted.predict(x)

    def learn(self, x: NDArray[Any], y: int) -> None:
        """Nothing."""

    def bytes(self) -> int:
        return 0


class Majority:
    """The label seen most often, the lowest of them on a tie."""

    def __init__(self, features: int, classes: int) -> None:
        self._count = np.zeros(classes, dtype=np.int64)

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        self._count = np.bincount(y, minlength=len(self._count))

    def scale(self, x: NDArray[Any]) -> None:
        """Nothing: it sees no feature."""

    def predict(self, x: NDArray[Any]) -> Labels:
        return np.full(len(x), self._count.argmax())

    def learn(self, x: NDArray[Any], y: int) -> None:
        self._count[y] += 1

    def bytes(self) -> int:
        return 4 * len(self._count)


class NearestMean(Scaled):
    """The class whose mean is nearest; means of all samples of a class alike."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__(features, classes)
        self._mean = np.zeros((classes, features), dtype=np.float32)
        self._count = np.zeros(classes, dtype=np.int64)

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        self.scale(x)
        z = self.scaled(x)
        self._count = np.bincount(y, minlength=self.classes)
        for label in np.unique(y):
            self._mean[label] = z[y == label].mean(0)

    def predict(self, x: NDArray[Any]) -> Labels:
        scores = 2 * self.scaled(x) @ self._mean.T - (self._mean**2).sum(1)
        labels: Labels = np.where(self._count > 0, scores, _EMPTY).argmax(1)
        return labels

    def learn(self, x: NDArray[Any], y: int) -> None:
        self._count[y] += 1
        self._mean[y] += (self.scaled(x) - self._mean[y]) / np.float32(self._count[y])

    def bytes(self) -> int:
        return 4 * self.classes * (self.features + 1)


class SLDA(Scaled):
    """Class means and one streamed covariance: Hayes and Kanan, "Lifelong Machine Learning with Deep Streaming Linear
    Discriminant Analysis", arXiv:1909.01520.

    The covariance counts with (1 - shrinkage), the identity with shrinkage. It begins as the identity.
    """

    def __init__(self, features: int, classes: int, shrinkage: float = 0.01, every: int = 10) -> None:
        """every: learnt samples after which a prediction inverts the matrix again."""
        super().__init__(features, classes)
        self._shrinkage, self._every = shrinkage, every
        self._mean = np.zeros((classes, features), dtype=np.float32)
        self._count = np.zeros(classes, dtype=np.int64)
        self._covariance = np.eye(features, dtype=np.float32)
        self._samples, self._stale = 0, every
        self._residuals: list[Floats] = []  # of the samples that the covariance does not count yet
        self._weight, self._offset = np.zeros((classes, features)), np.zeros(classes)

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        self.scale(x)
        z = self.scaled(x)
        self._count = np.bincount(y, minlength=self.classes)
        for label in np.unique(y):
            self._mean[label] = z[y == label].mean(0)
        residual = z - self._mean[y]
        self._covariance = residual.T @ residual / np.float32(len(x))
        self._samples, self._stale = len(x), self._every

    def predict(self, x: NDArray[Any]) -> Labels:
        if self._stale >= self._every or len(x) > 1:
            self._count_residuals()
            share = self._shrinkage
            matrix = (1 - share) * self._covariance.astype(np.float64) + share * np.eye(self.features)
            self._weight = np.linalg.solve(matrix, self._mean.T.astype(np.float64)).T
            self._offset = -0.5 * (self._weight * self._mean).sum(1)
            self._stale = 0
        scores = self.scaled(x) @ self._weight.T + self._offset
        labels: Labels = np.where(self._count > 0, scores, _EMPTY).argmax(1)
        return labels

    def learn(self, x: NDArray[Any], y: int) -> None:
        residual = self.scaled(x) - self._mean[y]
        if self._count[y]:
            self._residuals.append(residual * np.float32(np.sqrt(self._count[y] / (self._count[y] + 1))))
        self._count[y] += 1
        self._mean[y] += residual / np.float32(self._count[y])
        self._stale += 1
        if len(self._residuals) >= self._every:
            self._count_residuals()

    def _count_residuals(self) -> None:
        """Bring the running mean of the products up to date: many samples at once, which is faster than each by itself."""
        if self._residuals:
            rows = np.stack(self._residuals)
            before, self._samples = self._samples, self._samples + len(rows)
            self._covariance = (self._covariance * np.float32(before) + rows.T @ rows) / np.float32(self._samples)
            self._residuals = []

    def bytes(self) -> int:
        return 4 * (self.classes * (self.features + 1) + self.features * (self.features + 1) // 2)


class Softmax(Scaled):
    """Softmax regression by stochastic gradient descent, a sample at a time.

    Without a given rate, `fit` chooses the one of `RATES` with the best balanced prequential accuracy on the second half
    of 1,500 samples of the training part, then makes 10 passes.
    """

    def __init__(self, features: int, classes: int, rate: float | None = None, passes: int = 10) -> None:
        super().__init__(features, classes)
        self._given, self._passes = rate, passes
        self._start(rate or 0.01)

    def _start(self, rate: float) -> None:
        self.rate = rate
        self._weight = np.zeros((self.classes, self.features + 1), dtype=np.float32)

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        self.scale(x)
        z = self._inputs(x)
        rng = np.random.default_rng(0)
        if self._given is None:
            rows = rng.permutation(len(z))[:1500]
            self._start(max(RATES, key=lambda rate: self._prequential(rate, z[rows], y[rows])))
        else:
            self._start(self._given)
        for _ in range(self._passes):
            for i in rng.permutation(len(z)):
                self._step(z[i], int(y[i]))

    def predict(self, x: NDArray[Any]) -> Labels:
        labels: Labels = (self._inputs(x) @ self._weight.T).argmax(1)
        return labels

    def learn(self, x: NDArray[Any], y: int) -> None:
        self._step(self._inputs(x[None])[0], y)

    def bytes(self) -> int:
        return 4 * self._weight.size

    def _inputs(self, x: NDArray[Any]) -> Floats:
        return np.concatenate([self.scaled(x), np.ones((len(x), 1), np.float32)], axis=1)

    def _step(self, z: Floats, y: int) -> None:
        scores = self._weight @ z
        chance = np.exp(scores - scores.max())
        error = chance / chance.sum()
        error[y] -= 1
        self._weight -= np.float32(self.rate) * error[:, None] * z

    def _prequential(self, rate: float, z: Floats, y: Labels) -> float:
        self._start(rate)
        right = np.zeros(len(z), dtype=bool)
        for i, (sample, label) in enumerate(zip(z, y, strict=True)):
            right[i] = (self._weight @ sample).argmax() == label
            self._step(sample, int(label))
        half = slice(len(z) // 2, None)
        return float(np.mean([right[half][y[half] == label].mean() for label in np.unique(y[half])]))


class _Fitted(Scaled, ABC):
    """A scikit-learn classifier whose one setting is chosen on 20 % of the training part; then it is fitted on all."""

    settings: tuple[float, ...] = ()
    clip = np.inf

    def __init__(self, features: int, classes: int, seed: int = 0) -> None:
        super().__init__(features, classes)
        self.seed = seed
        self.setting = self.settings[0]

    @abstractmethod
    def model(self, setting: float) -> Any:
        """Return an estimator, not yet fitted."""

    def fit(self, x: NDArray[Any], y: Labels) -> None:
        part = split_rows(y, 0.2, np.random.default_rng(self.seed))
        self.scale(x[~part])
        z = self.scaled(x)

        def accuracy(setting: float) -> float:
            return float(self.model(setting).fit(z[~part], y[~part]).score(z[part], y[part]))

        self.setting = max(self.settings, key=accuracy)
        self.scale(x)
        self._chosen = self.model(self.setting).fit(self.scaled(x), y)

    def predict(self, x: NDArray[Any]) -> Labels:
        labels: Labels = self._chosen.predict(self.scaled(x))
        return labels


class Logistic(_Fitted):
    """Logistic regression, its C chosen."""

    settings = (0.01, 0.1, 1.0, 10.0, 100.0)

    def model(self, setting: float) -> Any:
        with extra("sklearn"):
            from sklearn.linear_model import LogisticRegression
        return LogisticRegression(C=setting, max_iter=2000)

    def bytes(self) -> int:
        return 4 * int(self._chosen.coef_.size + self._chosen.intercept_.size)


class Perceptron(_Fitted):
    """One hidden layer of 64 ReLU units by Adam, at most 300 passes, its learning rate chosen."""

    settings = (0.0003, 0.001, 0.003, 0.01)

    def model(self, setting: float) -> Any:
        with extra("sklearn"):
            from sklearn.neural_network import MLPClassifier
        return MLPClassifier((64,), learning_rate_init=setting, max_iter=300, random_state=self.seed)

    def bytes(self) -> int:
        return 4 * sum(int(a.size) for a in (*self._chosen.coefs_, *self._chosen.intercepts_))
