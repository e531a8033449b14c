"""Guard data: samples of the old task on which a device tests itself while it learns (runtime/include/metabit_guard.h).

Which samples: right ones, the same number of each class, drawn from those whose margin is in the upper half of their class. Samples
near the boundary change sides as a network learns, whether it gets worse or not (docs/results/guard/README.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError
from metabit.export.files.image_layout import HEADER, RECORD, header_checksum
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.export.oracle.tickets import ticket

MAGIC = b"MBG1"
HEAD = struct.Struct("<4sIIHHHHHHHHBBBx")
"""Magic, identity, checksum of all that follows it, samples, bytes of a ticket, allowed, spared, least, good, patience, apart,
tests of a step, repeats, run. A sample is a label, uint16, and a ticket."""
MOST = 4096
"""Most samples."""
RUN_OF_A_HEAD, RUN = 250, 16
ALLOWED, ALLOWED_BY_VISITS = 2, 6


@dataclass(frozen=True)
class GuardOptions:
    """Settings of a guard; the defaults were chosen on the development problems with seeds 3 and 4.

    Args:
        samples: 1..4096, how many are wanted; a class with fewer that fit gives fewer.
        allowed: wrong ones at which learning goes on, 0..65535; None: `ALLOWED`, or `ALLOWED_BY_VISITS`, by which more samples
            change sides.
        spared: wrong ones at which a state may still be kept, 0..65535.
        patience: labelled samples, 0..65535, for which the running accuracy may lie below the least.
        apart: steps between two saves, 0..65535.
        per_step: guard samples that one step tests, 1..255; None: 4 where only the output learns, else 1.
        repeats: equal inputs that are learnt one after the other; 0 for any number.
        run: equal labels that are learnt one after the other, 0..255; 0 for any number; None: `RUN_OF_A_HEAD`, or `RUN` of other
            learners, which forget the classes that they do not see.
        seed: of the draw.
    """

    samples: int = 64
    allowed: int | None = None
    spared: int = 1
    patience: int = 512
    apart: int = 128
    per_step: int | None = None
    repeats: int = 2
    run: int | None = None
    seed: int = 1


def identity(image: bytes) -> int:
    """Which image this is, apart from what was learnt: `mb_identity`."""
    (_, _, minor, *_), layers = HEADER.unpack_from(image), struct.unpack_from("<H", image, 40)[0]
    head = image[: HEADER.size + RECORD.size * layers]
    return header_checksum(head[:36] + bytes(4) + head[40:], minor) | 1


def checksum(data: bytes) -> int:
    """FNV-1a, uint32, by which the guard knows bytes again."""
    total = 2166136261
    for byte in data:
        total = (total ^ byte) * 16777619 & 0xFFFFFFFF
    return total


def guard_data(
    frozen: Frozen,
    image: bytes,
    x: NDArray[np.uint8],
    y: NDArray[np.integer[Any]],
    scores: NDArray[np.integer[Any]],
    options: GuardOptions | None = None,
    rows: NDArray[np.int64] | None = None,
) -> bytes:
    """The bytes of model.guard.bin.

    The running accuracy that is called good lies half-way between the accuracy on these samples and that on them with half of the
    labels wrong; the least that is borne lies a quarter above the latter.

    Args:
        frozen, image: the network, and its .mbit image.
        x: device inputs of the old task, (n, input bytes).
        y: their labels, (n,).
        scores: what the image gives for them, (n, classes).
        rows: which of them are the guard samples; None: as this module says.

    Raises:
        ExportError: a setting out of range; nothing learns; or too few samples are right.
    """
    o = options or GuardOptions()
    if not 1 <= o.samples <= MOST:
        raise ExportError(f"a guard of {o.samples} samples: must be from 1 to {MOST}")
    if not any(layer.learns for layer in frozen.layers):
        raise ExportError("a guard watches learning, and no layer of this network learns: export with a learner")
    right = scores.argmax(1) == y
    known = np.unique(y)
    accuracy = float(np.mean([right[y == label].mean() for label in known]))
    rows = _chosen(y, right, scores, o) if rows is None else rows
    if len(known) < 2 or not len(rows):
        found = f"{len(y)} samples of {len(known)} classes, {right.sum()} of them right"
        raise ExportError(f"{found}: a guard needs right ones of two classes or more")
    half_wrong = (accuracy + (1 - accuracy) / (len(known) - 1)) / 2
    least, good = (round(65535 * (half_wrong + share * (accuracy - half_wrong))) for share in (1 / 4, 1 / 2))
    oracle, of_output = Oracle(frozen), not any(layer.learns for layer in frozen.layers[:-1])
    tickets = [ticket(oracle, x[row]) for row in rows]
    samples = b"".join(struct.pack("<H", y[row]) + kept for row, kept in zip(rows, tickets, strict=True))
    per_step = (4 if of_output else 1) if o.per_step is None else o.per_step
    run = (RUN_OF_A_HEAD if frozen.layers[-1].kind == "head" else RUN) if o.run is None else o.run
    visits = any(layer.learns and layer.kind in ("dense", "output") for layer in frozen.layers)
    allowed = (ALLOWED_BY_VISITS if visits else ALLOWED) if o.allowed is None else o.allowed
    try:
        fields = (allowed, o.spared, least, good, o.patience, o.apart, per_step, o.repeats, run)
        head = HEAD.pack(MAGIC, identity(image), 0, len(rows), len(tickets[0]), *fields)
    except struct.error as wrong:
        raise ExportError(f"a setting of the guard is out of range: {wrong}") from None
    data = head + samples
    return data[:8] + struct.pack("<I", checksum(data[12:])) + data[12:]


def _chosen(y: NDArray[Any], right: NDArray[np.bool_], scores: NDArray[Any], o: GuardOptions) -> NDArray[np.int64]:
    """Rows of the samples, class after class."""
    rng, known = np.random.default_rng(o.seed), np.unique(y)
    best_two = np.sort(scores.astype(np.int64), axis=1)[:, -2:]
    margins = best_two[:, 1] - best_two[:, 0]
    found = []
    for number, label in enumerate(known):
        wanted = o.samples // len(known) + (number < o.samples % len(known))
        rows = np.flatnonzero(right & (y == label))
        rows = rows[np.argsort(-margins[rows], kind="stable")][: max(wanted, len(rows) // 2)]
        found.append(rng.permutation(rows)[:wanted])
    return np.concatenate(found)
