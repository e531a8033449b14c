"""Rivals of benchmarks/equal_accuracy.py that are no networks: a Tsetlin machine and a hyperdimensional classifier, on bits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from rival_networks import Rival, Settings, cut_arrays, input_macros

from metabit.data.encoder import Encoder

Ints = NDArray[Any]
HELD_OUT = 10
"""One sample in so many of the training part chooses the epoch of a Tsetlin machine."""
EPOCHS, STRENGTH, SPECIFICITY = 20, 1.25, 10.0
ROUNDS = 20


def tsetlin(
    encoder: Encoder, x: Ints, y: Ints, classes: int, clauses: int, literals: int, seed: int, settings: Settings
) -> Rival:
    """rivals/tsetlin.c: clauses of at most `literals` inputs or negated inputs, with weights for all classes, trained by
    green-tsetlin (pip install green-tsetlin tqdm)."""
    import green_tsetlin as gt

    bits = encoder.compare(x)
    held = np.arange(len(y)) % HELD_OUT == 0
    machine = gt.TsetlinMachine(
        n_literals=encoder.bits, n_clauses=clauses, n_classes=classes, s=SPECIFICITY, threshold=int(STRENGTH * clauses),
        literal_budget=literals,
    )  # fmt: skip
    trainer = gt.Trainer(machine, seed=seed + 1, n_jobs=1, n_epochs=EPOCHS, progress_bar=False)
    trainer.set_train_data(bits[~held], y[~held].astype(np.uint32))
    trainer.set_eval_data(bits[held], y[held].astype(np.uint32))
    trainer.train()
    return from_clauses(encoder, classes, machine._state.c >= 0, machine._state.w, bits)


def from_clauses(encoder: Encoder, classes: int, included: Ints, weights: Ints, bits: Ints) -> Rival:
    """included: bool (clauses, 2 · bits), inputs, then negated inputs. The literal that is false most often comes first."""
    used = included.any(1) & (weights != 0).any(1)
    included, weights = included[used], weights[used].astype(np.int16)
    share = bits.mean(0)
    often = np.concatenate([share, 1 - share])  # how often a literal is true
    rows = [sorted(np.flatnonzero(row), key=lambda k: (often[k], k)) for row in included]
    codes = [[2 * (k % encoder.bits) + int(k >= encoder.bits) for k in row] for row in rows]
    cuts, macros = cut_arrays(encoder)
    arrays = {**cuts, "WEIGHTS": weights, "COUNTS": np.array([len(row) for row in codes], np.uint16),
              "LITERALS": np.concatenate([np.array(row, np.uint16) for row in codes])}  # fmt: skip
    defines = {**input_macros(encoder, classes), **macros, "CLAUSES": len(codes)}
    both, needed = included.astype(np.float32).T, included.sum(1)

    def predict(q: Ints) -> Ints:
        on = encoder.compare(q).astype(np.float32)
        true = np.concatenate([on, 1 - on], axis=1) @ both == needed
        return true.astype(np.int64) @ weights.astype(np.int64)

    return Rival("tsetlin.c", arrays, defines, predict)


def hyper(encoder: Encoder, x: Ints, y: Ints, classes: int, dimensions: int, seed: int, settings: Settings) -> Rival:
    """rivals/hyper.c: random bits of each input, their majority, and the nearest class; classes are corrected on wrong samples."""
    rng = np.random.default_rng(seed)
    assert dimensions % 32 == 0 and encoder.bits < 1024
    base = rng.integers(0, 2, dimensions + 32 * (encoder.bits // 32 + 2)).astype(np.uint8)
    vectors = np.stack([base[i : i + dimensions] for i in range(encoder.bits)]).astype(np.float32)

    def encoded(q: Ints) -> NDArray[np.bool_]:
        on = encoder.compare(q).astype(np.float32)
        found: NDArray[np.bool_] = on @ vectors > (on.sum(1)[:, None].astype(np.int64) >> 1)
        return found

    signs = np.concatenate(
        [np.where(encoded(part), 1, -1).astype(np.int8) for part in np.array_split(x, max(1, len(x) // 4096))]
    )
    total = np.stack([signs[y == c].astype(np.int64).sum(0) for c in range(classes)]).astype(np.float64)
    total *= 100 / np.abs(total).mean()  # so that corrections weigh
    best = (-1.0, total)
    for _ in range(ROUNDS):
        wrong = 0
        for chosen in np.array_split(rng.permutation(len(y)), max(1, len(y) // 100)):
            s = signs[chosen].astype(np.float32)
            told = (s @ np.where(total > 0, 1, -1).astype(np.float32).T).argmax(1)
            bad = told != y[chosen]
            np.add.at(total, y[chosen][bad], s[bad])
            np.add.at(total, told[bad], -s[bad])
            wrong += int(bad.sum())
        best = max(best, (1 - wrong / len(y), total.copy()), key=lambda one: one[0])
    bits_of_class = (best[1] > 0).astype(np.uint8)
    cuts, macros = cut_arrays(encoder)
    arrays = {**cuts, "BASE": np.packbits(base, bitorder="little"),
              "CLASS_BITS": np.packbits(bits_of_class, axis=1, bitorder="little")}  # fmt: skip
    defines = {**input_macros(encoder, classes), **macros, "DIMENSIONS": dimensions}

    def predict(q: Ints) -> Ints:
        own = encoded(q).astype(np.int64)
        return own @ bits_of_class.T + (1 - own) @ (1 - bits_of_class.T.astype(np.int64))

    return Rival("hyper.c", arrays, defines, predict)
