"""What a model tells beside the class: confidence, counts by class, and what it learns from labels that come late."""

from __future__ import annotations

from pathlib import Path

import compilers
import numpy as np
import pytest
from networks import fresh_network, gates_network, inputs, network
from sklearn.datasets import load_digits

from metabit.export import Frozen, GateOptions, HeadLayer, freeze_gates, read_image, write_image
from metabit.export.frozen import HeadRows
from metabit.runtime import Model, ModelError, include_dir
from metabit.train.recipe import fit_recipe

PROGRAM = """
#include <stdio.h>
#include "metabit.h"
int main(void)
{
    int32_t scores[128];
    int classes;
    while (scanf("%d", &classes) == 1) {
        for (int c = 0; c < classes; c++)
            if (scanf("%d", &scores[c]) != 1)
                return 1;
        printf("%u\\n", (unsigned)mb_confidence(scores, (uint16_t)classes));
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def digits() -> tuple[Model, np.ndarray, np.ndarray]:
    """A head on digits, and a test part with noise, so that some of it is predicted wrong."""
    x, y = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    part = rng.random(len(y)) < 0.5
    trained = fit_recipe(x[part], y[part], units=32, steps=250)
    frozen = freeze_gates(trained, x[part], y[part], GateOptions(spare_classes=2))
    noisy = x[~part] + rng.normal(0, 3, (int((~part).sum()), 64))
    return Model(write_image(frozen)), np.clip(np.rint(noisy), 0, 16), y[~part]


def test_confidence_is_the_softmax_of_half_the_scores(digits: tuple[Model, np.ndarray, np.ndarray]) -> None:
    model, x, _ = digits
    scores = model.scores(x).astype(float)
    chances = np.exp((scores - scores.max(1)[:, None]) / 2**15)
    found = model.confidence(x)
    assert found.dtype == np.float32 and found.shape == (len(x),) and model.confidence(x[:0]).shape == (0,)
    np.testing.assert_allclose(found, chances.max(1) / chances.sum(1), rtol=1e-6)
    assert (scores[:, 10:] == -(2**31)).all()  # spare classes have no chance


def test_confidence_says_how_often_predictions_are_right(digits: tuple[Model, np.ndarray, np.ndarray]) -> None:
    """Once the head has learnt inputs of this kind: before, it is as sure as ever, and wrong."""
    start, x, y = digits
    model = Model(start.image())

    def gap() -> float:
        return float(model.confidence(x[450:]).mean() - (model.predict_many(x[450:]) == y[450:]).mean())

    before = gap()
    for _ in range(2):
        model.learn_many(x[:450], y[:450])
    right, found = model.predict_many(x[450:]) == y[450:], model.confidence(x[450:])
    assert before > 0.1 and abs(gap()) < before / 2 and 0.7 < right.mean() < 0.97
    sure = found > np.median(found)
    assert right[sure].mean() > right[~sure].mean() + 0.1


def test_the_c_header_computes_it_in_integers(digits: tuple[Model, np.ndarray, np.ndarray], tmp_path: Path) -> None:
    model, x, _ = digits
    (tmp_path / "main.c").write_text(PROGRAM)
    program = tmp_path / "main"
    compilers.run("gcc", "-std=c99", *compilers.WARNINGS, f"-I{include_dir()}", tmp_path / "main.c", "-o", program)
    rng = np.random.default_rng(0)
    rows = [*model.scores(x[:300]), np.array([7]), np.array([2**31 - 1, -(2**31)]), np.zeros(128, np.int64)]
    rows += [rng.integers(-200_000, 200_000, int(rng.integers(2, 30))) for _ in range(300)]
    text = "\n".join(f"{len(row)} {' '.join(map(str, row))}" for row in rows)
    found = np.array(compilers.run(program, data=text.encode()).split(), int) / 65536
    wanted = [1 / np.exp((row.astype(float) - row.max()) / 2**15).sum() for row in rows]
    np.testing.assert_allclose(found, wanted, atol=0.023)


def head_of(model: Model) -> HeadLayer:
    head = read_image(model.image()).layers[-1]
    assert isinstance(head, HeadLayer)
    return head


@pytest.mark.parametrize(
    "frozen",
    [
        gates_network(1, classes=4), gates_network(2, classes=5, spare=2), fresh_network(3, classes=4, spare=1),
        gates_network(4, classes=4, rows=HeadRows(3, 1, 1), row_count=9),
    ],
    ids=["gates", "spare", "fresh", "rows"],
)  # fmt: skip
def test_counts_by_class(frozen: Frozen) -> None:
    model = Model(write_image(frozen))
    x = inputs(frozen, 80)
    for round_ in range(2):
        head, found = head_of(model), model.class_counts
        owners = head.owners if len(head.owners) else np.arange(len(head.counts))
        assert found.dtype == np.int64 and found.shape == (frozen.classes,)
        assert found.tolist() == [int(head.counts[owners == label].sum()) for label in range(frozen.classes)]
        if round_ == 0:
            before = found
            model.learn_many(x, np.arange(80) % 2)
    assert (found - before).tolist() == [40, 40, *[0] * (frozen.classes - 2)]


def test_other_learners_have_neither() -> None:
    model = Model(write_image(network(3)))
    with pytest.raises(ModelError, match="the learner 'visits': rank its predictions by margins"):
        model.confidence(np.zeros((1, 40), np.uint8))
    with pytest.raises(ModelError, match="only a head counts classes"):
        _ = model.class_counts


def test_labels_that_come_late_need_the_bytes_of_the_input_alone(digits: tuple[Model, np.ndarray, np.ndarray]) -> None:
    """Bytes kept at the prediction and learnt later do what the numbers do when they are learnt at that time."""
    start, x, y = digits
    late, now = Model(start.image()), Model(start.image())
    waiting: list[tuple[np.ndarray, int]] = []
    for sample, label in zip(x[:200], y[:200], strict=True):
        late.predict_one(sample)
        waiting.append((late.device_bytes(sample[None])[0], int(label)))
        if len(waiting) > 50:  # each label comes fifty samples late
            late.learn_one(*waiting.pop(0))
    for kept, label in waiting:
        late.learn_one(kept, label)
    now.learn_many(x[:200], y[:200])
    assert late.state() == now.state()
    rest = x[200:], y[200:]
    assert (late.predict_many(rest[0]) == rest[1]).mean() > (start.predict_many(rest[0]) == rest[1]).mean() - 0.02
