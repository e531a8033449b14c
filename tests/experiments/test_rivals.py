from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from metabit.experiments.rivals import SLDA, Frozen, Learner, Logistic, Majority, NearestMean, Perceptron, Softmax

LEARNERS = {"majority": Majority, "nearest mean": NearestMean, "SLDA": SLDA, "softmax": Softmax}


def blobs(seed: int, samples: int = 300) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three classes whose features differ in scale by 10^6, with one constant."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, samples)
    centres = np.array([[0, 0, 4, 0], [0, 4, 0, 0], [4, 0, 0, 0]])
    return (rng.normal(size=(samples, 4)) + centres[y]) * [1e3, 1, 1e-3, 0] + [0, 0, 0, 7], y


@pytest.mark.parametrize("name", ["nearest mean", "SLDA", "softmax"])
def test_what_was_fitted_is_known_and_a_new_class_is_learnt(name: str) -> None:
    x, y = blobs(0)
    model: Learner = LEARNERS[name](4, 3)
    model.fit(x[y < 2], y[y < 2])
    x_test, y_test = blobs(1)
    old = y_test < 2
    assert (model.predict(x_test[old]) == y_test[old]).mean() > 0.93
    assert (model.predict(x_test[~old]) == 2).mean() < 0.05
    for sample, label in zip(x, y, strict=True):
        model.learn(sample, int(label))
    assert (model.predict(x_test) == y_test).mean() > 0.9


def test_majority_and_frozen() -> None:
    x, y = blobs(0)
    model = Majority(4, 3)
    model.fit(x, np.where(y == 0, 0, 1))
    assert (model.predict(x) == 1).all()
    for _ in range(len(x)):
        model.learn(x[0], 2)
    assert (model.predict(x[:2]) == 2).all()
    frozen = Frozen(NearestMean(4, 3))
    frozen.fit(x, y)
    before = frozen.predict(x)
    for sample in x:
        frozen.learn(sample, 0)
    assert np.array_equal(frozen.predict(x), before) and frozen.bytes() == 0


def test_one_sample_at_a_time_is_what_a_fit_gives() -> None:
    """Running means and covariance end where the formulas for all samples end."""
    x, y = blobs(2)
    for kind in (NearestMean, SLDA):
        fitted, streamed = kind(4, 3), kind(4, 3)
        fitted.fit(x, y)
        streamed.scale(x)
        for sample, label in zip(x, y, strict=True):
            streamed.learn(sample, int(label))
        assert np.allclose(fitted._mean, streamed._mean, atol=1e-4)
        assert (fitted.predict(x) == streamed.predict(x)).mean() > 0.99


def test_softmax_chooses_its_rate() -> None:
    x, y = blobs(3)
    chosen, bad = Softmax(4, 3), Softmax(4, 3, rate=1e-7)
    for model in (chosen, bad):
        model.fit(x, y)
    assert chosen.rate in (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1) and bad.rate == 1e-7
    assert (chosen.predict(x) == y).mean() >= (bad.predict(x) == y).mean()


def test_bytes() -> None:
    sizes = {name: kind(10, 6).bytes() for name, kind in LEARNERS.items()}
    assert sizes == {"majority": 24, "nearest mean": 264, "SLDA": 264 + 4 * 55, "softmax": 264}
    x, y = blobs(0, 90)
    for model, numbers in ((Logistic(4, 3), 3 * 5), (Perceptron(4, 3), 64 * 5 + 3 * 65)):
        model.settings = model.settings[-2:]
        model.fit(x, y)
        assert model.bytes() == 4 * numbers and model.setting in model.settings
        assert (model.predict(x) == y).mean() > 0.9
