"""The rivals of benchmarks/equal_accuracy.py: their C computes the integers by which their accuracy was measured."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metabit.data.encoder import Encoder
from metabit.experiments.errors import UsageError
from tests.compilers import UNDEFINED

pytest.importorskip("torch")
sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
device, networks, symbols, learners = (
    importlib.import_module(f"rival_{name}") for name in ("device", "networks", "symbols", "learners")
)
CLASSES, SAMPLES = 3, 60
SHORT = networks.Settings(passes=1)
Arrays = tuple[Encoder, np.ndarray, np.ndarray]


def data(kind: str) -> Arrays:
    """Encoder, integers (n, F) and labels (n,). Pixels share a threshold; sensors have negative values and several thresholds."""
    rng = np.random.default_rng(3)
    y = rng.integers(0, CLASSES, SAMPLES)
    if kind == "pixels":
        x = np.where(rng.random((SAMPLES, 24)) < 0.6, 0, rng.integers(0, 256, (SAMPLES, 24))) + 0.0
        x[np.arange(SAMPLES), y] = 255
        return Encoder.fit(x, 1, shared=True), x.astype(np.uint8), y
    x = rng.normal(0, 20000, (SAMPLES, 5)) + 9000 * y[:, None]
    encoder = Encoder.fit(x, 3)
    return encoder, encoder.quantise(x), y


def same_scores(rival: Any, q: np.ndarray, folder: Path) -> Any:
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    library = device.Library(rival, folder, UNDEFINED)
    assert np.array_equal(library.scores(q), rival.predict(q))
    return library


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (networks, learners):
        monkeypatch.setattr(module, "STEPS", 30)


@pytest.mark.parametrize("kind", ["pixels", "sensors"])
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_columns(kind: str, bits: int, tmp_path: Path) -> None:
    encoder, q, y = data(kind)
    rival = networks.columns(encoder, q, y, CLASSES, 16, bits, 0, SHORT)
    assert np.ptp(rival.predict(q)) > 0
    same_scores(rival, q, tmp_path)


def test_columns_of_the_largest_sums(tmp_path: Path) -> None:
    """All inputs on, and sums at the ends of 16 bits: the lanes of a word do not disturb each other."""
    inputs, q = 600, np.full((1, 600), 255, np.uint8)
    first = np.where(np.arange(16)[:, None] % 2, -53, 54) * np.ones(inputs, np.int64)
    one = {"MUL": np.ones(16, np.int32), "ADD": np.zeros(16, np.int32), "B2": np.zeros(1, np.int32)}
    arrays = {
        "CUTS": np.zeros(1, np.uint8),
        "W1": networks._packed(first, 8),
        **one,
        "W2": np.arange(1, 17, dtype=np.int8),
    }
    defines = {"FEATURES": inputs, "FEATURE_BYTES": 1, "CLASSES": 1, "PLANES": 1, "SHARED_CUTS": 1, "UNITS": 16,
               "WEIGHT_BITS": 8, "SHIFT": 8}  # fmt: skip
    want = [int(np.clip(first.sum(1) >> 8, 0, 127) @ np.arange(1, 17))]
    rival = networks.Rival("columns.c", arrays, defines, lambda _: np.array([want]))
    same_scores(rival, q, tmp_path)


@pytest.mark.parametrize("kind", ["pixels", "sensors"])
def test_cmsis(kind: str, tmp_path: Path) -> None:
    if device.cmsis_folder() is None:
        pytest.skip(f"{device.CMSIS} names no checkout of CMSIS-NN")
    encoder, q, y = data(kind)
    rival = networks.cmsis(encoder, q, y, CLASSES, 8, 0, SHORT)
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    assert np.array_equal(device.Library(rival, tmp_path).scores(q), rival.predict(q))


def test_tsetlin(tmp_path: Path) -> None:
    encoder, q, _ = data("sensors")
    rng, bits = np.random.default_rng(0), encoder.compare(q)
    rival = symbols.from_clauses(
        encoder, CLASSES, rng.random((40, 2 * encoder.bits)) < 0.08, rng.integers(-99, 99, (40, CLASSES)), bits
    )
    assert np.ptp(rival.predict(q)) > 0
    same_scores(rival, q, tmp_path)


def test_hyperdimensional(tmp_path: Path) -> None:
    encoder, q, y = data("pixels")
    same_scores(symbols.hyper(encoder, q, y, CLASSES, 96, 0, SHORT), q, tmp_path)


def test_int8_in_place_learns(tmp_path: Path) -> None:
    encoder, q, y = data("sensors")
    rival = learners.niti(encoder, q, y, CLASSES, 8, 0, SHORT)
    rival.defines.update(LAST_SHIFT=11, FIRST_SHIFT=13)
    library = same_scores(rival, q, tmp_path)
    before = (library.scores(q).argmax(1) == (y + 1) % CLASSES).mean()
    for _ in range(20):
        library.learn(q, (y + 1) % CLASSES)
    assert (library.scores(q).argmax(1) == (y + 1) % CLASSES).mean() > max(before + 0.2, 0.6)


def test_float_sgd_learns(tmp_path: Path) -> None:
    encoder, q, y = data("sensors")
    rival = learners.sgd(encoder, q, y, CLASSES, 8, 0, SHORT)
    rival.arrays["RATE"][:] = 0.03
    library = device.Library(rival, tmp_path)
    assert np.abs(library.scores(q) - rival.predict(q)).max() < 50  # of 65536 in a score of 1
    for _ in range(20):
        library.learn(q, (y + 1) % CLASSES)
    assert (library.scores(q).argmax(1) == (y + 1) % CLASSES).mean() > 0.6


def test_cmsis_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(device.CMSIS, raising=False)
    with pytest.raises(UsageError, match="METABIT_CMSIS_NN is not set: clone"):
        device.Library(networks.Rival("cmsis.c", {}, {}, lambda a: a), tmp_path)
