"""Rivals of benchmarks/equal_accuracy.py that learn every weight of a dense network in place: in floats, and in int8 after NITI."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rival_networks import STEPS, Rival, Settings, cut_arrays, input_macros

from metabit.data.encoder import Encoder

Ints = NDArray[Any]
SGD_RATE = 0.0003
LAST_SHIFT, FIRST_SHIFT = 17, 19
"""Steps of the int8 network: error times activation, shifted right by so much."""


def _start(
    encoder: Encoder, x: Ints, y: Ints, classes: int, units: int, seed: int, s: Settings, offset: bool
) -> list[Ints]:
    """A float network with one hidden layer of ReLU, trained before deployment: (inputs, units), (classes, units), offsets."""
    torch.manual_seed(seed)
    net = torch.nn.Sequential(
        torch.nn.Linear(encoder.bits, units, bias=offset), torch.nn.ReLU(), torch.nn.Linear(units, classes, bias=offset)
    )
    rng, labels = np.random.default_rng(seed), torch.from_numpy(y.astype(np.int64))
    optimizer = torch.optim.Adam(net.parameters(), lr=s.rate / 5)
    bits, batches = encoder.compare(x), math.ceil(len(y) / s.batch)
    for _ in range(max(s.passes, math.ceil(STEPS / batches)) if s.passes > 1 else 1):
        for chosen in np.array_split(rng.permutation(len(y)), batches):
            loss = torch.nn.functional.cross_entropy(
                net(torch.from_numpy(bits[chosen].astype(np.float32))), labels[chosen], label_smoothing=s.smoothing
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    first, last = (layer.weight.detach().numpy() for layer in (net[0], net[2]))
    offsets = [layer.bias.detach().numpy() for layer in (net[0], net[2])] if offset else []
    return [first.T, last, *offsets]


def sgd(encoder: Encoder, x: Ints, y: Ints, classes: int, units: int, seed: int, settings: Settings) -> Rival:
    """rivals/sgd.c"""
    first, last, bias, offset = _start(encoder, x, y, classes, units, seed, settings, True)
    start = np.concatenate([part.ravel() for part in (first, bias, last, offset)]).astype(np.float32)
    cuts, macros = cut_arrays(encoder)
    arrays = {**cuts, "RATE": np.array([SGD_RATE], np.float32), "START": start}
    defines = {**input_macros(encoder, classes), **macros, "UNITS": units}

    def predict(q: Ints) -> Ints:
        hidden = np.maximum(encoder.compare(q).astype(np.float32) @ first + bias, 0)
        return ((hidden @ last.T + offset) * 65536).astype(np.int64)

    return Rival("sgd.c", arrays, defines, predict, learns=True, floats=True)


def niti(encoder: Encoder, x: Ints, y: Ints, classes: int, units: int, seed: int, settings: Settings) -> Rival:
    """rivals/niti.c"""
    first, last = _start(encoder, x, y, classes, units, seed, settings, False)
    scales = [127 / np.abs(w).max() for w in (first, last)]
    first8, last8 = (np.round(w * scale).astype(np.int64) for w, scale in zip((first, last), scales, strict=True))
    sums = encoder.compare(x[:2000]).astype(np.int64) @ first8
    shift = max(0, math.ceil(math.log2(np.quantile(sums, 0.999) / 127)))
    unit = 2.0**shift / (scales[0] * scales[1])  # of a score, in nats
    score_shift = max(0, round(-math.log2(unit * 16 / math.log(2))))
    cuts, macros = cut_arrays(encoder)
    arrays = {**cuts, "START": np.concatenate([first8.ravel(), last8.ravel()]).astype(np.int8)}
    defines = {**input_macros(encoder, classes), **macros, "UNITS": units, "HIDDEN_SHIFT": shift, "SCORE_SHIFT": score_shift,
               "LAST_SHIFT": LAST_SHIFT, "FIRST_SHIFT": FIRST_SHIFT}  # fmt: skip

    def predict(q: Ints) -> Ints:
        h = np.clip((encoder.compare(q).astype(np.int64) @ first8) >> shift, 0, 127)
        return h @ last8.T

    return Rival("niti.c", arrays, defines, predict, learns=True)
