"""Random frozen networks for the tests: every corner the format allows, from a seed."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from hypothesis import strategies as st

from metabit.export.files.image_layout import checksum, header_checksum
from metabit.export.freeze.fresh import fresh
from metabit.export.freeze.head import head_layer
from metabit.export.frozen import (
    ConvGeometry,
    ConvLayer,
    Cuts,
    DenseLayer,
    Encode,
    Frozen,
    GatesLayer,
    GradedLayer,
    HeadRows,
    HeadSettings,
    Layer,
    LevelsLayer,
    LevelsRule,
    Notes,
    OutputLayer,
    Rule,
    Takes,
    Votes,
)
from metabit.export.oracle.gates import gate_layer, head_values


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
    inputs = sizes[0] * (planes or 1)
    layers: list[Layer] = []
    takes: Takes = "bits"
    learns = learns or (True,) * (len(sizes) - 1)
    for i, units in enumerate(sizes[1:]):
        last, bits = i == len(sizes) - 2, k if learns[i] else 1
        half = 2 ** (bits - 1)
        spread = max(1, int(1.5 * np.sqrt(inputs)))
        hidden = rng.integers(-half, half, (units, inputs)).astype(np.int8)
        if last:
            mul, add = (rng.integers(*ends, units).astype(np.int32) for ends in ((-3, 9), (-99, 99)))
            layers.append(OutputLayer(hidden, bits, takes, mul, add, rule(k, rng, dose) if learns[i] else None))
        else:
            theta = rng.integers(-spread, spread + 1, units).astype(np.int32)
            ste_window = int(rng.integers(0, 2 * spread))
            taught = rule(k, rng, dose) if learns[i] else None
            layers.append(DenseLayer(hidden, bits, takes, theta, ste_window, taught))
        inputs, takes = units, "signs"
    return Frozen(
        tuple(layers), encode, int(rng.integers(1, 4096)), int(rng.integers(0, 300)), int(rng.integers(1, 2**32))
    )


def ternary(frozen: Frozen, *which: int) -> Frozen:
    """The network with these layers ternary, or all that can be."""
    can = [i for i, layer in enumerate(frozen.layers) if isinstance(layer, DenseLayer) and layer.takes != "bytes"]
    which = which or tuple(can)
    assert set(which) <= set(can)
    return replace(
        frozen,
        layers=tuple(replace(a, ternary=i in which) if i in can else a for i, a in enumerate(frozen.layers)),
    )


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
    values = features * (planes or 1)
    layers: list[Layer] = []
    takes: Takes = "bytes" if source == "uint8" else "bits"
    for row in convs:
        geometry = ConvGeometry(
            height, width, channels, **{name: value for name, value in row.items() if name != "units"}
        )
        hidden, theta = still(rng, row["units"], geometry.kernel**2 * channels, takes, frozen_bits)
        layers.append(ConvLayer(hidden, frozen_bits, takes, theta, geometry))
        (height, width), channels, takes = geometry.pooled, row["units"], "signs"
        values = height * width * channels
    head = network(seed, (values, *dense), k, 0, learns)
    for layer in head.layers:
        if takes == "bytes" and layer.kind == "dense":
            hidden, theta = still(rng, layer.units, values, takes, frozen_bits)
            layers.append(DenseLayer(hidden, frozen_bits, takes, theta))
        else:
            layers.append(replace(layer, takes=takes))
        takes = "signs"
    return replace(head, layers=tuple(layers), encode=encode)


def still(rng: np.random.Generator, units: int, inputs: int, takes: Takes, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Levels and thresholds of a layer that does not learn: where its sums fall, and two where they never do."""
    half, spread = 2 ** (bits - 1), max(1, int(1.5 * np.sqrt(inputs))) * (150 if takes == "bytes" else 1)
    theta = rng.integers(-spread, spread + 1, units)
    most = inputs * (255 if takes == "bytes" else 1)
    theta[2:3], theta[5:6] = most + 1, -most
    return rng.integers(-half, half, (units, inputs)).astype(np.int8), theta.astype(np.int32)


