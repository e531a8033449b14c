"""A network that learns a stream from its first sample, and a chart of how often it was right.

    python examples/stream_chart.py [PICTURE]

Needs `pip install 'metabit[train]'` for the data and the picture. The stream has two tasks: 1,797 upright digits, then the same
digits turned by 90 degrees. No training comes before it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.datasets import load_digits

from metabit import export
from metabit.runtime import Model

WINDOW = 100
"""Samples behind one point of the chart."""


def main(picture: Path) -> None:
    # 1. The stream: uint8 (n, 64) features 0..255 and labels 0..9, in the order in which they arrive.
    raw = load_digits()
    images = (raw.images * 255 / 16).astype(np.uint8)
    turned = np.rot90(images, axes=(1, 2))
    x = np.concatenate([images, turned]).reshape(-1, 64)
    y = np.concatenate([raw.target, raw.target])

    # 2. A network that knows nothing yet: 64 features → 192 graded units → 10 classes.
    model = Model(export.write_image(export.fresh_votes(64, 192, 10)))

    # 3. Learn sample by sample. `predicted` is the class before the step, so its accuracy is the prequential accuracy.
    steps = model.learn_many(x, y)
    right = steps.predicted == y
    points = right[: len(right) // WINDOW * WINDOW].reshape(-1, WINDOW).mean(1)

    # 4. The chart.
    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(WINDOW * np.arange(1, len(points) + 1), 100 * points)
    axes.axvline(len(images), linestyle="--", color="gray")
    axes.text(len(images), 2, " turned from here on", color="gray")
    axes.set(xlabel="samples learnt", ylabel=f"accuracy on the last {WINDOW} samples, %", ylim=(0, 100))
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture)
    print(f"prequential accuracy {100 * right.mean():.1f} % over {len(y):,} samples; chart in {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/stream.svg"))
