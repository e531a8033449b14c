"""Tickets: docs/learning-rule.md, "Tickets"."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import pack_rows, unpack_rows
from metabit.export.oracle.votes import Oracle


def ticket(network: Oracle, device_input: NDArray[np.uint8]) -> bytes:
    """All that a learning step needs of one sample: of the input and what each layer takes, up to the lowest layer that learns, the
    fewest bytes, and of several the last.

    Args:
        device_input: the bytes of one input, (input bytes,).
    """
    return _best(network, device_input)[1]


def predict(network: Oracle, kept: bytes) -> int:
    """The class that a network gives for a ticket."""
    net = network.net
    place, _ = _best(network, np.zeros(net.input_bytes, np.uint8))
    given = np.frombuffer(kept, np.uint8)
    if place is None:
        return network.predict(net.unpack(given[None])[0])
    layer = net.layers[place]
    if layer.takes in ("levels", "values"):
        return int(np.argmax(network.scored(given.view(np.int8).astype(np.int64))))
    bits = unpack_rows(given, layer.values).astype(np.int64)
    rest = copy.copy(network)  # the layers from here on
    rest.net = cast(Any, SimpleNamespace(layers=net.layers[place:], encode=None))
    rest.levels = network.levels[place:]
    return rest.predict(2 * bits - 1 if layer.takes == "signs" else bits)


def _best(network: Oracle, device_input: NDArray[np.uint8]) -> tuple[int | None, bytes]:
    """The layer that takes the ticket, None for the input itself, and the ticket."""
    place, best, net = None, device_input.tobytes(), network.net
    inputs = network.forward(net.unpack(device_input[None])[0])[0]
    for i, (layer, x) in enumerate(zip(net.layers, inputs, strict=True)):
        here = _packed(layer.takes, x)
        if (i > 0 or net.encode is not None) and here is not None and len(here) <= len(best):
            place, best = i, here
        if layer.learns:
            break
    return place, best


def _packed(takes: str, x: NDArray[Any]) -> bytes | None:
    """The values of a layer as bytes: bits, or a byte a value; None for bytes and grades, which no ticket holds."""
    if takes in ("bits", "signs"):
        return pack_rows(x > 0).tobytes()
    return x.astype(np.int8).tobytes() if takes in ("levels", "values") else None
