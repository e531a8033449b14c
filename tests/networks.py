"""Random frozen networks for the tests: every corner the format allows, from a seed."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from metabit.export.bits import unpack_rows
from metabit.export.frozen import Encode, Frozen, Layer, Rule


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


def inputs(frozen: Frozen, n: int, seed: int = 0) -> np.ndarray:
    """Inputs as the device takes them: uint8 features, or packed bits without an encoder."""
    return np.random.default_rng(seed).integers(0, 256, (n, frozen.input_bytes)).astype(np.uint8)


def inputs_of_density(frozen: Frozen, density: float, n: int, seed: int = 0) -> np.ndarray:
    """Device inputs with about this share (0..1) of their bits, or of their features at 255, on; the rest are 0."""
    rng = np.random.default_rng(seed)
    on = rng.random((n, frozen.input_bytes if frozen.encode else frozen.input_bits)) < density
    return np.where(on, 255, 0).astype(np.uint8) if frozen.encode else np.packbits(on, axis=1, bitorder="little")


def oracle_input(frozen: Frozen, x: np.ndarray) -> np.ndarray:
    """One device input as the oracle takes it: features, or without an encoder 0/1 a bit."""
    return x if frozen.encode else unpack_rows(x, frozen.input_bits).astype(np.uint8)


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
