"""Tickets: docs/learning-rule.md, "Tickets"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import pack_rows
from metabit.export.oracle.votes import Oracle


def ticket(network: Oracle, device_input: NDArray[np.uint8]) -> bytes:
    """All that a learning step needs of one sample: of the input and what each layer takes, up to the lowest layer that learns, the
    fewest bytes, and of several the last.

    Args:
        device_input: the bytes of one input, (input bytes,).
    """
    best, net = device_input.tobytes(), network.net
    inputs = network.forward(net.unpack(device_input[None])[0])[0]
    for i, (layer, x) in enumerate(zip(net.layers, inputs, strict=True)):
        here = _packed(layer.takes, x)
        if (i > 0 or net.encode is not None) and here is not None and len(here) <= len(best):
            best = here
        if layer.learns:
            break
    return best


def _packed(takes: str, x: NDArray[Any]) -> bytes | None:
    """What a layer takes as bytes: bits, or a byte a value; None for bytes and grades, which no ticket holds."""
    if takes in ("bits", "signs"):
        return pack_rows(x > 0).tobytes()
    return x.astype(np.int8).tobytes() if takes in ("levels", "values") else None
