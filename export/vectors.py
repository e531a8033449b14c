"""Golden vectors, which every engine must reproduce: the oracle computes them from a frozen network and a seed."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from metabit.export.bits import pack_rows
from metabit.export.errors import ExportError
from metabit.export.files.image import sections, write_image
from metabit.export.frozen import LOWEST, Counters, Frozen, GradedLayer, Layer
from metabit.export.oracle import Oracle


def write_vectors(frozen: Frozen, *, inputs: int = 64, steps: int = 32, seed: int = 0, crc32: bool = False) -> bytes:
    """The file `vectors.npz`, as bytes.

    features       uint8 (n, input bytes), inputs of mb_predict, each of another density, so that sums cross every power of two;
                   `Frozen.unpack` gives their integers or bits
    input_bits     (n, K), inputs of the first layer: uint8, 0 or 1, or 0..255 where it takes bytes; features of triples, uint8 or
                   int16
    layer{i}       int8 (n, N), activations +1 or -1 of hidden layer i, -8..8 of a graded layer; (n, H * W * N) of a convolution,
                   after pooling; of gates their levels (n, N), or below a head the values (n, 2N) that it takes; values of triples
                   (n, H)
    scores         int64 (n, C), -2**31 for a class that a head does not know;  labels int64 (n,)
    learn_labels   int64 (steps,); step s learns features[s % n] with this label
    learn_info     int64 (steps, 5), predicted, skipped, visited, moved, flipped
    state_changes  uint8 (1 + steps, S), the whole state section before the first step, then the bits that each step changes:
                   np.bitwise_xor.accumulate gives every state. The three learn arrays are absent if no layer learns

    inputs: n, at least 1. steps: at least 0. Raises ExportError otherwise. crc32: of the image that `write_image` writes so.
    """
    if inputs < 1 or steps < 0:
        raise ExportError(f"vectors of {inputs} inputs and {steps} steps: at least 1 input and 0 steps")
    rng = np.random.default_rng(seed)
    oracle = Oracle(frozen)
    features = _inputs(frozen, inputs, rng)
    given = frozen.unpack(features)
    runs = [oracle.forward(x) for x in given]
    scores = np.array([run[2] for run in runs])
    arrays: dict[str, NDArray[np.generic]] = {
        "features": features,
        "input_bits": np.array([run[0][0] for run in runs], frozen.integers),
        "scores": scores,
        "labels": scores.argmax(1),
    }
    for i in range(1, len(frozen.layers)):
        arrays[f"layer{i - 1}"] = np.array([run[0][i] for run in runs], np.int8)
    if any(layer.learns for layer in frozen.layers) and steps:
        labels = rng.integers(0, frozen.classes, steps)
        info, states = [], [np.frombuffer(state_of(frozen, oracle, crc32=crc32), np.uint8)]
        for s, label in enumerate(labels):
            info.append(oracle.learn(given[s % inputs], int(label)))
            states.append(np.frombuffer(state_of(frozen, oracle, crc32=crc32), np.uint8))
        changes = np.concatenate([states[:1], np.bitwise_xor(states[1:], states[:-1])])
        arrays |= {"learn_labels": labels, "learn_info": np.array(info, np.int64), "state_changes": changes}
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def learned(frozen: Frozen, oracle: Oracle) -> Frozen:
    """The network with the levels, the head, the kept samples, the generator and the counters that the oracle has now."""
    layers: tuple[Layer, ...] = tuple(
        replace(layer, hidden=h.copy()) for layer, h in zip(frozen.layers, oracle.levels, strict=True)
    )
    layers = tuple(replace(layer, kept=oracle.kept()) if isinstance(layer, GradedLayer) else layer for layer in layers)
    if oracle.head is not None:
        layers = (*layers[:-1], oracle.head.frozen())
    counters = Counters(oracle.steps, oracle.moved, oracle.flipped)
    return replace(frozen, layers=layers, generator=oracle.generator, counters=counters)


def state_of(frozen: Frozen, oracle: Oracle, *, crc32: bool = False) -> bytes:
    """The oracle's state as the bytes of the device's state section. crc32: of the image that `write_image` writes so."""
    image = write_image(learned(frozen, oracle), crc32=crc32)
    _, (at, size) = sections(image)
    return image[at : at + size]


def _inputs(frozen: Frozen, n: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Inputs as the device takes them, uint8 (n, input bytes)."""
    density = np.linspace(0, 1, n)[:, None]
    if frozen.packed:
        return pack_rows(rng.random((n, frozen.input_bits)) < density)
    lowest = LOWEST[frozen.integers]
    on = rng.random((n, frozen.features)) < density
    given = np.where(on, rng.integers(lowest, lowest + (65536 if lowest else 256), on.shape), lowest)
    return given.astype("<i2" if lowest else "u1").view(np.uint8)
