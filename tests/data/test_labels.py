"""Labels as the classes of a model that has names, and new classes behind them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabit.data.errors import DataError
from metabit.data.labels import classes

KNOWN = ("idle", "run", "walk")


def found(
    labels: list[Any], test: list[Any] | None = None, **more: Any
) -> tuple[list[list[int]], tuple[str, ...], list[str]]:
    parts = [np.array(part) for part in ([labels] if test is None else [labels, test])]
    numbered, names, notes = classes("d", parts, **more)
    return [part.tolist() for part in numbered], names, notes


def test_labels_are_classes_by_name_in_any_order_and_number() -> None:
    assert found(["walk", "idle", "walk"], known=KNOWN, outputs=3) == ([[2, 0, 2]], KNOWN, [])
    assert found([5000, 0], [1000], known=("0", "1000", "5000"), outputs=3) == (
        [[2, 0], [1]],
        ("0", "1000", "5000"),
        [],
    )
    assert found([4, 1], known=tuple("01234"), outputs=5) == ([[4, 1]], tuple("01234"), [])


def test_new_labels_are_classes_behind_the_known_ones_and_said() -> None:
    numbered, names, notes = found(["run", "swim", "idle"], ["climb"], known=KNOWN, outputs=6)
    assert numbered == [[1, 4, 0], [3]] and names == (*KNOWN, "climb", "swim")
    assert notes == ["climb, swim: new to the model, class 3 to 4"]
    assert found(["swim", "swim"], known=KNOWN, outputs=4)[0] == [[3, 3]]  # a new class may come alone
    assert found([10, 9], known=("0", "1"), outputs=4)[1] == ("0", "1", "9", "10")  # in the order of numbers


@pytest.mark.parametrize(
    ("labels", "outputs", "message"),
    [
        (
            ["run", "swim"],
            3,
            r"d has labels that the model does not know \(swim\), and it has no spare class: give it more",
        ),
        (["run", "swim", "climb"], 4, r"\(climb, swim\), and it has one spare class: .*--spare-classes"),
        (["a", "b", "c"], 5, "it has 2 spare classes"),
        (["run", "run"], 5, r"d has one class only \(run\)"),
    ],
)
def test_labels_that_do_not_fit_are_named(labels: list[str], outputs: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        found(labels, known=KNOWN, outputs=outputs)


def test_words_for_a_model_that_counts_its_classes_are_numbered_as_before() -> None:
    numbered, names, notes = found(["b", "a"], known=("0", "1"), outputs=2)
    assert numbered == [[1, 0]] and names == ("a", "b") and "labels are words" in notes[0]
    with pytest.raises(DataError, match="d has 3 labels .* and the model has 2 classes: say which label is which"):
        found(["b", "a", "c"], known=("0", "1"), outputs=2)


def test_an_order_that_the_user_gives_comes_first() -> None:
    assert found(["x", "y"], known=KNOWN, outputs=3, order=("y", "x"))[0] == [[1, 0]]
