"""Vibration of a pump, synthetic: four states, trained on four machines; the device is mounted on a fifth and learns its sound.

    python examples/predictive_maintenance/maintenance.py [FOLDER]

No recording of a machine is used: harmonics of the shaft, shocks of a bearing that ring, and noise, as one accelerometer sees them.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parents[1]))
from sensor_series import Recording, Sensor, build, judge, stream

from metabit.data.features import Windows, even

RATE, SAMPLES = 4000, 2048
"""Samples a second, and of a recording: half a second, every few minutes."""
SENSOR = Sensor("pump", ("vibration",), Windows(512, 256, ("deviation", "range", "crossings", "change"), even(512, 16)))
STATES = ("sound", "unbalanced", "loose", "bearing")


def vibration(machine: int, state: str, rng: np.random.Generator) -> NDArray[np.int16]:
    """One recording, int16 (SAMPLES, 1), of a machine with its own speed, mounting and resonance."""
    own = np.random.default_rng(100 + machine)
    speed, resonance, gain, noise = (
        own.uniform(22, 48),
        own.uniform(700, 1500),
        own.uniform(0.5, 2),
        own.uniform(0.1, 0.4),
    )
    faults = own.uniform(3.2, 5.5)  # shocks of the bearing in one turn
    speed, load = speed * rng.uniform(0.96, 1.04), rng.uniform(0.7, 1.3)
    turn = 2 * np.pi * (speed * np.arange(SAMPLES) / RATE + rng.random())
    size = {1: 1.0, 2: 0.4, 3: 0.2}
    x = sum(a * load * np.sin(h * turn + rng.uniform(0, 6)) for h, a in size.items())
    severity = rng.uniform(0.5, 1.5)
    if state == "unbalanced":
        x += 1.5 * severity * np.sin(turn)
    if state == "loose":
        x += severity * sum(0.6 / h * np.sin((h + 0.5) * turn + rng.uniform(0, 6)) for h in range(1, 9))
    if state == "bearing":
        hits = np.diff(np.floor(faults * turn / 2 / np.pi), prepend=0) > 0
        t = np.arange(200) / RATE
        ring = np.exp(-t * 260) * np.sin(2 * np.pi * resonance * t)
        x += 2.2 * severity * np.convolve(hits * rng.uniform(0.5, 1.5, SAMPLES), ring)[:SAMPLES]
    x += noise * rng.normal(size=SAMPLES)
    return np.clip(np.rint(2000 * gain * x), -32768, 32767).astype(np.int16)[:, None]


def recorded(machines: list[int], each: int) -> list[Recording]:
    """Each state of each machine, `each` recordings; every fourth is for the test."""
    return [
        Recording(
            vibration(machine, state, np.random.default_rng((machine, number, label))), label, test=number % 4 == 3
        )
        for number in range(each)
        for machine in machines
        for label, state in enumerate(STATES)
    ]


def main(folder: Path, quick: bool = False) -> None:
    old = SENSOR.task("four machines", recorded([0, 1, 2, 3], 8 if quick else 60), STATES)
    recordings = recorded([4], 8 if quick else 60)
    new = SENSOR.task("the fifth", recordings, STATES)
    model = build(folder, SENSOR, old, quick)
    right = stream(folder, SENSOR, model, recordings, labelled=0.25)
    print(*judge(type(model).open(folder / "pump.mbit"), old, new), sep="\n")
    print(
        f"as the C program reads it: {100 * right:.1f} % right, a quarter of the recordings labelled; {folder}/stream.bin"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/predictive_maintenance"))
