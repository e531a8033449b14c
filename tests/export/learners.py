"""Networks that learn by each rule of a training file, and samples for them."""

from __future__ import annotations

import numpy as np
from networks import conv, fresh_network, gates_network, inputs, network, oracle_input, ternary, windowed

from metabit.export import Frozen, HeadRows, HeadSettings
from metabit.export.learning import State

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
