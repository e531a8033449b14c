"""What training can make and the device cannot run yet is refused in one sentence, never exported as something else."""

from __future__ import annotations

from typing import Any

import pytest

from metabit import train
from metabit.export import ExportError, freeze
from metabit.train.spec import Conv


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"input": "uint8"}, "8-bit pixels"),
        ({"encode": [5], "image": (8, 8, 1), "conv": (Conv(4, 3),)}, "convolutions"),
        ({"encode": [5], "norm": "instance"}, "statistics taken at test"),
        ({"encode": [5], "statistics": "batch"}, "statistics taken at test"),
    ],
    ids=str,
)
def test_refused(spec: dict[str, Any], sentence: str) -> None:
    made = train.Spec(64, (8,), 10, **spec)
    checkpoint = train.Checkpoint(made, train.Network(made).tensors(), train.Rule.of(made, 1.0))
    with pytest.raises(ExportError, match=sentence):
        freeze(checkpoint)
