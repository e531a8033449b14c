"""The part that the examples with a sensor share: from recordings to a device image, C files, and a table of learners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit import export, train
from metabit.data import Task
from metabit.data.features import Windows
from metabit.experiments.comparison import compare
from metabit.firmware_sim import Line
from metabit.runtime import Model, write_sources

GAP, NO_LABEL = -2, -1
"""In place of a label: a recording begins with this sample; nobody has labelled it."""


@dataclass(frozen=True)
class Recording:
    """samples: int16 (n, channels), without gaps. label: a class. test: for the test, not for learning."""

    samples: NDArray[np.int16]
    label: int
    test: bool = False


@dataclass(frozen=True)
class Sensor:
    """name: in C. channels: their names. windows: how many of them are one input of the model."""

    name: str
    channels: tuple[str, ...]
    how: Windows
    windows: int = 1

    def inputs(self, one: Recording) -> NDArray[np.int16]:
        """Inputs int16 (n, features) of a recording."""
        x = self.how.of(one.samples)
        return x[: len(x) // self.windows * self.windows].reshape(-1, self.windows * x.shape[1])

    def task(self, title: str, recordings: Sequence[Recording], class_names: tuple[str, ...]) -> Task:
        names = self.how.names(self.channels)
        if self.windows > 1:
            names = tuple(f"{name}, window {i + 1}" for i in range(self.windows) for name in names)
        parts: list[NDArray[np.int64] | NDArray[np.int16]] = []
        for test in (False, True):
            x = [self.inputs(one) for one in recordings if one.test == test]
            y = [
                np.full(len(a), one.label) for a, one in zip(x, (r for r in recordings if r.test == test), strict=True)
            ]
            parts += [np.concatenate(x), np.concatenate(y)]
        return Task(title, *parts, class_names=class_names, feature_names=names)


def build(folder: Path, sensor: Sensor, old: Task, quick: bool, options: export.GateOptions | None = None) -> Model:
    """Train on what is known before deployment; write NAME.mbit, the C library, NAME_image.h and NAME_windows.h."""
    folder.mkdir(parents=True, exist_ok=True)
    ran = train.run_recipe(old, train.RecipeSettings(units=32, epochs=2 if quick else None))
    frozen = export.freeze_gates(ran.checkpoint(), options=options)
    image = folder / f"{sensor.name}.mbit"
    image.write_bytes(export.write_image(frozen))
    write_sources(folder / "generated", single_file=True, image=image, name=sensor.name)
    table = sensor.how.c_table(sensor.name, len(sensor.channels), sensor.windows)
    (folder / "generated" / f"{sensor.name}_windows.h").write_text(table)
    return Model.open(image)


def judge(model: Model, old: Task, new: Task, seed: int = 0) -> list[str]:
    """Let the model and its rivals learn the new task in random order; a table of accuracy before → after, and bytes."""
    image, order = model.image(), np.random.default_rng(seed).permutation(len(new.y_train))

    def tested() -> tuple[float, ...]:
        return tuple(float((model.predict_many(task.x_test) == task.y_test).mean()) for task in (new, old))

    before, state = tested(), model.state_size
    right = model.learn_many(new.x_train[order], new.y_train[order]).predicted == new.y_train[order]
    ours = Line("metabit", state, before, tested(), float(right.mean()))
    old = replace(old, class_names=new.class_names)  # with the classes that are still to come
    found = compare(image, {new.name: new, old.name: old}, [order], ours, [old.name])
    rows = [f"| learner | bytes of state | {new.name} | {old.name} |", "|---|---|---|---|"]
    for line in found.lines:
        shares = (f"{100 * b:.1f} → {100 * a:.1f} %" for b, a in zip(line.before, line.after, strict=True))
        rows.append(f"| {line.name} | {line.state:,} | {' | '.join(shares)} |")
    return [*rows, *found.verdicts]


def stream(folder: Path, sensor: Sensor, model: Model, recordings: Sequence[Recording], labelled: float) -> float:
    """Write stream.bin, which the C program reads, and labels.txt, which it must answer; return the share that is right.

    labelled: share of the recordings whose label the device gets, and learns from.
    """
    data, said, right = b"", [], []
    for number, one in enumerate(recordings):
        known = (number * labelled) % 1 + labelled >= 1
        marks = np.full(len(one.samples), one.label if known else NO_LABEL, np.int16)
        marks[0] = GAP
        data += np.concatenate([one.samples, marks[:, None]], axis=1).astype("<i2").tobytes()
        for x in sensor.inputs(one):
            label = model.predict_one(x)
            said.append(model.class_names[label])
            right.append(label == one.label)
            if known:
                model.learn_one(x, one.label)
    (folder / "stream.bin").write_bytes(data)
    (folder / "labels.txt").write_text("\n".join(said) + "\n")
    return float(np.mean(right))
