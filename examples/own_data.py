"""Own data, from arrays to a device image, and learning in place after the sensor has changed.

    python examples/own_data.py [FOLDER]

Needs `pip install 'metabit[train,export]'`. Writes checkpoint.safetensors, model.mbit and learned.mbit into FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer

from metabit import data, export, train
from metabit.runtime import Model


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)

    # 1. Your arrays: x float (n, F) between 0 and 1, y int (n,) from 0. Here 569 samples of 30 measurements, two classes.
    raw = load_breast_cancer()
    low, high = raw.data.min(0), raw.data.max(0)
    x = (raw.data - low) / (high - low)
    old = data.from_arrays("before deployment", x, raw.target)

    # 2. Train: each feature becomes 4 input bits by thresholds, then 30 · 4 → 128 → 2 units with binary weights.
    thresholds = data.thermometer(old.x_train, planes=4)
    spec = train.Spec(old.features, (128,), old.classes, thresholds, output="code")
    network = train.Network(spec)
    history = train.fit(network, old, epochs=20, m=25.0)
    rule = train.Rule.of(spec, m=25.0)
    checkpoint = train.save(folder / "checkpoint.safetensors", network, rule=rule, history=history)

    # 3. Export: integers, with the hidden weights as 5-bit levels.
    image = folder / "model.mbit"
    image.write_bytes(export.write_image(export.freeze(checkpoint)))

    # 4. After deployment the sensor reads 30 % low. The device learns from labelled samples, one at a time, in place.
    new = data.from_arrays("after deployment", 0.7 * x, raw.target)
    model = Model.open(image)

    def accuracy(task: data.Task) -> float:
        return float(np.mean(model.predict_many(task.x_test) == task.y_test))

    before = accuracy(old), accuracy(new)
    for features, label in zip(new.x_train, new.y_train, strict=True):
        model.learn_one(features, int(label))
    after = accuracy(old), accuracy(new)
    model.save(folder / "learned.mbit")

    for name, first, last in zip(("old sensor", "new sensor"), before, after, strict=True):
        print(f"{name}: {100 * first:.1f} % before, {100 * last:.1f} % after {len(new.y_train)} learning steps")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/own_data"))