def voting(
    seed: int,
    inputs: int = 20,
    planes: int = 2,
    units: int = 40,
    classes: int = 10,
    k: int = 4,
    learns: bool = True,
    passes: int = 4,
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
    low = int(rng.integers(0, 400))
    taught = None
    if learns:
        needed = np.round(rng.integers(1, 40) * np.sqrt(np.arange(3 * batch * planes + 1))).astype(np.uint16)
        chance = int(rng.integers(1, 65536))
        gated = rule(k, rng, int(rng.integers(4096, 2**20)))
        taught = Votes(gated.strengthen, gated.weaken, gated.dose, needed, chance, passes, batch)
    hidden = rng.integers(-half, half, (units, inputs)).astype(np.int8)
    theta = rng.integers(-spread, spread + 1, units).astype(np.int32)
    graded = GradedLayer(hidden, k, theta, low, low + int(rng.integers(1, 1000)), planes, taught)
    hidden = rng.integers(-1, 1, (classes, units)).astype(np.int8)
    mul, add = (rng.integers(*ends, classes).astype(np.int32) for ends in ((1, 9), (-99, 99)))
    output = OutputLayer(hidden, 1, "grades", mul, add)
    temperature, skip_below = int(rng.integers(8 * classes, 40 * classes)), int(rng.integers(0, 300))
    return Frozen((*first, graded, output), encode, temperature, skip_below, int(rng.integers(1, 2**32)))


def inputs(frozen: Frozen, n: int, seed: int = 0) -> np.ndarray:
    """Inputs as the device takes them: uint8 features, or packed bits where the first layer takes bits."""
    return np.random.default_rng(seed).integers(0, 256, (n, frozen.input_bytes)).astype(np.uint8)


def inputs_of_density(frozen: Frozen, density: float, n: int, seed: int = 0) -> np.ndarray:
    """Device inputs with about this share (0..1) of their bits, or of their features at 255, on; the rest are 0."""
    rng = np.random.default_rng(seed)
    on = rng.random((n, frozen.input_bits if frozen.packed else frozen.input_bytes)) < density
    return np.packbits(on, axis=1, bitorder="little") if frozen.packed else np.where(on, 255, 0).astype(np.uint8)


def oracle_input(frozen: Frozen, x: np.ndarray) -> np.ndarray:
    """One device input as the oracle takes it: features uint8 or int16, or where the device takes packed bits 0/1 a bit."""
    return frozen.unpack(x)


def seal(image: bytes | bytearray) -> bytes:
    """The image with correct checksums wherever its header lets them be computed, so that only lies are left to find."""
    data = bytearray(image)
    (minor,) = struct.unpack_from("<H", data, 6)
    for field in (16, 28):
        at, size = struct.unpack_from("<II", data, field)
        if at + size <= len(data):
            struct.pack_into("<I", data, field + 8, checksum(bytes(data[at : at + size]), minor))
    records_end = 64 + 64 * struct.unpack_from("<H", data, 40)[0]
    if records_end <= len(data):
        struct.pack_into("<I", data, 12, header_checksum(bytes(data[:records_end]), minor))
    return bytes(data)


def gates_network(
    seed: int,
    features: int = 13,
    planes: int = 3,
    units: int = 10,
    classes: int = 4,
    last: str = "head",
    kind: str = "uint8",
    k: int = 5,
    learns: bool = False,
    spare: int = 0,
    rows: HeadRows | None = None,
    row_count: int | None = None,
    samples: int = 60,
    shared: bool = False,
    scaled: bool = False,
    head: HeadSettings | None = None,
    notes: Notes | None = None,
) -> Frozen:
    """Cuts (planes = 0: packed bits), gates, and levels or a head that has seen samples of every class but the spare ones.

    classes: all, with the spare ones. rows: with more than one row a class. row_count: rows of the head then.
    """
    rng = np.random.default_rng(seed)
    inputs = features * (planes or 1)
    lowest = -32768 if kind == "int16" else 0
    encode = None
    if planes:
        cuts = np.sort(
            rng.integers(lowest, lowest + (65536 if kind == "int16" else 256), (planes, 1 if shared else features)),
            axis=0,
        )
        scale = (
            np.stack([rng.normal(size=features), rng.uniform(0.1, 9, features)]).astype(np.float32) if scaled else None
        )
        encode = Cuts(kind, cuts.astype(kind), scale, features if shared else 0)
    hidden = rng.integers(-1, 1, (units, inputs)).astype(np.int8)
    sums = (rng.random((200, inputs)) < rng.random((200, 1))).astype(np.int64) @ np.where(hidden >= 0, 1, -1).T
    gamma, deviation = rng.normal(0, 1.5, units), sums.std(0) + 0.1
    made = gate_layer(gamma, rng.normal(0, 1, units), sums.mean(0), deviation, inputs)
    gates = GatesLayer(hidden, made.mul, made.add, made.shift)
    if last == "levels":
        top = 2 ** (k - 1) - 1
        weaken = rng.integers(0, 257, top + 1).astype(np.uint16)
        taught = LevelsRule(int(rng.integers(1, 2**20)), weaken) if learns else None
        output: Layer = LevelsLayer(rng.integers(-top, top + 1, (classes, units + 1)).astype(np.int8), k, taught)
    else:
        scale_of = head_values(made, gamma, deviation, sums)
        values = scale_of.values(sums, made.levels(sums))
        labels = rng.integers(0, classes - spare, 200)
        output = head_layer(values[:samples], labels[:samples], classes, scale_of, head, rows, row_count)
    temperature, skip_below = int(rng.integers(1, 4096)), int(rng.integers(0, 300))
    return Frozen((gates, output), encode, temperature, skip_below, int(rng.integers(1, 2**32)), notes=notes)


def fresh_network(
    seed: int,
    features: int = 9,
    units: int = 24,
    classes: int = 4,
    spare: int = 0,
    takes: Literal["uint8", "int16", "float"] = "uint8",
) -> Frozen:
    """Units from nothing below a head that knows no class. classes: all, with the spare ones."""
    rng = np.random.default_rng(seed)
    low, high = (0, 256) if takes == "uint8" else (-32768, 32768)
    sample = rng.integers(low, high, (64, features)) if takes != "float" else rng.normal(size=(64, features)) * 9
    return fresh(sample, classes - spare, units=units, spare_classes=spare, takes=takes, seed=seed)


@st.composite
def any_windowed(draw: st.DrawFn) -> Frozen:
    """Odd channel counts, edges of every kind, strides beyond the kernel, pools that leave a rest, any head."""
    size = st.integers(1, 9)
    height, width, channels = draw(size), draw(size), draw(st.sampled_from([1, 2, 3, 5, 31, 32, 33]))
    image, convs = (height, width, channels), []
    for _ in range(draw(st.integers(0, 3))):
        same = draw(st.booleans())
        kernel = draw(st.integers(1, 5 if same else min(5, height, width)))
        stride = draw(st.integers(1, 4))
        sides = [-(-s // stride) if same else (s - kernel) // stride + 1 for s in (height, width)]
        pool = draw(st.integers(1, min(3, *sides)))
        convs.append(conv(draw(st.sampled_from([1, 2, 7, 31, 32, 33, 65])), kernel, stride, same, pool))
        height, width = (side // pool for side in sides)
    source = draw(st.sampled_from(["bits", "uint8", "1", "2", "5"]))
    dense = (
        *draw(st.lists(st.integers(1, 40), min_size=source == "uint8" and not convs, max_size=2)),
        draw(st.integers(2, 18)),
    )
    learns = tuple(draw(st.booleans()) for _ in dense)
    seed = draw(st.integers(0, 2**32 - 1))
    bits = draw(st.sampled_from([1, 1, 3]))
    return windowed(seed, image, tuple(convs), dense, source, draw(st.integers(2, 5)), learns, bits)
