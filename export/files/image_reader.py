"""`.mbit` device image -> Frozen, with the checks that the C runtime makes when it opens an image (runtime/FORMAT.md)."""

from __future__ import annotations

import struct

import numpy as np

from metabit.export import bits, frozen
from metabit.export.counters import PLANES
from metabit.export.errors import ExportError
from metabit.export.files import image_layout as layout
from metabit.export.files.image_gates import READERS, read_cuts, read_notes
from metabit.export.files.image_kept import read_kept, word_count
from metabit.export.files.image_parts import Parts
from metabit.export.files.image_triples import read_triples
from metabit.export.frozen import Frozen, Layer, Rule, Votes
from metabit.export.validate import check_limits, need


def read_image(image: bytes) -> Frozen:
    """The network inside an image, learned state included.

    Everything comes back as it was written, except a theta of the wrong parity and an odd ste_window, which come back as the
    equal values that the device uses. Raises ExportError if the image is truncated, damaged, of another version, or breaks a
    rule of runtime/FORMAT.md.
    """
    h = layout.Header.read(image)
    try:
        return _Reader(image, h).network()
    except (ValueError, IndexError, TypeError, ArithmeticError, struct.error) as wrong:
        raise ExportError(f"the image's records contradict each other: {wrong}") from wrong


class _Reader(Parts):
    """Reads record after record."""

    def network(self) -> Frozen:
        h, layers = self.h, list[Layer]()
        encode: frozen.Encode | frozen.Cuts | None = None
        self.reserved("the header", 0, (46, 47, *range(60, layout.HEADER.size)))
        for i in range(h.layers):
            at = layout.HEADER.size + layout.RECORD.size * i
            record = layout.RECORD.unpack_from(self.image, at)
            self.reserved(f"record {i}", at, layout.RESERVED.get(record[0], range(40, 64)))
            if record[0] == layout.ENCODE:
                need(
                    i == 0 and record[5] == record[2] * record[4],
                    f"record {i}: an encoder comes first, and has P * F units",
                )
                encode = frozen.Encode(self.array("constant", record[15], "u1", record[2], record[4]), record[18])
            elif record[0] == layout.CUTS:
                encode = read_cuts(self, i, record)
            elif record[0] == layout.TRIPLES:
                layers.append(read_triples(self, i, record))
            else:
                layers.append(READERS[record[0]](self, i, record) if record[0] in READERS else self.layer(i, record))
        generator, *counters = layout.STATE.unpack_from(self.image, h.state_offset)
        found = Frozen(tuple(layers), encode, h.temperature, h.margin, generator, frozen.Counters(*counters),
                       read_notes(self))  # fmt: skip
        check_limits(found)
        need((h.input_size, h.classes) == (found.input_bytes, found.classes), f"the header has {h.input_size} input bytes and "
             f"{h.classes} classes, the layers {found.input_bytes} and {found.classes}")  # fmt: skip
        return found

    def layer(self, i: int, record: tuple[int, ...]) -> Layer:
        (kind, source, k, planes, inputs, units, lanes, learns, window, dose,
         sign_at, levels_at, fold_at, tables_at, scores_at, needed_at, *tail) = record  # fmt: skip
        height, width, channels, kernel, stride, pool, padding, *_ = tail
        low, high, chance, depth, passes, slots, *_ = tail  # the same bytes of a graded layer
        need(layout.DENSE <= kind <= layout.TERNARY and source <= layout.INPUTS.index("grades"),
             f"kind {kind} or input {source} of record {i} is unknown: a newer metabit wrote it")  # fmt: skip
        takes, conv, graded = layout.INPUTS[source], kind == layout.CONV, kind == layout.GRADED
        no_error = conv or graded or takes in ("bytes", "grades")
        unused = no_error and window, conv and learns, not learns and dose, graded and source
        need(not any(unused) and learns <= 1 and padding <= conv and not (graded and not learns and (chance or passes or slots)),
             f"record {i} of kind {kind} sets a field that its kind does not use")  # fmt: skip
        lane = layout.lanes_of(kind == layout.OUTPUT, units)
        need(
            1 <= k <= 8 and lanes == lane, f"record {i} has {k} bits and {lanes} lanes: the format has 1..8 and {lane}"
        )
        fewest, most = PLANES[takes == "bytes"] if takes != "grades" else (0, 0)
        reach = inputs * (255 if takes == "bytes" else depth if graded else 1) | window
        need(fewest <= planes <= most and (takes == "grades" or reach >> (planes - 1) == 0),
             f"record {i} has {planes} counter planes, too few or too many for its sums")  # fmt: skip
        home, rows, word = "state" if learns else "constant", -(-units // lanes), f"<u{lanes // 8}"
        sign = self.array(home, sign_at, word, rows, inputs + 1)
        low_bits = self.array(home, levels_at, word, rows, inputs, k - 1)
        fold_home = home if takes == "signs" else "constant"
        fold = self.array(fold_home, fold_at, "<u4", -(-units // 32), planes)
        strengthen, weaken = self.array("constant", tables_at, "<u2", 2, 2 ** (k - 1) if learns else 0)
        kept = None
        if graded and learns and scores_at:
            size = depth * inputs, units, 32 * slots
            kept = read_kept(self.array("state", scores_at, "<u4", word_count(*size)), *size)
            scores_at = 0
        mul, add = self.array("constant", scores_at, "<i4", 2, units if kind == layout.OUTPUT else 0)
        needed = self.array(
            "constant", needed_at, "<u2", frozen.MAX_VOTES * 32 * slots * depth + 1 if graded and learns else 0
        )

        hidden = bits.unpack_level_columns(low_bits, sign[:, :-1], units)
        need(not sign[:, -1].any() and np.array_equal(bits.pack_columns(hidden >= 0, lane), sign[:, :-1]) and
             np.array_equal(bits.pack_level_columns(hidden, k, lane), low_bits),
             f"record {i} has weights in the padding of its rows")  # fmt: skip
        rule = Rule(strengthen, weaken, dose) if learns else None
        if kind == layout.OUTPUT:
            return frozen.OutputLayer(hidden, k, takes, mul, add, rule)
        v = bits.unslice_planes(fold, units)
        if takes == "signs":
            v = 2 * v + np.where(hidden >= 0, 1, -1).sum(1, dtype=np.int64)
        theta = (-v).astype(np.int32)
        if conv:
            geometry = frozen.ConvGeometry(height, width, channels, kernel, stride, bool(padding), pool)
            return frozen.ConvLayer(hidden, k, takes, theta, geometry)
        if graded:
            votes = Votes(strengthen, weaken, dose, needed, chance, passes, 32 * slots) if learns else None
            return frozen.GradedLayer(hidden, k, theta, low, high, depth, votes, kept)
        ste_window = 2 * window if takes == "signs" else window
        return frozen.DenseLayer(hidden, k, takes, theta, ste_window, rule, kind == layout.TERNARY)
