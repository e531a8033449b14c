"""Exercises seen by a sensor on the wrist: trained on eight people, and learnt on the device for each of two others.

    METABIT_DATA_DIR=DATA python examples/gesture/gesture.py [FOLDER]

Real recordings (seglearn, 50 Hz, 6 channels): DATA holds seglearn-watch/watch.npz, as for the built-in data `watch`.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from sensor_series import Recording, Sensor, build, judge, stream

from metabit.data.features import Windows, octaves
from metabit.export import GateOptions
from metabit.runtime import Model

CHANNELS = ("ax", "ay", "az", "gx", "gy", "gz")
PER_UNIT = np.array([4096.0] * 3 + [938.7] * 3)
"""Steps of the sensor's int16 in one g (range 8 g) and one rad/s (range 2000 degrees/s)."""
SENSOR = Sensor("gesture", CHANNELS, Windows(128, 64, ("mean", "deviation", "range", "change"), octaves(128, 4)))
NEW = (9, 10)
"""The people whom the device meets after deployment."""
NAMES = ("pendulum", "abduction", "forward elevation", "internal rotation", "external rotation", "trapezius", "row")


@functools.cache
def arrays() -> list[NDArray[Any]]:
    path = Path(os.environ.get("METABIT_DATA_DIR", "")) / "seglearn-watch" / "watch.npz"
    if not path.is_file():
        raise SystemExit("set METABIT_DATA_DIR to a folder that has seglearn-watch/watch.npz")
    with np.load(path) as found:
        return [found[name] for name in ("x", "offsets", "y", "subject")]


def recordings(person: int) -> list[Recording]:
    """The recordings of a person: of each the first three quarters are to learn from, the rest is for the test."""
    x, offsets, y, subject = arrays()
    found = []
    for i in np.flatnonzero(subject == person):
        series = np.clip(np.rint(x[offsets[i] : offsets[i + 1]] * PER_UNIT), -32768, 32767).astype(np.int16)
        border = len(series) * 3 // 4
        found += [Recording(series[:border], int(y[i])), Recording(series[border:], int(y[i]), test=True)]
    return found


def main(folder: Path, quick: bool = False) -> None:
    people = [person for person in range(1, 11) if person not in NEW][: 2 if quick else None]
    old = SENSOR.task("the other people", [one for person in people for one in recordings(person)], NAMES)
    model = build(folder, SENSOR, old, quick, GateOptions(memory=64, covariance_memory=512))
    for person in NEW[: 1 if quick else None]:
        new = SENSOR.task(f"person {person}", recordings(person), NAMES)
        print(*judge(Model.open(folder / "gesture.mbit"), old, new), sep="\n")
    right = stream(folder, SENSOR, model, recordings(NEW[0]), labelled=0.5)
    print(f"as the C program reads it: {100 * right:.1f} % right, half of the recordings labelled; {folder}/stream.bin")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/gesture"))
