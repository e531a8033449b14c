"""The default training: any numbers and labels -> an encoder and a network of normed gates.

    found = fit_recipe(x, y)                 # x float (n, F) of any scale, y int (n,)
    labels = found.predict(x_test)

Encoder and network are those of `metabit.data.encoder` and `metabit.train.network.normed_gates`. Training is Adam with a
rate that falls to 0 along a cosine, on the cross-entropy of smoothed labels, without metaplasticity: one task is
learnt. A network that shall learn further tasks is trained with m > 0 (`metabit.train.loop`).
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.train.errors import DivergedError, TrainError, extra
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.network.normed_gates import NormedGates
from metabit.train.rule.metaplastic import MetaplasticAdam

with extra("torch"):
    import torch
    from torch import Tensor

BATCH = 64
RATE = 0.01
SMOOTHING = 0.05
NOISE = 0.1
"""Deviation of the noise that training adds to every feature, in deviations of the feature."""
MAX_BITS = 16384
"""Most inputs of a unit: its sum then fits int16, as an image needs it."""
STEPS, PASSES = 1000, 20
"""A training takes the larger of 1000 steps and 20 passes over the data."""
ROWS = 50
"""Most reports of one training; there is none more often than once a pass."""
_CHUNK = 4096  # samples evaluated at a time


@dataclass(frozen=True)
class Report:
    """The state of a training after a pass, or several.

    Args:
        step, steps: finished, and of the whole training.
        passes: finished passes over the data.
        loss: mean cross-entropy of the smoothed labels since the last report, in nats.
        accuracy: 0..1, of the batches since the last report, each before its own update.
    """

    step: int
    steps: int
    passes: int
    loss: float
    accuracy: float


Progress = Callable[[Report, NormedGates], None]
"""Called with each report and the network, in training mode; it may evaluate the network and must leave it as it was."""


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of `fit_recipe`.

    Args:
        encoder: fitted on the training part.
        network: in evaluation mode; its normalisation holds the mean and variance of all training samples.
        losses: float32 (steps,), mean loss of each batch.
        sums: int16 (n, units), the integer sums of every training sample, in the order of x.
    """

    encoder: Encoder
    network: NormedGates
    losses: NDArray[np.float32]
    sums: NDArray[np.int16]

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Numbers (n, F) -> float32 (n, classes).

        Raises:
            DataError: features that the encoder refuses (`Encoder.quantise`).
        """
        return scores(self.network, self.encoder.to_bits(x))

    def predict(self, x: NDArray[Any]) -> NDArray[np.int64]:
        """Numbers (n, F) -> int64 (n,), the class with the highest score. Raises as `scores`."""
        labels: NDArray[np.int64] = self.scores(x).argmax(1)
        return labels


@torch.no_grad()
def scores(network: NormedGates, bits: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bits 0/1 (n, K) -> float32 (n, classes), of the network as it is, in evaluation mode."""
    parts = torch.split(torch.from_numpy(bits), _CHUNK)
    found: NDArray[np.float32] = torch.cat([network(part) for part in parts]).numpy()
    return found


