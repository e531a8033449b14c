"""A model beside its rivals: one stream, one order, one set of test parts, and what is said in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from networks import network

from metabit.data import Task, load
from metabit.experiments import comparison, stream
from metabit.experiments.rivals import SLDA, Majority, NearestMean, Softmax
from metabit.export import Frozen, VoteOptions, fresh_votes, write_image
from metabit.firmware_sim import Comparison, Line
from metabit.runtime import Model

OURS = Line("metabit (visits)", 1000, (0.5, 0.5), (0.5, 0.5), 0.5)


def small(task: Task, samples: int) -> Task:
    return replace(task, x_train=task.x_train[:samples], y_train=task.y_train[:samples])


def tasks() -> dict[str, Task]:
    return {"new": small(load("digits:sideways").whole(), 130), "old": small(load("digits").whole(), 700)}


def taught() -> bytes:
    """A network that has learnt some of the old task."""
    model, old = Model(write_image(fresh_votes(64, 64, 10, VoteOptions(thresholds=(3, 9))))), load("digits").whole()
    model.learn_many(old.x_train, old.y_train)
    return model.image()


def test_every_rival_learns_the_stream_of_the_model_and_begins_with_what_it_knew() -> None:
    """Each line is what the rival gives when it is driven by hand."""
    found, calls = tasks(), []
    pieces = list(stream.chunks(130, 2, 150, 3, 40, shuffle=True))
    told = comparison.compare(taught(), found, pieces, OURS, ["old"], lambda: calls.append(1))
    assert len(calls) == comparison.steps(150)
    assert told.known == ("old",) and told.datasets == ("new", "old") and told.counted == ["new", "old"]
    assert [line.name for line in told.lines] == [OURS.name, comparison.NOT_LEARNING, *comparison.RIVALS]
    rows, new, old = np.concatenate(pieces), found["new"], found["old"]
    by_name = {line.name: line for line in told.lines}
    for name, learner in (
        ("majority class", Majority(64, 10)), ("softmax SGD", Softmax(64, 10)),
        ("nearest class mean", NearestMean(64, 10)), ("SLDA", SLDA(64, 10, every=16)),
    ):  # fmt: skip
        learner.fit(old.x_train, old.y_train)
        before = [(learner.predict(t.x_test) == t.y_test).mean() for t in (new, old)]
        right = 0
        for row in rows:
            right += learner.predict(new.x_train[row][None])[0] == new.y_train[row]
            learner.learn(new.x_train[row], int(new.y_train[row]))
        after = [(learner.predict(t.x_test) == t.y_test).mean() for t in (new, old)]
        line = by_name[name]
        assert line.state == learner.bytes() and line.prequential == right / 150
        assert line.before == tuple(before) and line.after == tuple(after)
    still = by_name[comparison.NOT_LEARNING]
    assert still.state == 0 and still.before == still.after
    assert still.before[1] == (Model(taught()).predict_many(old.x_test) == old.y_test).mean()
    assert "fitted to the training part of old" in told.began


def test_what_the_model_did_not_know_no_rival_knows() -> None:
    """A fresh network begins from nothing; so do the rivals, and a task that nobody learnt does not count."""
    image = write_image(fresh_votes(64, 32, 10, VoteOptions(thresholds=(3, 9))))
    told = comparison.compare(image, tasks(), [np.arange(130)], OURS, ["old"])
    assert told.known == () and told.counted == ["new"] and "knew nothing of old either" in told.began
    majority = told.lines[2]
    assert majority.before[0] == (tasks()["new"].y_test == 0).mean()
    assert told.mean(majority) == majority.after[0]
    assert "name data of before deployment by --also" in comparison.compare(image, tasks(), [np.arange(9)], OURS).began


def test_bits_are_unpacked_for_the_rivals() -> None:
    task = load("digits").whole()
    bits = replace(task, x_train=(task.x_train > 7).astype(np.uint8), x_test=(task.x_test > 7).astype(np.uint8))
    packed = stream.as_inputs(bits, network(1, (64, 20, 10), planes=0))
    assert packed.packed == 64 and packed.x_train.shape[1] == 8
    assert np.array_equal(comparison.features(packed), bits.x_train)
    assert np.array_equal(comparison.features(packed, test=True), bits.x_test)


def made(ours: float, softmax: float, still: float = 0.1) -> Comparison:
    lines = [
        Line("metabit (visits)", 2000, (0.1, 0.9), (ours, 0.9)),
        Line(comparison.NOT_LEARNING, 0, (0.1, 0.9), (still, 0.9)),
        Line("softmax SGD", 1400, (0.1, 0.9), (softmax, 0.9)),
        Line("SLDA", 9000, (0.1, 0.9), (softmax - 0.02, 0.9)),
    ]
    return Comparison(("new", "old"), ("old",), lines, "")


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (made(0.8, 0.7), ("No other learner is better", "softmax SGD", "70.0 % of new and 90.0 % of old", "1,400 bytes")),
        (made(0.8, 0.9), ("Softmax SGD is better here", "mean 90.0 %", "metabit (visits) predicts 80.0 %", "well: SLDA")),
        (made(0.8, 0.81), ("Softmax SGD is better here: it predicts 81.0 % of new",)),
        (made(0.3, 0.2, 0.5), ("Not learning is better here", "no state")),
    ],
)  # fmt: skip
def test_words_say_who_is_better_with_the_figures(found: Comparison, words: tuple[str, ...]) -> None:
    (said,) = comparison.verdicts(found, network(3))
    assert all(word in said for word in words), said
    assert ("well: SLDA" in said) == (found.lines[3].after[0] > found.lines[0].after[0]) or "No other" in said


def test_words_say_when_the_layer_on_the_inputs_must_learn() -> None:
    def said(frozen: Frozen, ours: float) -> int:
        return len(comparison.verdicts(made(ours, 0.8), frozen))

    only_output, all_layers = network(3, learns=(False, False, True)), network(3)
    assert (said(only_output, 0.3), said(only_output, 0.7), said(all_layers, 0.3)) == (2, 1, 1)
    assert said(network(3, (40, 10)), 0.3) == 1  # no layer lies below its output
    told = comparison.verdicts(made(0.3, 0.8), only_output)[1]
    assert "30.0 %" in told and "80.0 %" in told and "votes" in told
