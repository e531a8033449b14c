"""Random frozen networks for the tests: every corner the format allows, from a seed."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from metabit.export.bits import unpack_rows
from metabit.export.frozen import Encode, Frozen, Graded, Layer, Rule, Votes, Window


def rule(k: int, rng: np.random.Generator, dose: int | None = None) -> Rule:
    """Random tables, with certain and impossible entries among them."""
    tables = rng.integers(0, 65536, (2, 2 ** (k - 1))).astype(np.uint16)
    tables[rng.random(tables.shape) < 0.3] = 65535
    tables[rng.random(tables.shape) < 0.1] = 0
    return Rule(tables[0], tables[1], dose or int(rng.integers(1, 2**15)))


def network(
    seed: int,
    sizes: tuple[int, ...] = (40, 50, 33, 10),
    k: int = 4,
    planes: int = 2,
    learns: tuple[bool, ...] | None = None,
    dose: int | None = None,
) -> Frozen:
    """sizes: features (with planes > 0) or input bits (planes = 0), then units of each layer, classes last."""
    rng = np.random.default_rng(seed)
    encode = Encode(rng.integers(0, 256, (planes, sizes[0])).astype(np.uint8)) if planes else None
    inputs, layers = sizes[0] * (planes or 1), []
    learns = learns or (True,) * (len(sizes) - 1)
    for i, units in enumerate(sizes[1:]):
        last, bits = i == len(sizes) - 2, k if learns[i] else 1
        half = 2 ** (bits - 1)
        spread = max(1, int(1.5 * np.sqrt(inputs)))
        layers.append(
            Layer(
                kind="output" if last else "dense",
                hidden=rng.integers(-half, half, (units, inputs)).astype(np.int8),
                bits=bits,
                on_off=i == 0,
                theta=(np.zeros(units) if last else rng.integers(-spread, spread + 1, units)).astype(np.int32),
                window=0 if last else int(rng.integers(0, 2 * spread)),
                mul=(rng.integers(-3, 9, units) if last else np.ones(units)).astype(np.int32),
                add=(rng.integers(-99, 99, units) if last else np.zeros(units)).astype(np.int32),
                rule=rule(k, rng, dose) if learns[i] else None,
            )
        )
        inputs = units
    return Frozen(
        tuple(layers), encode, int(rng.integers(1, 4096)), int(rng.integers(0, 300)), int(rng.integers(1, 2**32))
    )


def ternary(frozen: Frozen, *layers: int) -> Frozen:
    """The network with these layers ternary, or all that can be."""
    can = [i for i, layer in enumerate(frozen.layers) if layer.kind == "dense" and not layer.uint8]
    which = layers or can
    assert set(which) <= set(can)
    return replace(frozen, layers=tuple(replace(layer, ternary=i in which) for i, layer in enumerate(frozen.layers)))


def conv(units: int, kernel: int, stride: int = 1, same: bool = False, pool: int = 1) -> dict[str, Any]:
    """One of `windowed`'s convolutions."""
    return {"units": units, "kernel": kernel, "stride": stride, "same": same, "pool": pool}


def windowed(
    seed: int,
    image: tuple[int, int, int],
    convs: tuple[dict[str, Any], ...] = (),
    dense: tuple[int, ...] = (10,),
    source: str = "bits",
    k: int = 4,
    learns: tuple[bool, ...] | None = None,
    frozen_bits: int = 1,
) -> Frozen:
    """Convolutions, then dense layers with the classes last.

    image: (H, W, C) of the features. convs: of `conv`. source: "bits", "uint8" or
    a number of thermometer planes. learns: of each dense layer. frozen_bits: of what does not learn.
    """
    rng = np.random.default_rng(seed)
    height, width, channels = image
    planes = int(source) if source.isdigit() else 0
    features = height * width * channels
    thresholds = rng.integers(0, 256, (planes, features)).astype(np.uint8)
    encode = Encode(thresholds, channels if convs else 0) if planes else None
    channels *= planes or 1
    values, layers = features * (planes or 1), []
    for row in convs:
        window = Window(height, width, channels, **{name: value for name, value in row.items() if name != "units"})
        k_in = window.kernel**2 * channels
        first = not layers
        layers.append(
            feature_layer(rng, "conv", row["units"], k_in, first, source == "uint8" and first, frozen_bits, window)
        )
        (height, width), channels = window.pooled, row["units"]
        values = height * width * channels
    head = network(seed, (values, *dense), k, 0, learns)
    for layer in head.layers:
        first = not layers
        if first and source == "uint8" and layer.kind == "dense":
            layers.append(feature_layer(rng, "dense", layer.units, values, True, True, frozen_bits, None))
        else:
            layers.append(replace(layer, on_off=first))
    return replace(head, layers=tuple(layers), encode=encode)


