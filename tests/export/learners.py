"""Networks that learn by each rule of a training file, and samples for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import conv, fresh_network, gates_network, inputs, network, oracle_input, ternary, voting, windowed

from metabit.export import ExportError, Frozen, HeadRows, HeadSettings
from metabit.export.learning import State, state_of

HEADS = {
    "H = 32, 2 classes": gates_network(4, 13, 3, 16, 2),
    "H = 64, 6 classes, a spare one": gates_network(5, 13, 3, 32, 6, spare=1),
    "from nothing, 10 classes": fresh_network(2, 9, 64, 10, 2, "int16"),
    "features as floats": fresh_network(3, 5, 8, 3, 0, "float"),
    "rows": gates_network(6, 13, 3, 8, 4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
    "a still covariance, sweeps now and then": gates_network(7, 9, 5, 7, 6, head=HeadSettings(20, 0, 300, False, 4)),
}
OTHERS = {
    "levels": gates_network(2, 9, 3, 33, 3, "levels", k=3, learns=True, shared=True, kind="int16", scaled=True),
    "levels on packed bits": gates_network(3, 37, 0, 40, 5, "levels", k=8, learns=True),
    "64-32-10": network(2, (64, 32, 10), 4, 0),
    "a layer below does not learn": network(3, (40, 50, 33, 10), 4, 2, (False, True, True)),
    "a layer between learns": network(3, (40, 50, 33, 10), 2, 2, (False, True, False)),
    "ternary": ternary(network(5, (12, 50, 33, 10), 8)),
    "ternary, half of the units": ternary(network(7, (40, 100, 70, 10), 3, 2, dose=200)),
    "output alone": network(9, (21, 5), 3, 0),
    "above convolutions": windowed(1, (7, 9, 3), (conv(5, 3, 1, True, 2), conv(9, 2)), (6, 4), "bits"),
    "above a convolution of bytes": windowed(6, (9, 9, 3), (conv(32, 5, 1, True, 3),), (20, 5), "uint8"),
}
NETWORKS = HEADS | OTHERS
FEW = {name: NETWORKS[name] for name in ("rows", "levels", "ternary, half of the units", "above convolutions")}


def samples(frozen: Frozen, n: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    x = np.array([oracle_input(frozen, one) for one in inputs(frozen, n, seed)])
    return x, np.random.default_rng(seed).integers(0, frozen.classes, n)


def assert_states_equal(got: State, want: State) -> None:
    assert got.keys() == want.keys()
    for name, array in want.items():
        assert got[name].dtype == array.dtype, name
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def check_what_cannot_be_learnt(learner_of: Callable[[Frozen], Any]) -> None:
    """A learner of any engine refuses wrong labels and inputs by name, and a class without a row changes no state."""
    frozen = gates_network(6, 13, 3, 8, 4, rows=HeadRows(3, 1, 2), row_count=9)
    learner = learner_of(frozen)
    x, y = samples(frozen, 4)
    for wrong, why in (
        (y + 4, "must be from 0 to 3"),
        (y[:3], "the class of each sample"),
        (y / 2, "must be integers"),
    ):
        with pytest.raises(ExportError, match=why):
            learner.learn(x, wrong)
    for bad in (x[:, :5], x[0], x.astype(np.float32)):
        with pytest.raises(ExportError, match=r"features must be uint8 \(n, 13\)"):
            learner.scores(bad)
    assert learner.scores(x[:0]).shape == (0, 4) and learner.learn(x[:0], y[:0]).report.shape == (0, 6)
    full = frozen.layers[1]
    owners = np.where(full.owners == 3, 2, np.where(full.owners == 255, 1, full.owners)).astype(np.uint8)
    full = replace(full, owners=owners, counts=np.full_like(full.counts, 9), rows=HeadRows(8, 1, 2))
    frozen = replace(frozen, layers=(frozen.layers[0], full))
    learner = learner_of(frozen)
    with pytest.raises(ExportError, match="class 3 has no row, and all rows are taken.*nothing was learnt"):
        learner.learn(x, [0, 1, 3, 2])
    assert_states_equal(learner.state(), state_of(frozen))


def check_networks_without_a_step(write: Callable[[Frozen], bytes]) -> None:
    """A writer of training files refuses networks that learn by votes, or not at all."""
    with pytest.raises(ExportError, match="vote rule is not written: use the C runtime"):
        write(voting(1))
    with pytest.raises(ExportError, match="does not learn"):
        write(network(1, learns=(False,) * 3))
