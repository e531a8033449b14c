"""The quadratic binary task of the paper, which explains hidden magnitudes and has a known solution.

The task is to minimise L over signs b ∈ {-1, +1}^d, by steps on hidden weights W along the gradient at their signs::

    L(b) = 1/2 (b - W*)ᵀ H (b - W*)          W = W - η H (sign(W) - W*)

(arXiv:2003.03533, the figure of the quadratic binary task). The tests check these facts:

* Switching sign i alone changes the loss by exactly 2 (H_ii - b_i g_i), with g = H (b - W*).
* The steps add up: (W(T) - W(0)) / (η T) = -H (b̄ - W*), with b̄ the mean of the signs over the T steps.
* So W_i stays bounded only if the gradient at b̄ is zero, and grows without end if b̄_i = ±1 and the gradient points out of
  the box [-1, 1]^d. These are the optimality conditions of L over the box. b̄ tends to the optimum x over the box, whose
  loss is a lower bound for all sign vectors, and |W_i| / (η T) tends to |g_i(x)|, the Lagrange multiplier of bound i.
* Hence for a synapse whose sign no longer changes, a switch increases the loss by about 2 (|W_i| / (η T) + H_ii), which is
  linear in its hidden magnitude. This justifies protecting synapses by their magnitude.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.train.errors import TrainError

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)  # arrays have no single truth value for ==
class Quadratic:
    """A quadratic binary task.

    Args:
        curvature: H, float (d, d), symmetric and positive definite.
        target: W*, float (d,), the minimum over the real vectors; L is 0 there.

    Raises:
        TrainError: the shapes differ, or H is not symmetric and positive definite.
    """

    curvature: Floats
    target: Floats

    def __post_init__(self) -> None:
        h, d = self.curvature, len(self.target)
        if h.shape != (d, d) or d == 0 or not np.allclose(h, h.T) or np.linalg.eigvalsh(h).min() <= 0:
            raise TrainError(f"curvature {h.shape} with target ({d},): must be (d, d), symmetric and positive definite")

    @staticmethod
    def random(d: int = 500, seed: int = 1) -> Quadratic:
        """Return a task of the paper's distribution: eigenvalues of H uniform in 10.5..29.5, W* uniform in ±4."""
        if d < 1:
            raise TrainError(f"d={d}: must be at least 1")
        generator = np.random.default_rng(seed)
        axes, _ = np.linalg.qr(generator.normal(size=(d, d)))
        eigenvalues = 20 + 19 * (generator.random(d) - 0.5)
        h: Floats = (axes * eigenvalues) @ axes.T
        return Quadratic((h + h.T) / 2, 8 * (generator.random(d) - 0.5))

    def loss(self, b: Floats) -> float:
        return float((b - self.target) @ self.gradient(b)) / 2

    def gradient(self, b: Floats) -> Floats:
        g: Floats = self.curvature @ (b - self.target)
        return g

    def switch_increase(self, b: Floats) -> Floats:
        """Return (d,), the exact loss increase if sign i alone is switched."""
        increase: Floats = 2.0 * (self.curvature.diagonal() - b * self.gradient(b))
        return increase

    def box_optimum(self, tolerance: float = 1e-9) -> Floats:
        """Return x (d,), the minimum over [-1, 1]^d, by accelerated projected gradient; its loss bounds that of all signs.

        For each i, either |x_i| < 1 and the gradient is 0, or x_i = ±1 and the gradient points outward.
        """
        reach = float(np.linalg.eigvalsh(self.curvature)[-1])
        x = ahead = np.clip(self.target, -1, 1)
        momentum = 1.0
        for _ in range(100_000):
            new = np.clip(ahead - self.gradient(ahead) / reach, -1, 1)
            if (ahead - new) @ (new - x) > 0:  # the step went too far: restart the momentum
                momentum = 1.0
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - x)
            x, momentum = new, following
            if np.abs(x - np.clip(x - self.gradient(x) / reach, -1, 1)).max() < tolerance:
                break
        return x

    def train(self, steps: int = 1000, lr: float = 0.01, start: ArrayLike | None = None, seed: int = 0) -> Trained:
        """Take gradient steps on hidden weights; the defaults are the paper's for d = 500.

        Args:
            steps: T >= 1.
            lr: η > 0.
            start: W(0) (d,); None is uniform in ±0.05.
            seed: of W(0).
        """
        if steps < 1 or not 0 < lr < math.inf:
            raise TrainError(f"steps={steps}, lr={lr}: steps must be at least 1 and lr above 0")
        d = len(self.target)
        w = np.random.default_rng(seed).uniform(-0.05, 0.05, d) if start is None else np.array(start, dtype=np.float64)
        begin, total, pull = w.copy(), np.zeros(d), self.curvature @ self.target
        for _ in range(steps):
            b = np.where(w >= 0, 1.0, -1.0)
            total += b
            w -= lr * (self.curvature @ b - pull)
        return Trained(hidden=w, start=begin, mean_signs=total / steps, steps=steps, lr=lr)


@dataclass(frozen=True, eq=False)
class Trained:
    """Result of `Quadratic.train`: W(T), W(0) and b̄ over the T steps of size η, arrays (d,)."""

    hidden: Floats
    start: Floats
    mean_signs: Floats
    steps: int
    lr: float

    @property
    def signs(self) -> Floats:
        return np.where(self.hidden >= 0, 1.0, -1.0)

    @property
    def price(self) -> Floats:
        """Return (d,), |W_i| / (η T): the mean gradient against which each synapse kept its sign."""
        price: Floats = np.abs(self.hidden) / (self.lr * self.steps)
        return price


def switch_rows(task: Quadratic, trained: Trained, bins: int = 15) -> list[dict[str, Any]]:
    """Return the paper's figure as rows: mean loss increase of single switches in bins of equal width of |W| / max |W|.

    Returns:
        one row for each bin that is not empty: ``bin``, ``magnitude`` (mean of the bin, 0..1), ``synapses``, ``increase``
        (mean), ``deviation`` (standard deviation), ``predicted`` (mean of 2 (|W_i| / (η T) + H_ii)).
    """
    if bins < 1:
        raise TrainError(f"bins={bins}: must be at least 1")
    relative = np.abs(trained.hidden) / np.abs(trained.hidden).max()
    increase = task.switch_increase(trained.signs)
    which = np.minimum((relative * bins).astype(int), bins - 1)
    measures = {
        "magnitude": relative,
        "increase": increase,
        "predicted": 2 * (trained.price + task.curvature.diagonal()),
    }
    return [
        {"bin": int(k), "synapses": int((which == k).sum()), "deviation": float(increase[which == k].std())}
        | {name: float(values[which == k].mean()) for name, values in measures.items()}
        for k in np.unique(which)
    ]
