"""Loss increase of switched signs by hidden magnitude: the paper tests with it if large hidden weights are important.

`metabit.experiments.quadratic` does so on a problem whose solution is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from metabit.data.task import Bytes, Labels
from metabit.train.errors import TrainError, extra
from metabit.train.network.binarize import BinaryLinear, binarize_activation, sign
from metabit.train.network.module import Network
from metabit.train.step import EVALUATE_BATCH

with extra("torch"):
    import torch
    from torch import Tensor

SHARE = 0.002
"""Default share of a layer's synapses that are switched together; the paper's is 0.1 to 0.2 % in its large layers."""


@torch.no_grad()
def switch_signs(
    network: Network,
    x: Bytes,
    y: Labels,
    *,
    bins: int = 15,
    switches: int | Sequence[int] | None = None,
    draws: int = 20,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Measure the loss increase when signs of synapses of one hidden magnitude are switched (the paper's Fig. 5c-e).

    The function divides the synapses of a layer into bins of equal width by |W| / max |W|. In each bin with enough
    synapses it draws some at random, switches their signs, measures the mean cross-entropy of x in evaluation mode, and
    switches them back. It repeats this several times. The network is unchanged at the end.

    Args:
        x: uint8 (n, F).
        y: int64 (n,).
        bins: >= 1.
        switches: synapses switched together, one number or one for each trained layer (1000, 2000, 100 in the paper's
            784-1024-1024-10); None is `SHARE` of each layer, at least 1.
        draws: repetitions for each bin, >= 1; the paper's is 100.
        seed: of the random draws.

    Returns:
        one row for each layer and bin with enough synapses: ``layer`` (as "layers.0"), ``bin``, ``magnitude`` (mean
        |W| / max |W| of those switched), ``synapses`` (in the bin), ``switches``, ``draws``, ``increase`` (nats for each
        switched synapse, mean over the repetitions), ``deviation`` (standard deviation over them).

    Raises:
        TrainError: data and network do not fit together, or a number is out of range.
    """
    layers = [(i, layer.linear) for i, layer in enumerate(network.layers()) if isinstance(layer.linear, BinaryLinear)]
    counts = _counts(switches, [linear.hidden.numel() for _, linear in layers])
    if bins < 1 or draws < 1:
        raise TrainError(f"bins={bins}, draws={draws}: each must be at least 1")
    if len(x) == 0 or y.shape != (len(x),):
        raise TrainError(f"x has {len(x)} samples and y has shape {y.shape}: give one label for each sample")
    generator = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    was_training = network.training
    network.eval()
    try:
        for (index, linear), count in zip(layers, counts, strict=True):
            batches = _inputs_of(network, index, x, y)
            before = _loss(network, index, batches)
            kept = linear.hidden.clone()
            relative = (kept.abs() / kept.abs().max().clamp_min(1e-30)).flatten().cpu().numpy()
            which = np.minimum((relative * bins).astype(int), bins - 1)
            for k in range(bins):
                candidates = np.flatnonzero(which == k)
                if len(candidates) < count:
                    continue
                increases, magnitudes = [], []
                for _ in range(draws):
                    chosen = generator.choice(candidates, count, replace=False)
                    _switch(linear.hidden, chosen)
                    increases.append((_loss(network, index, batches) - before) / count)
                    magnitudes.append(float(relative[chosen].mean()))
                    linear.hidden.copy_(kept)
                rows.append(
                    {
                        "layer": f"layers.{index}", "bin": k, "magnitude": float(np.mean(magnitudes)),
                        "synapses": len(candidates), "switches": count, "draws": draws,
                        "increase": float(np.mean(increases)), "deviation": float(np.std(increases)),
                    }
                )  # fmt: skip
    finally:
        network.train(was_training)
    return rows


def _counts(switches: int | Sequence[int] | None, sizes: Sequence[int]) -> list[int]:
    if switches is None:
        return [max(1, round(SHARE * size)) for size in sizes]
    counts = [switches] * len(sizes) if isinstance(switches, int) else list(switches)
    if len(counts) != len(sizes) or min(counts) < 1:
        raise TrainError(
            f"switches={switches}: give one number above 0, or one for each of {len(sizes)} trained layers"
        )
    return counts


def _switch(hidden: Tensor, chosen: Any) -> None:
    flat = hidden.view(-1)
    indices = torch.from_numpy(chosen).to(hidden.device)
    flat[indices] = -sign(flat[indices])  # not -W: the sign of minus zero is +1


def _inputs_of(network: Network, index: int, x: Bytes, y: Labels) -> list[tuple[Tensor, Tensor]]:
    """Return the inputs of a layer with their labels, in batches, so that the layers before it run only once."""
    caught: list[Tensor] = []
    device = next(network.parameters()).device
    hook = network.layers()[index].register_forward_pre_hook(lambda module, inputs: caught.append(inputs[0]))
    try:
        for start in range(0, len(x), EVALUATE_BATCH):
            network(torch.from_numpy(x[start : start + EVALUATE_BATCH]).to(device))
    finally:
        hook.remove()
    return list(zip(caught, torch.from_numpy(y).to(device).split(EVALUATE_BATCH), strict=True))  # type: ignore[no-untyped-call]


def _loss(network: Network, index: int, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return the mean cross-entropy in nats, computed from the inputs of a layer."""
    *hidden, output = network.layers()[index:]
    total, samples = 0.0, 0
    for z, y in batches:
        for layer in hidden:
            z = binarize_activation(layer(z))
        total += torch.nn.functional.cross_entropy(output(z), y, reduction="sum").item()
        samples += len(y)
    return total / samples