def fit_recipe(
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    classes: int | None = None,
    units: int = 64,
    bits: int = 5,
    planes: int | None = None,
    steps: int | None = None,
    rate: float = RATE,
    smoothing: float = SMOOTHING,
    noise: float = NOISE,
    seed: int = 0,
    encoder: Encoder | None = None,
    start: GatesCheckpoint | None = None,
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> Trained:
    """Train a network of normed gates.

    Args:
        x: numbers (n, F) of any dtype and scale, n >= 2.
        y: whole numbers (n,), 0 to classes - 1.
        classes: C >= 2; None for one more than the highest label.
        units: gates of the hidden layer.
        bits: of an output level, 2..8.
        planes: thresholds a feature, 1..16; None for `Encoder.fit`'s choice.
        steps: batches; None for the larger of 1000 and 20 passes.
        rate: of Adam at the first step.
        smoothing: share of the label that is spread over all classes, 0 <= smoothing < 1.
        noise: normal noise on the integers of each feature in every batch, in their standard deviations, >= 0. It keeps
            a unit from weights that fit the exact place of a threshold.
        seed: of weights and order.
        encoder: fitted before; None to fit one on x.
        start: a network to go on from, which brings its own units, bits, classes, planes and encoder.
        progress: called after passes, at most `ROWS` times, and at the end.
        stop: where it is set, the training ends after the present step; the network is then as usable as it got.

    Raises:
        DataError: x cannot be encoded.
        TrainError: labels, sizes or settings out of range.
        DivergedError: the loss is not finite.
    """
    if start is not None:
        encoder, classes = start.encoder, start.classes
    encoder = encoder or Encoder.fit(x, planes)
    integers = encoder.quantise(x)
    labels, classes = _labels(y, len(integers), classes)
    if (
        steps is not None
        and steps < 1
        or not 0 < rate < math.inf
        or not 0 <= smoothing < 1
        or not 0 <= noise < math.inf
    ):
        found = f"steps={steps}, rate={rate}, smoothing={smoothing}, noise={noise}"
        raise TrainError(f"{found}: steps must be >= 1, rate above 0, smoothing from 0 to below 1, noise >= 0")
    if encoder.bits > MAX_BITS:
        found = f"{encoder.features} features with {encoder.planes} thresholds each are {encoder.bits} bits"
        raise TrainError(f"{found}: a unit has at most {MAX_BITS} inputs, lower the thresholds or the features")
    network = NormedGates(encoder.bits, units, classes, bits, seed) if start is None else start.to_network()
    total = planned(len(integers)) if steps is None else steps
    batches = _Batches(encoder, integers, noise, seed)
    with _one_thread():
        losses = _train(network, batches, labels, total, rate, smoothing, progress, stop)
    sums = _set_norm(network, encoder, integers)
    return Trained(encoder, network.eval(), losses, sums)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Runs torch on one thread: the matrices are so small that threads wait for each other longer than they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class _Batches:
    """Batches of nearly equal size, at most 64 samples each, in a new order in every pass, with new noise."""

    def __init__(self, encoder: Encoder, integers: NDArray[Any], noise: float, seed: int) -> None:
        self._encoder, self._integers = encoder, integers
        self._noise = (noise * integers.std(0)).astype(np.float32)
        self._rng, self._waiting = np.random.default_rng(seed), list[NDArray[np.int64]]()

    def next(self) -> tuple[Tensor, Tensor]:
        """Indices int64 (b,), bits float32 (b, P·F)."""
        if not self._waiting:
            samples = len(self._integers)
            self._waiting = np.array_split(self._rng.permutation(samples), self.count)
        chosen = self._waiting.pop()
        values = self._integers[chosen]
        if self._noise.any():
            values = values + self._noise * self._rng.standard_normal(values.shape, dtype=np.float32)
        bits = self._encoder.compare(values)
        return torch.from_numpy(chosen), torch.from_numpy(bits.astype(np.float32))

    @property
    def count(self) -> int:
        """Batches of a pass."""
        return math.ceil(len(self._integers) / BATCH)


def _train(
    network: NormedGates, batches: _Batches, labels: Tensor, total: int, rate: float, smoothing: float,
    progress: Progress | None, stop: threading.Event | None,
) -> NDArray[np.float32]:  # fmt: skip
    """Train in place. Returns the loss of each step that was made."""
    optimizer = MetaplasticAdam(network.parameters(), lr=rate)
    losses = np.empty(total, dtype=np.float32)
    network.train()
    told = right = seen = 0
    every = batches.count * math.ceil(total / batches.count / ROWS)
    for step in range(total):
        if stop is not None and stop.is_set():
            return losses[:step]
        chosen, bits = batches.next()
        for group in optimizer.param_groups:
            group["lr"] = rate * (0.5 + 0.5 * math.cos(math.pi * step / total))
        scores = network(bits)
        loss = torch.nn.functional.cross_entropy(scores, labels[chosen], label_smoothing=smoothing)
        losses[step] = loss.item()
        if not math.isfinite(losses[step]):
            raise DivergedError(f"the loss of step {step + 1} is {losses[step]}: lower rate={rate}")
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if progress is not None:
            seen, right = seen + len(chosen), right + int((scores.argmax(1) == labels[chosen]).sum())
            if (step + 1) % every == 0 or step + 1 == total:
                mean = float(losses[told : step + 1].mean())
                progress(Report(step + 1, total, (step + 1) // batches.count, mean, right / seen), network)
                told, right, seen = step + 1, 0, 0
    return losses


@torch.no_grad()
def _set_norm(network: NormedGates, encoder: Encoder, integers: NDArray[Any]) -> NDArray[np.int16]:
    """Put mean and variance of the sums over all samples in place of the averages of training. Returns the sums (n, N)."""
    parts = [encoder.compare(integers[at : at + _CHUNK]) for at in range(0, len(integers), _CHUNK)]
    sums = np.concatenate([network.sums(torch.from_numpy(part)).numpy() for part in parts])
    mean, square = sums.mean(0, dtype=np.float64), np.square(sums).mean(0, dtype=np.float64)
    network.norm.running_mean.copy_(torch.from_numpy(mean))  # type: ignore[union-attr]
    network.norm.running_var.copy_(torch.from_numpy(square - mean**2))  # type: ignore[union-attr]
    kept: NDArray[np.int16] = sums.astype(np.int16)
    return kept


def planned(samples: int, passes: int | None = None) -> int:
    """Steps of a training: of so many passes, or the larger of `STEPS` and `PASSES` passes."""
    batches = math.ceil(samples / BATCH)
    return max(STEPS, PASSES * batches) if passes is None else passes * batches


def network_of(checkpoint: GatesCheckpoint) -> NormedGates:
    """The network of a checkpoint, in evaluation mode."""
    network = NormedGates(checkpoint.encoder.bits, checkpoint.units, checkpoint.classes, checkpoint.bits)
    names = {"norm.mean": "norm.running_mean", "norm.var": "norm.running_var", "hidden": "linear.hidden"}
    arrays = {name: array for name, array in checkpoint.tensors.items() if not name.startswith("kept.")}
    found = {names.get(name, name): torch.from_numpy(array.copy()) for name, array in arrays.items()}
    network.load_state_dict({**network.state_dict(), **found})
    return network.eval()


def _labels(y: NDArray[Any], samples: int, classes: int | None) -> tuple[Tensor, int]:
    y = np.asarray(y)
    if y.shape != (samples,) or y.dtype.kind not in "iub" or samples < 2:
        raise TrainError(f"labels of shape {y.shape}, {y.dtype}, for {samples} samples: give whole numbers, 2 or more")
    found = int(y.max()) + 1
    classes = found if classes is None else classes
    if classes < 2 or y.min() < 0 or found > classes:
        raise TrainError(f"labels from {y.min()} to {y.max()} of {classes} classes: must be from 0 to classes - 1 >= 1")
    return torch.from_numpy(y.astype(np.int64)), classes
