"""Images of cuts, gates, levels and heads, written by runtime/FORMAT.md alone, from random constants."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from networks import seal

from metabit.export.oracle.head import Head, HeadSettings, triangle

Array = np.ndarray[Any, Any]
DOSE = 5000


@dataclass(frozen=True, eq=False)
class Gated:
    """One network. Without cuts the inputs are packed bits.

    Shapes: cuts (P, F), or (P, 1) if shared, uint8 or int16; scale (2, F); weights (N, K) of ±1; mul, add (N,). With `levels` (C, K + 1)
    the last layer is levels of k bits, with `weaken` (2^(k-1),) they learn. With `head` it is a head, whose rows `owner` and `doubt`
    give to classes where rows_per_class is above 1.
    """

    weights: Array
    mul: Array
    add: Array
    shift: int = 12
    cuts: Array | None = None
    features: int = 0
    scale: Array | None = None
    levels: Array | None = None
    bits: int = 4
    weaken: Array | None = None
    head: Head | None = None
    gate_mul: Array | None = None
    gate_add: Array | None = None
    z_mul: Array | None = None
    z_add: Array | None = None
    z_shift: int = 12
    classes: int = 0
    rows_per_class: int = 1
    far: int = 0
    doubt_limit: int = 0
    owner: Array | None = None
    doubt: Array | None = None
    notes: bytes = b""
    generator: int = field(default=7)

    @property
    def wide(self) -> bool:
        return self.cuts is not None and self.cuts.dtype == np.int16

    @property
    def input_size(self) -> int:
        if self.cuts is None:
            return -(-self.weights.shape[1] // 8)
        return self.features * (2 if self.wide else 1)


def levels_stream(levels: Array, bits: int) -> bytes:
    """Levels (C, K + 1) as a stream of k-bit numbers, least significant bit first."""
    flat = (levels.astype(np.int64).ravel() % (1 << bits))[:, None] >> np.arange(bits) & 1
    stream = flat.ravel().astype(np.uint8)
    return np.packbits(np.pad(stream, (0, -len(stream) % 32)), bitorder="little").tobytes()


def head_state(net: Gated) -> bytes:
    """The block of FORMAT.md, "The head's state"."""
    h = net.head
    assert h is not None
    parts: list[tuple[Array, str]] = [(h.offsets, "<i4"), (priors(h), "<i4"), (h.covariance[triangle(h.means.shape[1])], "<i2"),
             (h.means, "<i2"), (h.counts, "<u2"), (np.array([h.seen, h.dither, h.turn]), "<u2"), (h.weights, "i1")]  # fmt: skip
    if net.rows_per_class > 1:
        assert net.owner is not None and net.doubt is not None
        parts += [(net.owner, "u1"), (net.doubt, "u1")]
    return b"".join(array.astype(form).tobytes() for array, form in parts)


def priors(h: Head) -> Array:
    """int32 (R,): what the scores of values 0 have above the offsets; 0 for a row without samples."""
    told = h.scores(np.zeros(h.means.shape[1], np.int8))
    return np.where(h.counts > 0, told - h.offsets, 0)


def sign_words(weights: Array) -> bytes:
    units, inputs = weights.shape
    on = np.zeros((-(-units // 32) * 32, inputs + 1), np.uint8)
    on[:units, :inputs] = weights > 0
    grouped = on.reshape(-1, 32, inputs + 1).transpose(0, 2, 1)
    return np.packbits(grouped, axis=-1, bitorder="little").tobytes()


class _Sections:
    """Lays arrays into constants and state."""

    def __init__(self, records: int, state_begin: bytes) -> None:
        self.at = 64 + 64 * records
        self.constants, self.state = bytearray(), bytearray(state_begin)

    def constant(self, data: bytes) -> int:
        self.constants += bytes(-len(self.constants) % 4)
        self.constants += data
        return self.at + len(self.constants) - len(data)

    def learned(self, data: bytes) -> int:
        """The offset in the state section; `write` adds where that begins."""
        self.state += bytes(-len(self.state) % 4)
        self.state += data
        return len(self.state) - len(data)


def write(net: Gated) -> bytes:
    units, inputs = net.weights.shape
    count = 2 + (net.cuts is not None)
    place = _Sections(count, struct.pack("<IIII", net.generator, 0, 0, 0))
    records: list[dict[int, tuple[str, int]]] = []
    if net.cuts is not None:
        planes = len(net.cuts)
        record = {0: ("B", 7), 1: ("B", int(net.wide)), 2: ("B", planes), 4: ("H", net.features), 6: ("H", planes * net.features),
                  46: ("B", int(net.cuts.shape[1] == 1 and net.features > 1))}  # fmt: skip
        if net.scale is not None:
            record[32] = ("I", place.constant(net.scale.astype("<f4").tobytes()))
        record[36] = ("I", place.constant(net.cuts.astype("<i2" if net.wide else "u1").tobytes()))
        records.append(record)
    counter = max(6, inputs.bit_length() + 1)
    records.append({0: ("B", 8), 2: ("B", 1), 3: ("B", counter), 4: ("H", inputs), 6: ("H", units), 8: ("B", 32),
                    46: ("B", net.shift), 16: ("I", place.constant(sign_words(net.weights))),
                    24: ("I", place.constant(net.add.astype("<i4").tobytes())),
                    28: ("I", place.constant(net.mul.astype("<i2").tobytes()))})  # fmt: skip
    moved = -1  # offset that lies in the state section
    if net.levels is not None:
        classes = len(net.levels)
        record = {0: ("B", 9), 1: ("B", 4), 2: ("B", net.bits), 4: ("H", units), 6: ("H", classes)}
        stream = levels_stream(net.levels, net.bits)
        if net.weaken is None:
            record[20] = ("I", place.constant(stream))
        else:
            record |= {9: ("B", 1), 12: ("I", DOSE)}
            moved = place.learned(stream)
            record[28] = ("I", place.constant(net.weaken.astype("<u2").tobytes()))
    else:
        assert net.head is not None and net.z_add is not None
        s, classes = net.head.settings, net.classes
        scale = np.array([net.gate_mul, net.gate_add, net.z_mul])
        moved = place.learned(head_state(net))
        record = {0: ("B", 10), 1: ("B", 4), 2: ("B", 8), 4: ("H", units), 6: ("H", classes), 9: ("B", 1), 40: ("H", s.memory),
                  42: ("H", s.covariance_memory), 44: ("H", s.ridge), 46: ("B", int(s.prior)), 47: ("B", net.z_shift),
                  48: ("B", len(net.head.means)), 49: ("B", net.rows_per_class), 50: ("B", net.far), 51: ("B", net.doubt_limit),
                  24: ("I", place.constant(net.z_add.astype("<i4").tobytes())),
                  28: ("I", place.constant(scale.astype("<i2").tobytes()))}  # fmt: skip
    records.append(record)
    notes_at = place.constant(net.notes) if net.notes else 0
    const_size = len(place.constants)
    state_at = place.at + (const_size + 3) // 4 * 4
    if moved >= 0:
        record[20] = ("I", state_at + moved)
    constants, state = place.constants + bytes(-const_size % 4), place.state + bytes(-len(place.state) % 4)
    data = bytearray(place.at) + constants + state
    fields = {0: ("4s", b"MBIT"), 4: ("HH", (1, 4)), 8: ("I", len(data)), 16: ("II", (place.at, const_size)),
              28: ("II", (state_at, len(state))), 40: ("HHH", (count, net.input_size, classes)), 48: ("HH", (410, 41)),
              52: ("II", (notes_at, len(net.notes)))}  # fmt: skip
    for at, (form, value) in fields.items():
        struct.pack_into(f"<{form}", data, at, *(value if isinstance(value, tuple) else (value,)))
    for i, names in enumerate(records):
        for at, (form, number) in names.items():
            struct.pack_into(f"<{form}", data, 64 + 64 * i + at, number)
    return seal(bytes(data))


# Random networks


def gates(
    seed: int, units: int, features: int = 9, planes: int = 3, kind: str = "uint8", shared: bool = False
) -> Gated:
    """Cuts and gates without a last layer. kind: "uint8", "int16" or "bits", then features * planes bits."""
    rng = np.random.default_rng(seed)
    inputs = features * planes
    cuts = None
    if kind != "bits":
        low, high, form = (0, 256, np.uint8) if kind == "uint8" else (-32768, 32768, np.int16)
        cuts = np.sort(rng.integers(low, high, (planes, 1 if shared else features)).astype(form), axis=0)
    spread = max(1.0, np.sqrt(inputs))
    mul = rng.integers(-4096 * 8 / spread, 4096 * 8 / spread + 1, units)
    return Gated(
        weights=rng.choice([-1, 1], (units, inputs)), mul=mul, add=rng.integers(-60000, 60000, units), cuts=cuts, features=features,
        scale=rng.random((2, features)) + 1 if kind == "int16" else None,
    )  # fmt: skip


def with_levels(net: Gated, seed: int, classes: int, bits: int = 4, learns: bool = True) -> Gated:
    rng = np.random.default_rng(seed)
    top = 2 ** (bits - 1) - 1
    return replace(net, levels=rng.integers(-top, top + 1, (classes, len(net.weights) + 1)), bits=bits,
                   weaken=rng.integers(0, 257, top + 1) if learns else None)  # fmt: skip


def with_head(
    net: Gated,
    seed: int,
    classes: int,
    known: int | None = None,
    rows: int | None = None,
    rows_per_class: int = 1,
    settings: HeadSettings | None = None,
) -> Gated:
    """A head whose first `known` classes have samples (all, if None), fitted on random values."""
    rng = np.random.default_rng(seed)
    units, rows = len(net.weights), rows or classes
    known = classes if known is None else known
    centres = rng.integers(-60, 60, (classes, 2 * units))
    y = rng.integers(0, max(known, 1), 300 if known else 0)
    x = np.clip(centres[y] + rng.normal(0, 30, (len(y), 2 * units)), -127, 127).astype(np.int8)
    head = Head.fitted(x, y, rows, settings, 77) if known else Head.empty(2 * units, rows, settings, 77)
    more: dict[str, Any] = {}
    if rows_per_class > 1:
        owner = np.where(head.counts > 0, np.arange(rows), 255)
        more = {
            "rows_per_class": rows_per_class,
            "far": 1,
            "doubt_limit": 3,
            "owner": owner,
            "doubt": np.zeros(classes, int),
        }
    return replace(
        net, head=head, classes=classes, gate_mul=rng.integers(0, 2561, units), gate_add=rng.integers(-20496, 20497, units),
        z_mul=rng.integers(-3000, 3000, units), z_add=rng.integers(-90000, 90000, units), **more,
    )  # fmt: skip
