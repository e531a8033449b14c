"""Layers that do not fit together: every writer and every reader refuses them with the same sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import conv, network, windowed

from metabit.export.errors import ExportError
from metabit.export.files.image import write_image
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.files.onnx_file import write_onnx
from metabit.export.files.tflite_file import write_tflite
from metabit.export.frozen import ConvLayer, Encode, Frozen, Layer

pytest.importorskip("onnx")
pytest.importorskip("flatbuffers")

TWO = windowed(1, (4, 6, 1), (conv(3, 3), conv(2, 1)), (5, 3), "bits")  # 4 x 6 -> 2 x 4 x 3 -> 2 x 4 x 2
CODED = windowed(2, (3, 4, 2), (conv(3, 2),), (3,), "3")
DENSE = network(3, (12, 5, 3), planes=2)


def geometry(frozen: Frozen, i: int, **change: Any) -> Frozen:
    """The network with another geometry in layer i, and nothing else changed."""
    conv = frozen.layers[i]
    assert isinstance(conv, ConvLayer)
    return layer(frozen, i, geometry=replace(conv.geometry, **change))


def layer(frozen: Frozen, i: int, **change: Any) -> Frozen:
    layers: list[Layer] = list(frozen.layers)
    layers[i] = replace(layers[i], **change)
    return replace(frozen, layers=tuple(layers))


def channels(frozen: Frozen, count: int) -> Frozen:
    assert frozen.encode is not None
    return replace(frozen, encode=replace(frozen.encode, channels=count))


# name: the network it was made of, the one that must be refused, and why
WRONG: dict[str, tuple[Frozen, Frozen, str]] = {
    "sides swapped": (TWO, geometry(TWO, 1, height=4, width=2), "layer 1 takes an image of (4, 2), layer 0 gives (2, 4)"),
    "a row of the same size": (TWO, geometry(TWO, 1, height=1, width=8), "an image of (1, 8), layer 0 gives (2, 4)"),
    "more channels than weights": (
        TWO, geometry(TWO, 0, height=2, channels=2, same=True), "layer 0 has 9 weights a unit, its kernel window 3 x 3 x 2",
    ),
    "another kernel": (TWO, geometry(TWO, 0, kernel=2), "layer 0 has 9 weights a unit, its kernel window 2 x 2 x 1"),
    "no stride": (TWO, geometry(TWO, 0, stride=0), "layer 0 has stride 0, outside 1..31"),
    "pool": (TWO, geometry(TWO, 1, pool=32), "layer 1 has pool 32, outside 1..31"),
    "kernel": (TWO, geometry(TWO, 1, kernel=-1), "layer 1 has kernel -1, outside 1..31"),
    "nothing left": (TWO, geometry(TWO, 0, pool=5), "layer 0: nothing is left of 4 x 6 x 1"),
    "a kernel beyond the picture": (TWO, geometry(TWO, 0, kernel=9), "layer 0: nothing is left of 4 x 6 x 1"),
    "other inputs of a dense layer": (CODED, geometry(CODED, 0, same=True), "layer 1 takes 18 inputs, layer 0 gives 36"),
    "no channels": (TWO, geometry(TWO, 0, channels=0), "layer 0: nothing is left of 4 x 6 x 0"),
    "another picture": (TWO, geometry(TWO, 0, height=5), "layer 1 takes an image of (2, 4), layer 0 gives (3, 4)"),
    "channels that do not divide": (CODED, channels(CODED, 5), "5 channels, not a divisor of 24 features"),
    "channels beyond the features": (CODED, channels(CODED, 48), "48 channels, not a divisor of 24 features"),
    "channels below nothing": (CODED, channels(CODED, -2), "-2 channels, not a divisor of 24 features"),
    "channels and no convolution": (
        DENSE, channels(DENSE, 3), "the encoder has 3 channels, but layer 0 is no convolution: leave channels at 0",
    ),
    "one pixel and no convolution": (DENSE, channels(DENSE, 12), "12 channels, but layer 0 is no convolution"),
    "bytes after an encoder": (DENSE, layer(DENSE, 0, takes="bytes"), "layer 0 takes bytes, but the encoder gives bits"),
}  # fmt: skip
wrong = pytest.mark.parametrize(("made", "frozen", "sentence"), WRONG.values(), ids=WRONG.keys())


@wrong
@pytest.mark.parametrize(
    "write", [write_image, write_onnx, write_tflite, named_tensors], ids=lambda verb: verb.__name__
)
def test_every_writer_refuses_alike(
    made: Frozen, frozen: Frozen, sentence: str, write: Callable[[Frozen], object]
) -> None:
    write(made)
    with pytest.raises(ExportError) as caught:
        write(frozen)
    assert sentence in str(caught.value)


@wrong
def test_a_description_of_it_is_refused_too(made: Frozen, frozen: Frozen, sentence: str) -> None:
    with pytest.raises(ExportError) as caught:
        rebuild(facts(frozen), named_tensors(made))
    assert sentence in str(caught.value)


def test_bits_in_the_order_of_pixels_are_for_convolutions() -> None:
    """A reader of format 1.0 knows no channels: it would compute a dense layer of them as something else."""
    thresholds = np.zeros((2, 12), np.uint8)
    assert write_image(replace(DENSE, encode=Encode(thresholds)), crc32=True)[6:8] == bytes([0, 0])
    with pytest.raises(ExportError, match="layer 0 is no convolution"):
        write_image(replace(DENSE, encode=Encode(thresholds, 3)))
    assert write_image(CODED, crc32=True)[6:8] == bytes([1, 0])
