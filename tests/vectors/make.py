"""Writes the golden vectors beside this file. Run it after a change of the rule or the format, and read the diff."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
from agreement import replay_vector
from networks import conv, fresh_network, gates_network, inputs, network, ternary, voting, windowed

from metabit.export.files.image import write_image
from metabit.export.frozen import Frozen, HeadRows, HeadSettings, Notes
from metabit.export.oracle import Oracle
from metabit.export.vectors import learned

HERE = Path(__file__).parent


# name: sizes, k, thermometer planes (0: packed bits), which layers learn, dose
CASES = {
    "hidden-2bit": ((12, 20, 10), 2, 2, (True, False), 9000),
    "all-4bit": ((15, 33, 17, 5), 4, 3, (True, True, True), 9000),
    "hidden-8bit": ((9, 40, 3), 8, 4, (True, False), 30000),
    "output-5bit": ((70, 20, 18), 5, 0, (False, True), 30000),
    "single-3bit": ((50, 4), 3, 0, (True,), 3000),
}


# name: image, convolutions, dense layers, source, k, which dense layers learn
WINDOWED = {
    "conv-bits": ((7, 6, 3), (conv(33, 3, 1, True, 2), conv(5, 2)), (10, 4), "bits", 4, (True, True)),
    "conv-planes": ((6, 5, 2), (conv(9, 3, 2, True),), (6,), "2", 3, (True,)),
    "conv-uint8": ((9, 8, 3), (conv(12, 3, 1, True, 2), conv(40, 3, 1, False)), (18, 5), "uint8", 5, (True, False)),
    "dense-uint8": ((1, 1, 45), (), (34, 3), "uint8", 4, (False, True)),
}


# name: of `gates_network`
GATES = {
    "gates-none": {"features": 11, "planes": 3, "units": 40, "classes": 5, "last": "levels", "scaled": True},
    "gates-levels": {"features": 21, "planes": 2, "units": 33, "classes": 3, "last": "levels", "k": 4, "learns": True,
                     "shared": True},
    "gates-head": {"features": 37, "planes": 0, "units": 12, "classes": 3},
    "gates-head-int16": {"features": 9, "planes": 5, "units": 7, "classes": 6, "kind": "int16", "scaled": True, "spare": 2,
                         "notes": Notes(("still", "walk", "run", "Träume"), tuple(f"channel {f}" for f in range(9)))},
    "gates-head-rows": {"features": 13, "units": 8, "classes": 4, "spare": 1, "rows": HeadRows(3, 1, 2), "row_count": 9},
}  # fmt: skip

# name: of `fresh_network`
FRESH = {
    "fresh-head": {"features": 9, "units": 24, "classes": 4, "spare": 1, "takes": "float"},
    "fresh-head-uint8": {"features": 2, "units": 6, "classes": 3, "takes": "uint8"},
}

WORDS = {
    "words-visits": network(40, (9, 20, 4), 3, 2, (True, False), 9000),
    "words-head": gates_network(41, features=9, planes=2, units=7, classes=3, kind="int16", notes=Notes(("a", "b", "c"), ())),
}  # fmt: skip
"""Images of 1.5, whose checksums are of words. All others are of the version that was the present one when they came."""


def begun(frozen: Frozen, steps: int) -> Frozen:
    """The network after steps on random inputs, so that it keeps samples."""
    oracle, x = Oracle(frozen), inputs(frozen, steps, 50)
    for given, label in zip(
        frozen.unpack(x), np.random.default_rng(50).integers(0, frozen.classes, steps), strict=True
    ):
        oracle.learn(given, int(label))
    return learned(frozen, oracle)


SWEEPS = {
    "words-sweeps": gates_network(42, features=11, planes=2, units=8, classes=4, spare=1, rows=HeadRows(2, 1, 2), row_count=6,
                                  head=HeadSettings(sweep_every=4)),
}  # fmt: skip
"""A head that does not sweep at every step. After all others, whose seeds are their places."""

KEPT = {"votes-kept": begun(voting(43, inputs=37, planes=2, units=40, classes=5, k=3, batch=32), 40)}
"""Images of 1.6, in whose state the samples of a batch lie."""

STEPS = {"votes-3bit": 80, "votes-kept": 60, "gates-none": 0, "gates-head-rows": 60}
"""Every step whose sample votes counts a slice of the inputs: j = slot, slot + batch, ... So many that the 32 slots are filled
anew, and with 37 inputs that slots count two inputs as well as one."""


def networks() -> Iterator[tuple[str, Frozen]]:
    for seed, (name, (sizes, k, planes, learns, dose)) in enumerate(CASES.items()):
        yield name, network(seed, sizes, k, planes, learns, dose)
    for seed, (name, (image, convs, dense, source, k, learns)) in enumerate(WINDOWED.items()):
        yield name, windowed(seed, image, convs, dense, source, k, learns)
    yield "votes-3bit", voting(3, inputs=37, planes=2, units=40, classes=5, k=3, batch=32)
    yield "ternary-4bit", ternary(network(10, (15, 130, 80, 5), 4, 3, (True, True, True), 12000))
    for seed, (name, settings) in enumerate(GATES.items()):
        yield name, gates_network(20 + seed, **settings)
    for seed, (name, settings) in enumerate(FRESH.items()):
        yield name, fresh_network(30 + seed, **settings)
    yield from WORDS.items()
    yield from KEPT.items()
    yield from SWEEPS.items()


def files() -> dict[str, bytes]:
    """File name -> bytes of every vector."""
    out = {}
    for seed, (name, frozen) in enumerate(networks()):
        crc32 = name not in {**WORDS, **KEPT, **SWEEPS}
        out[f"{name}.mbit"] = write_image(frozen, crc32=crc32)
        out[f"{name}.vec"] = replay_vector(frozen, inputs=24, steps=STEPS.get(name, 40), seed=seed, crc32=crc32)
    return out


if __name__ == "__main__":
    for name, data in files().items():
        (HERE / name).write_bytes(data)
        print(f"{len(data):6d}  {name}")
