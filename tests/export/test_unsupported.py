"""A network that training can make and the device cannot run is refused in one sentence, never exported as something else."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from metabit import train
from metabit.cli.errors import with_options
from metabit.export import ExportError, freeze, write_image
from metabit.train.network.spec import Conv


def checkpoint(hidden: tuple[int, ...] = (8,), features: int = 64, **spec: Any) -> train.Checkpoint:
    made = train.Spec(features, hidden, 10, **spec)
    return train.Checkpoint(made, train.Network(made).tensors(), train.Rule.of(made, 1.0))


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"input": "uint8", "hidden": ()}, "one layer on 8-bit pixels"),
        (
            {"encode": [5], "norm": "instance"},
            "norm='instance': statistics taken at test cannot fold into thresholds, train with",
        ),
        ({"encode": [5], "statistics": "batch"}, "statistics='batch': statistics taken at test"),
        ({"image": (8, 8, 1), "conv": (Conv(4, 3),), "statistics": "batch"}, "statistics='batch': "),
        ({"image": (8, 8, 1), "conv": (Conv(4, 3),), "input": "uint8", "norm": "instance"}, "norm='instance': "),
    ],
    ids=str,
)
def test_refused(spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        freeze(checkpoint(**spec))
    advised = with_options(str(caught.value)).partition("train with ")[2]
    assert advised in ("--input bits --planes 4", "--norm batch --statistics running")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"features": 65536, "hidden": (2,), "image": (256, 256, 1), "conv": (Conv(1, 3, pool=9),), "input": "uint8"},
         "an input has 65536 bytes, the format holds 65535"),
        ({"features": 90000, "hidden": (2,), "image": (300, 300, 1), "conv": (Conv(4, 3),)},
         "layer 0 has an image of 355216 values, the format holds 262144: smaller, or more pooling"),
        ({"features": 3072, "encode": list(range(1, 9)), "image": (32, 32, 3), "conv": (Conv(2, 3, pool=2),)},
         "the encoder makes 24576 bits, the format holds 16384: fewer planes or a smaller image"),
        ({"features": 1024, "image": (32, 32, 1), "conv": (Conv(32, 3),)},
         "layer 1 is 28800 -> 8, the format holds 1..16384: more pooling, a larger stride or fewer units in layer 0"),
        ({"features": 8192, "image": (8, 8, 128), "conv": (Conv(2, 15, padding="same", pool=8),)},
         "layer 0 is 28800 -> 2, the format holds 1..16384: a smaller kernel or fewer channels"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_too_large_for_an_image_is_a_sentence(spec: dict[str, Any], sentence: str) -> None:
    frozen = freeze(checkpoint(**spec))
    with pytest.raises(ExportError) as caught:
        write_image(frozen)
    assert sentence in str(caught.value)


def test_what_was_refused_once_is_exported_now() -> None:
    frozen = freeze(checkpoint(input="uint8", image=(8, 8, 1), conv=(Conv(4, 3),)))
    assert [layer.kind for layer in frozen.layers] == ["conv", "dense", "output"]
    assert [layer.learns for layer in frozen.layers] == [False, True, True]
    assert frozen.layers[0].bits == 1 and frozen.layers[0].takes == "bytes"
    assert np.array_equal(freeze(checkpoint(input="uint8")).layers[0].theta, np.zeros(8))
