"""Networks of normed gates in the integers of a device, kept in a folder so that many experiments share one training."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.export.oracle import gates
from metabit.train.recipe import Trained

FOLDER = Path(__file__).resolve().parents[1] / "out" / "learner"
"""Trained networks by name. It may be removed at any time."""
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Network:
    """Encoder, gates, output and what a head sees, all in integers.

    Args:
        signs: int8 (N, K), weights ±1 of K bits.
        layer, values: constants of the N units.
        output: int8 (C, N + 1), levels, the offset last.
    """

    encoder: Encoder
    signs: NDArray[np.int8]
    layer: gates.GateLayer
    values: gates.HeadValues
    output: NDArray[np.int8]

    @property
    def units(self) -> int:
        return len(self.signs)

    def sums(self, x: NDArray[Any]) -> Ints:
        """Numbers (n, F) -> sums int64 (n, N)."""
        bits = self.encoder.to_bits(x).astype(np.float32)  # exact: |sum| <= 16384
        return np.rint(bits @ self.signs.T.astype(np.float32)).astype(np.int64)

    def head_values(self, x: NDArray[Any]) -> NDArray[np.int8]:
        """Numbers (n, F) -> int8 (n, 2N): the gates of all units, then z of all units."""
        sums = self.sums(x)
        return self.values.values(sums, self.layer.levels(sums))

    def predict(self, x: NDArray[Any]) -> Ints:
        """Numbers (n, F) -> int64 (n,), the class with the highest score of the output."""
        return gates.scores(self.layer.levels(self.sums(x)), self.output).argmax(1)


def frozen(trained: Trained, x: NDArray[Any]) -> Network:
    """The integers of a trained network. x: numbers (n, F) of its training part, which scale the head's values."""
    network = trained.network
    norm, signs = network.norm, np.where(network.linear.hidden.detach().numpy() >= 0, 1, -1).astype(np.int8)
    gamma, beta, mean, variance = (
        np.asarray(a.detach(), np.float64) for a in (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    deviation = np.sqrt(variance + norm.eps)
    layer = gates.gate_layer(gamma, beta, mean, deviation, signs.shape[1])
    bits = trained.encoder.to_bits(x).astype(np.float32)
    sums = np.rint(bits @ signs.T.astype(np.float32)).astype(np.int64)
    values = gates.head_values(layer, gamma, deviation, sums)
    return Network(trained.encoder, signs, layer, values, network.output.levels().numpy())


def kept(name: str, train: Callable[[], Network]) -> Network:
    """The network of this name, trained at first use. Whoever changes what a name stands for removes the folder."""
    path = FOLDER / f"{name}.pickle"
    if not path.exists():
        network = train()
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(network))
        part.replace(path)
    found = pickle.loads(path.read_bytes())
    assert isinstance(found, Network)
    return found
