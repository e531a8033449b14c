"""The options of an export in the frozen network, and the errors of options that are impossible."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from random_checkpoint import checkpoint

from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.freeze.levels import generator_state
from metabit.export.freeze.visits import NO_AUTO, VisitOptions, freeze
from metabit.export.frozen import DenseLayer, Frozen
from metabit.runtime import Model


def ternary(frozen: Frozen) -> list[bool]:
    """True for each hidden layer that is ternary."""
    return [layer.ternary for layer in frozen.layers if isinstance(layer, DenseLayer)]


def test_hidden_layers_above_the_lowest_that_learns_are_ternary_unless_exact_is_asked_for() -> None:
    deep = checkpoint((12, 20, 9, 8, 3), planes=2)
    assert ternary(freeze(deep, VisitOptions(backward="exact"))) == [False, False, False]
    found = freeze(deep, VisitOptions(backward="ternary"))
    assert ternary(found) == ternary(freeze(deep, VisitOptions())) == [False, True, True]
    for shallow, bits in ((checkpoint((12, 20, 3), planes=2), 4), (deep, 1)):
        assert not any(ternary(freeze(shallow, VisitOptions(bits=bits))))
        with pytest.raises(
            ExportError, match="backward='ternary': no hidden layer of this network lies above one that learns"
        ):
            freeze(shallow, VisitOptions(bits=bits, backward="ternary"))
    again = read_image(write_image(found))
    assert ternary(again) == [False, True, True] and write_image(again) == write_image(found)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"bits": 0}, "bits=0: must be a whole number from 1 (frozen) to 8"),
        ({"bits": 9}, "bits=9: must be a whole number from 1 (frozen) to 8"),
        ({"bits": 4.0}, "bits=4.0: must be a whole number from 1 (frozen) to 8"),
        ({"m": -0.1}, "m=-0.1: must be a finite number >= 0, or left out"),
        ({"m": float("inf")}, "m=inf: must be a finite number >= 0, or left out"),
        ({"m": float("nan")}, "m=nan: must be a finite number >= 0, or left out"),
        ({"strengthen": "maybe"}, "strengthen='maybe': must be 'certain' or 'same'"),
        ({"backward": "binary"}, "backward='binary': must be 'exact' or 'ternary'"),
        ({"visit_rate": 0}, "visit_rate=0: must be above 0 and at most 1"),
        ({"visit_rate": 1.01}, "visit_rate=1.01: must be above 0 and at most 1"),
        ({"m": "auto"}, NO_AUTO),
        ({"m": "most"}, "m='most': must be a finite number >= 0, or left out"),
        ({"skip_below": -0.01}, "skip_below=-0.01: must be from 0 to 1"),
        ({"skip_below": 2}, "skip_below=2: must be from 0 to 1"),
        ({"ste_window": -1}, "ste_window=-1: must be a finite number >= 0"),
        ({"ste_window": float("nan")}, "ste_window=nan: must be a finite number >= 0"),
        ({"temperature": 0}, "temperature=0: must be a finite number above 0"),
        ({"temperature": float("inf")}, "temperature=inf: must be a finite number above 0"),
        ({"seed": -1}, "seed=-1: must be a whole number from 0 to 4294967295"),
        ({"seed": 2**32}, "seed=4294967296: must be a whole number from 0 to 4294967295"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        VisitOptions(**options)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    "options",
    [
        {"bits": 1}, {"bits": 8}, {"m": 1e9}, {"visit_rate": 1}, {"visit_rate": 1e-9}, {"skip_below": 0},
        {"skip_below": 1},
        {"ste_window": 0}, {"ste_window": 1e9}, {"temperature": 1e-9}, {"temperature": 1e9}, {"seed": 0}, {"seed": 2**32 - 1},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("norm", ["batch", "static"])
def test_whatever_the_options_allow_can_be_written_and_run(options: dict[str, Any], norm: str) -> None:
    frozen = freeze(checkpoint(norm=norm), VisitOptions(**options))
    model = Model(write_image(frozen))
    x = np.zeros((4, model.input_size), np.uint8)
    assert model.predict_many(x).shape == (4,)
    assert all(layer.learns == (options != {"bits": 1}) for layer in frozen.layers)


@pytest.mark.parametrize("options", [{"temperature": 1e-310}, {"seed": 1.5}, {"visit_rate": "a"}], ids=str)
def test_an_option_that_no_device_can_have_is_an_export_error(options: dict[str, Any]) -> None:
    with pytest.raises(ExportError):
        freeze(checkpoint(), VisitOptions(**options))


def test_what_the_options_become() -> None:
    made = checkpoint((12, 20, 9, 3), "static")
    o = VisitOptions(bits=4, visit_rate=0.25, skip_below=0.5, ste_window=2.0, temperature=4.0, seed=7)
    frozen = freeze(made, o)
    assert [layer.bits for layer in frozen.layers] == [4, 4, 4]
    assert [layer.rule.dose for layer in frozen.layers] == [20 * 1024, 9 * 1024, 3 * 1024]
    assert frozen.skip_below == 2048
    assert [layer.ste_window for layer in frozen.layers[:-1]] == [round(2 * 12**0.5), round(2 * 20**0.5)]
    assert frozen.temperature == round(4096 * 16 / 9**0.5 / 4)
    assert frozen.generator == generator_state(7)
    assert freeze(made, VisitOptions(visit_rate=1e-9)).layers[0].rule.dose == 1


def test_generators_of_neighbouring_seeds_have_nothing_in_common() -> None:
    states = [generator_state(seed) for seed in [*range(2000), 2**32 - 1]]
    assert len(set(states)) == len(states)
    assert all(0 < state < 2**32 for state in states)
    differing = [(a ^ b).bit_count() for a, b in zip(states[:-1], states[1:], strict=True)]
    assert 14 < np.mean(differing) < 18


def test_no_seed_gives_a_generator_of_zero() -> None:
    """The mixer is a bijection, so one seed would: it must give something else."""
    z = 0  # run the mixer backwards from 0: 0
    assert generator_state((z - 0x9E3779B9) % 2**32) == 1
