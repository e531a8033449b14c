"""SCENARIOS: a table of sequences of tasks, by name. A new experiment is a row.

A row says how to make task i from a seed. The data comes from `metabit.data.image_sets` and `metabit.data.wrist_imu`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from metabit.data import image_sets, wrist_imu
from metabit.data.errors import extra
from metabit.data.image_sets import Images
from metabit.data.task import Bytes, Scenario, Task, held_out, split

__all__ = ["SCENARIOS", "Scenario"]


def _flat(name: str, images: Images, x_train: Bytes, x_test: Bytes) -> Task:
    height, width, channels = x_train.shape[1:]
    train, test = x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)
    return Task(name, train, images.y_train, test, images.y_test, (height, width, channels))


def _whole(name: str) -> Task:
    """A dataset as it is. `image_sets` keeps it, so that tasks with the same test part share it in memory."""
    images = image_sets.load(name)
    return _flat(name, images, images.x_train, images.x_test)


def _permuted(name: str, i: int, seed: int) -> Task:
    """All pixels in another order for each task, for the first one too (as in the paper)."""
    whole = _whole(name)
    order = np.random.default_rng((seed, i)).permutation(whole.features)
    # take is four times faster than an index on rows of bytes
    x_train, x_test = (x.take(order, axis=1) for x in (whole.x_train, whole.x_test))
    return Task(f"{name} permutation {i + 1}", x_train, whole.y_train, x_test, whole.y_test, whole.shape)


def _stream(name: str, size: int, i: int, seed: int) -> Task:
    """Part i of the training part, shuffled once with the seed: all classes in each part, no sample in two of them."""
    whole = _whole(name)
    chosen = np.random.default_rng(seed).permutation(len(whole.x_train))[i * size : (i + 1) * size]
    return replace(whole, name=f"{name} part {i + 1}", x_train=whole.x_train[chosen], y_train=whole.y_train[chosen])


def _mnist_usps(i: int, seed: int) -> Task:
    """2,000 consecutive MNIST images, then 1,800 consecutive USPS images with a black frame: 28x28 both."""
    images = image_sets.load(("mnist", "usps")[i])
    samples, frame = ((2000, 0), (1800, 6))[i]
    start = int(np.random.default_rng((seed, i)).integers(0, len(images.x_train) - samples + 1))
    part = slice(start, start + samples)
    x_train, x_test = (
        np.pad(x, ((0, 0), (frame, frame), (frame, frame), (0, 0))) for x in (images.x_train[part], images.x_test)
    )
    return _flat(("mnist", "usps")[i], replace(images, y_train=images.y_train[part]), x_train, x_test)


def _digits(i: int, seed: int) -> Task:
    """The 8x8 digits, features 0..16, turned i times by 90°. The split is the same for all i."""
    with extra("sklearn"):
        from sklearn.datasets import load_digits
    pictures, y = load_digits(return_X_y=True)
    x = np.rot90(pictures.reshape(-1, 8, 8), i, axes=(1, 2)).reshape(-1, 64).astype(np.uint8)
    y = y.astype(np.int64)
    train, test = split(y, seed)
    name = f"digits turned by {90 * i}°" if i else "digits"
    return Task(name, x[train], y[train], x[test], y[test], (8, 8, 1), held_out=held_out(seed))


def _split_digits(i: int, seed: int) -> Task:
    """Two digits a task, with two outputs for all tasks: is it 2i or 2i + 1?"""
    whole = _digits(0, seed)

    parts = (whole.x_train, whole.y_train), (whole.x_test, whole.y_test)
    (x_train, y_train), (x_test, y_test) = ((x[y // 2 == i], y[y // 2 == i] % 2) for x, y in parts)
    name = f"digits {2 * i} and {2 * i + 1}"
    return replace(whole, name=name, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)


SCENARIOS: dict[str, Scenario] = {
    row.name: row
    for row in (
        Scenario(
            "permuted-mnist", "MNIST, its pixels shuffled anew for every task (6 tasks)", 6, 10,
            lambda i, seed: _permuted("mnist", i, seed), 1000,
        ),
        Scenario(
            "mnist-fashion", "MNIST digits, then Fashion-MNIST clothes", 2, 10,
            lambda i, seed: _whole(("mnist", "fashion-mnist")[i]), 2,
        ),
        Scenario(
            "fashion-first", "Fashion-MNIST clothes, then MNIST digits", 2, 10,
            lambda i, seed: _whole(("fashion-mnist", "mnist")[i]), 2,
        ),
        Scenario(
            "mnist-usps", "2,000 MNIST digits, then 1,800 USPS digits, on a small convolutional network", 2, 10,
            _mnist_usps, 2,
        ),
        Scenario(
            "stream-fashion", "Fashion-MNIST as a stream: 60 parts of 1,000 images, each seen only in its turn", 60, 10,
            lambda i, seed: _stream("fashion-mnist", 1000, i, seed), 60,
        ),
        Scenario(
            "stream-cifar10", "CIFAR-10 as a stream: 20 parts of 2,500 images, on a convolutional network", 20, 10,
            lambda i, seed: _stream("cifar10", 2500, i, seed), 20,
        ),
        Scenario("digits", "scikit-learn's 8x8 digits: one task, a minute", 1, 10, _digits, 1),
        Scenario("digits:sideways", "scikit-learn's 8x8 digits turned by 90°", 1, 10, lambda i, seed: _digits(1, seed), 1),
        Scenario("rotated-digits", "digits upright, then turned by 90°, 180°, 270°", 4, 10, _digits, 4),
        Scenario("split-digits", "0 or 1? then 2 or 3? ... two outputs shared by five tasks", 5, 2, _split_digits, 5),
        Scenario(
            "watch", "seven exercises on a wrist IMU, one person after another (10 people)", 10, 7, wrist_imu.task, 10,
        ),
        Scenario("mnist", "MNIST alone", 1, 10, lambda i, seed: _whole("mnist"), 1),
        Scenario("fashion", "Fashion-MNIST alone", 1, 10, lambda i, seed: _whole("fashion-mnist"), 1),
        Scenario("usps", "USPS digits alone, 16x16", 1, 10, lambda i, seed: _whole("usps"), 1),
        Scenario("cifar10", "CIFAR-10 alone", 1, 10, lambda i, seed: _whole("cifar10"), 1),
    )
}  # fmt: skip
"""Name -> row."""