def feature_layer(
    rng: np.random.Generator,
    kind: Any,
    units: int,
    inputs: int,
    on_off: bool,
    uint8: bool,
    bits: int,
    conv: Window | None,
) -> Layer:
    """One that does not learn, with thresholds where its sums fall and two where they never do."""
    half, spread = 2 ** (bits - 1), max(1, int(1.5 * np.sqrt(inputs))) * (150 if uint8 else 1)
    theta = rng.integers(-spread, spread + 1, units)
    theta[2:3], theta[5:6] = inputs * (255 if uint8 else 1) + 1, -inputs * (255 if uint8 else 1)
    hidden = rng.integers(-half, half, (units, inputs)).astype(np.int8)
    zeros, ones = np.zeros(units, np.int32), np.ones(units, np.int32)
    return Layer(kind, hidden, bits, on_off, theta.astype(np.int32), 0, ones, zeros, None, uint8, conv)


def voting(
    seed: int,
    inputs: int = 20,
    planes: int = 2,
    units: int = 40,
    classes: int = 10,
    k: int = 4,
    learns: bool = True,
    draws: int = 4,
    batch: int = 32,
    source: str = "encode",
    below: Frozen | None = None,
) -> Frozen:
    """A graded layer and its output, with the random corners of `network`.

    source: "encode" for a thermometer code of as many planes, "bits" for packed bits. below: whose layers but the last come
    first instead, none of which may learn; `planes` must divide what its last takes.
    """
    rng = np.random.default_rng(seed)
    encode, first = Encode(rng.integers(0, 256, (planes, inputs)).astype(np.uint8)), ()
    if below is not None:
        inputs, encode, first = below.layers[-1].values // planes, below.encode, below.layers[:-1]
    elif source == "bits":
        encode = None
    half, spread = 2 ** (k - 1), max(1, int(np.sqrt(inputs)))
    lo = int(rng.integers(0, 400))
    taught = None
    if learns:
        need = np.round(rng.integers(1, 40) * np.sqrt(np.arange(3 * batch * planes + 1))).astype(np.uint16)
        votes = Votes(need, int(rng.integers(1, 65536)), draws, batch)
        taught = replace(rule(k, rng, int(rng.integers(4096, 2**20))), votes=votes)
    graded = Layer(
        "graded", rng.integers(-half, half, (units, inputs)).astype(np.int8), k, True,
        rng.integers(-spread, spread + 1, units).astype(np.int32), 0,
        np.ones(units, np.int32), np.zeros(units, np.int32), taught,
        graded=Graded(lo, lo + int(rng.integers(1, 1000)), planes),
    )  # fmt: skip
    output = Layer(
        "output", rng.integers(-1, 1, (classes, units)).astype(np.int8), 1, False, np.zeros(classes, np.int32), 0,
        rng.integers(1, 9, classes).astype(np.int32), rng.integers(-99, 99, classes).astype(np.int32), graded_input=True,
    )  # fmt: skip
    temperature, margin = int(rng.integers(8 * classes, 40 * classes)), int(rng.integers(0, 300))
    return Frozen((*first, graded, output), encode, temperature, margin, int(rng.integers(1, 2**32)))


def inputs(frozen: Frozen, n: int, seed: int = 0) -> np.ndarray:
    """Inputs as the device takes them: uint8 features, or packed bits where the first layer takes bits."""
    return np.random.default_rng(seed).integers(0, 256, (n, frozen.input_bytes)).astype(np.uint8)


def inputs_of_density(frozen: Frozen, density: float, n: int, seed: int = 0) -> np.ndarray:
    """Device inputs with about this share (0..1) of their bits, or of their features at 255, on; the rest are 0."""
    rng = np.random.default_rng(seed)
    on = rng.random((n, frozen.input_bits if frozen.packed else frozen.input_bytes)) < density
    return np.packbits(on, axis=1, bitorder="little") if frozen.packed else np.where(on, 255, 0).astype(np.uint8)


def oracle_input(frozen: Frozen, x: np.ndarray) -> np.ndarray:
    """One device input as the oracle takes it: features, or where the device takes packed bits 0/1 a bit."""
    return unpack_rows(x, frozen.input_bits).astype(np.uint8) if frozen.packed else x


def seal(image: bytes | bytearray) -> bytes:
    """The image with correct checksums wherever its header lets them be computed, so that only lies are left to find."""
    data = bytearray(image)
    for field in (16, 28):
        at, size = struct.unpack_from("<II", data, field)
        if at + size <= len(data):
            struct.pack_into("<I", data, field + 8, zlib.crc32(data[at : at + size]))
    records_end = 64 + 64 * struct.unpack_from("<H", data, 40)[0]
    if records_end <= len(data):
        data[12:16] = bytes(4)
        struct.pack_into("<I", data, 12, zlib.crc32(data[:records_end]))
    return bytes(data)
