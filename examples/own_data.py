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

    # 1. Your arrays: x (n, F), numbers of any scale, and y (n,), numbers or words. Here 569 samples of 30 measurements.
    raw = load_breast_cancer()
    words = raw.target_names[raw.target]
    old = data.from_arrays("before deployment", raw.data, words, features=raw.feature_names, warn=print)

    # 2. Train: each feature becomes bits by thresholds of its own; 32 gates see them, and an output of 5-bit levels sees these.
    ran = train.run_recipe(old, train.RecipeSettings(units=32))
    checkpoint = ran.checkpoint()
    checkpoint.write(folder / "checkpoint.safetensors")

    # 3. Export: integers, with a head that learns on, and room for one class that may still come.
    image = folder / "model.mbit"
    image.write_bytes(export.write_image(export.freeze_gates(checkpoint, options=export.GateOptions(spare_classes=1))))

    # 4. After deployment the sensor reads 30 % low. The device learns from labelled samples, one at a time, in place.
    new = data.from_arrays("after deployment", 0.7 * raw.data, words, warn=print)
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
