"""Records of cuts, gates, levels and heads, and the notes: written and read (runtime/FORMAT.md)."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from metabit.export import bits, frozen
from metabit.export.errors import ExportError
from metabit.export.files import image_layout as layout
from metabit.export.files.image_parts import ABSENT, Parts, Record, Section
from metabit.export.frozen import Cuts, GatesLayer, HeadLayer, LevelsLayer, Notes
from metabit.export.oracle.head import Head
from metabit.export.validate import need

LANES: bits.Lanes = 32


def gate_planes(inputs: int) -> int:
    """Counter planes of gates: the fewest that hold the sum of K inputs."""
    return max(6, inputs.bit_length() + 1)


# Writing


def cuts_record(cuts: Cuts, constants: Section) -> Record:
    planes, features = cuts.planes, cuts.features
    head = (layout.CUTS, layout.INTEGERS.index(cuts.kind), planes, 0, features, planes * features, 0, 0, 0, 0)
    scale = ABSENT if cuts.scale is None else constants.add(cuts.scale.astype("<f4"))
    places = [*[ABSENT] * 4, scale, constants.add(cuts.cuts.astype("<i2" if cuts.kind == "int16" else "u1"))]
    return head, places, (0, 0, 0, int(cuts.shared > 0), *[0] * 5)


def gates_record(layer: GatesLayer, constants: Section) -> Record:
    sign = np.zeros((-(-layer.units // LANES), layer.inputs + 1), np.uint32)  # each row ends in a zero word
    sign[:, :-1] = bits.pack_columns(layer.hidden >= 0, LANES)
    head = (layout.GATES, 0, 1, gate_planes(layer.inputs), layer.inputs, layer.units, LANES, 0, 0, 0)
    places = [constants.add(sign.astype("<u4")), ABSENT, constants.add(layer.add.astype("<i4")),
              constants.add(layer.mul.astype("<i2")), ABSENT, ABSENT]  # fmt: skip
    return head, places, (0, 0, 0, layer.shift, *[0] * 5)


def levels_record(layer: LevelsLayer, constants: Section, state: Section) -> Record:
    stream = (state if layer.learns else constants).add(bits.pack_stream(layer.hidden, layer.bits))
    rule = layer.rule
    tables = ABSENT if rule is None else constants.add(rule.weaken.astype("<u2"))
    head = (layout.LEVELS, layout.INPUTS.index("levels"), layer.bits, 0, layer.inputs, layer.units, 0, int(layer.learns), 0,
            rule.dose if rule else 0)  # fmt: skip
    return head, [ABSENT, stream, ABSENT, tables, ABSENT, ABSENT], (0,) * 9


def head_record(layer: HeadLayer, constants: Section, state: Section) -> Record:
    derived = Head.of(layer)
    block = b"".join(
        np.ascontiguousarray(array).astype(dtype).tobytes()
        for array, dtype in (
            (derived.offsets, "<i4"), (derived.priors(), "<i4"), (layer.covariance, "<i2"), (layer.means, "<i2"),
            (layer.counts, "<u2"), (np.array([layer.seen, layer.dither, layer.turn]), "<u2"), (layer.hidden, "i1"),
            (layer.owners, "u1"), (layer.doubts, "u1"),
        )
    )  # fmt: skip
    places = [ABSENT, state.add(np.frombuffer(block, np.uint8)), ABSENT, ABSENT, ABSENT, ABSENT]
    scale, s, rows = layer.scale, layer.settings, layer.rows
    if scale is not None:
        places[2] = constants.add(scale.z_add.astype("<i4"))
        places[3] = constants.add(np.stack([scale.gate_mul, scale.gate_add, scale.z_mul]).astype("<i2"))
    head = (layout.HEAD, layout.INPUTS.index(layer.takes), 8, 0, layer.values, layer.classes, 0, 1, 0, 0)
    tail = (s.memory, s.covariance_memory, s.ridge, int(s.prior), scale.z_shift if scale else 0, len(layer.hidden), rows.per_class,
            rows.far, rows.doubt_limit, s.sweep_every.bit_length() - 1)  # fmt: skip
    return head, places, tail


def notes_bytes(notes: Notes) -> bytes:
    """Raises ExportError for a name that UTF-8 cannot hold."""
    text = json.dumps(vars(notes), ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError as wrong:
        raise ExportError(f"a name holds {text[wrong.start]!r}, which is no character: write it anew") from None


# Reading


def read_cuts(parts: Parts, i: int, record: tuple[int, ...]) -> Cuts:
    _, source, planes, _, features, units, *_ = record
    shared = record[19]
    need(i == 0 and source < len(layout.INTEGERS) and units == planes * features and shared <= 1,
         f"record {i}: cuts come first, on uint8 or int16, and have P * F units")  # fmt: skip
    kind = layout.INTEGERS[source]
    scale = parts.array("constant", record[14], "<f4", 2, features if record[14] else 0)
    cuts = parts.array("constant", record[15], "<i2" if kind == "int16" else "u1", planes, 1 if shared else features)
    return Cuts(kind, cuts.astype(kind), scale.astype(np.float32) if record[14] else None, features if shared else 0)


def read_gates(parts: Parts, i: int, record: tuple[int, ...]) -> GatesLayer:
    _, source, k, planes, inputs, units, lanes, *_ = record
    need(
        (source, k, lanes) == (0, 1, LANES),
        f"record {i}: gates have input 0, 1 bit and {LANES} lanes, not {(source, k, lanes)}",
    )
    need(
        gate_planes(inputs) <= planes <= 20, f"record {i} has {planes} counter planes, too few or too many for its sums"
    )
    sign = parts.array("constant", record[10], "<u4", -(-units // LANES), inputs + 1)
    add = parts.array("constant", record[12], "<i4", units)
    mul = parts.array("constant", record[13], "<i2", units)
    positive = bits.unpack_columns(sign[:, :-1], units)
    need(not sign[:, -1].any() and np.array_equal(bits.pack_columns(positive, LANES), sign[:, :-1]),
         f"record {i} has weights in the padding of its rows")  # fmt: skip
    return GatesLayer(np.where(positive, 0, -1).astype(np.int8), mul.astype(np.int16), add.astype(np.int32), record[19])


def read_levels(parts: Parts, i: int, record: tuple[int, ...]) -> LevelsLayer:
    _, source, k, _, inputs, classes, _, learns, _, dose, *_ = record
    need(source == layout.INPUTS.index("levels") and 2 <= k <= 8 and learns <= 1 and (learns == 1 or dose == 0),
         f"record {i}: levels have input 4, 2..8 bits, and a dose only if they learn")  # fmt: skip
    count = classes * (inputs + 1)
    words = parts.array("state" if learns else "constant", record[11], "<u4", -(-count * k // 32))
    weaken = parts.array("constant", record[13], "<u2", 2 ** (k - 1) if learns else 0)
    levels = bits.unpack_stream(words, count, k).reshape(classes, inputs + 1)
    need(np.array_equal(bits.pack_stream(levels, k), words), f"record {i} has levels in the padding of its last word")
    return LevelsLayer(levels, k, frozen.LevelsRule(dose, weaken.astype(np.uint16)) if learns else None)


def read_head(parts: Parts, i: int, record: tuple[int, ...]) -> HeadLayer:
    _, source, k, _, inputs, classes, _, learns, _, _, *_ = record
    memory, covariance_memory, ridge, prior, z_shift, rows, per_class, far, doubt_limit, every = record[16:]
    takes = layout.INPUTS[source] if source < len(layout.INPUTS) else None
    need((takes == "levels" or takes == "values") and k == 8 and learns == 1 and prior <= 1,
         f"record {i}: a head has input 4 or 5, 8 bits, learns 1 and prior 0 or 1")  # fmt: skip
    need(every <= 7, f"record {i}: a head sweeps every 2^{every} steps, the format holds up to 2^7")
    assert takes is not None
    values = 2 * inputs if takes == "levels" else inputs
    need(values % 2 == 0, f"record {i}: a head has {values} values, the format holds an even number")
    entries, several = values * (values + 2) // 2, per_class > 1
    shapes: list[tuple[str, tuple[int, ...]]] = [
        ("<i4", (rows,)), ("<i4", (rows,)), ("<i2", (entries,)), ("<i2", (rows, values)), ("<u2", (rows,)), ("<u2", (3,)),
        ("i1", (rows, values)), ("u1", (rows * several,)), ("u1", (classes * several,)),
    ]  # fmt: skip
    sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for dtype, shape in shapes]
    block, at = parts.array("state", record[11], "u1", sum(sizes)).tobytes(), np.cumsum([0, *sizes])
    offsets, priors, covariance, means, counts, counters, weights, owners, doubts = (
        np.frombuffer(block[start:end], dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder("="))
        for (dtype, shape), start, end in zip(shapes, at[:-1], at[1:], strict=True)
    )
    z_add = parts.array("constant", record[12], "<i4", inputs if takes == "levels" else 0)
    told = parts.array("constant", record[13], "<i2", 3, inputs if takes == "levels" else 0).astype(np.int16)
    need(takes == "levels" or z_shift == 0, f"record {i} has z_shift {z_shift}, a head on values has 0")
    layer = HeadLayer(
        weights, takes, classes, frozen.HeadSettings(memory, covariance_memory, ridge, bool(prior), 1 << every),
        frozen.HeadScale(told[0], told[1], told[2], z_add.astype(np.int32), z_shift) if takes == "levels" else None,
        covariance, means, counts, int(counters[0]), int(counters[1]), int(counters[2]),
        frozen.HeadRows(per_class, far, doubt_limit), owners, doubts,
    )  # fmt: skip
    derived = Head.of(layer)
    need(np.array_equal(derived.offsets, offsets) and np.array_equal(derived.priors(), priors),
         f"record {i} has offsets or priors that do not follow from its means, weights and counts: export it again")  # fmt: skip
    return layer


READERS: dict[int, Callable[[Parts, int, tuple[int, ...]], GatesLayer | LevelsLayer | HeadLayer]] = {
    layout.GATES: read_gates,
    layout.LEVELS: read_levels,
    layout.HEAD: read_head,
}


def read_notes(parts: Parts) -> Notes | None:
    """The names in the header's place; None if there are none."""
    at, size = parts.h.notes_offset, parts.h.notes_size
    text = parts.array("constant", at, "u1", size).tobytes()
    if size == 0:
        return None
    try:
        told = json.loads(text.decode())
        found = Notes(tuple(told["classes"]), tuple(told["features"]))
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise ExportError(
            f"the image's notes are no lists of class and feature names ({wrong!r}): export it again"
        ) from None
    need(all(isinstance(told[key], list) for key in vars(found))
         and all(isinstance(name, str) for name in (*found.classes, *found.features)),
         "the image's notes hold something else than lists of names: export it again")  # fmt: skip
    return found
