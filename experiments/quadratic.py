"""The quadratic binary task (QBT): the paper's explanation of hidden weights, small enough to be checked to the digit.

Minimise over signs b ∈ {-1, +1}^d, by gradient steps on hidden weights W that feel the gradient at their signs::

    L(b) = 1/2 (b - W*)ᵀ H (b - W*)          W = W - η H (sign(W) - W*)

(arXiv:2003.03533, the figure of the quadratic binary task). What can be known beforehand, and what the tests hold the
run to:

* Switching sign i alone changes the loss by exactly 2 (H_ii - b_i g_i), with g = H (b - W*).
* The steps add up: (W(T) - W(0)) / (η T) = -H (b̄ - W*), with b̄ the mean of the signs over the T steps.
* So W stays bounded only where the gradient at b̄ vanishes, and grows without end where b̄_i = ±1 and the gradient still
  pushes outward: these are the optimality conditions of L over the box [-1, 1]^d. b̄ tends to that optimum x, whose loss
  bounds that of every sign vector from below, and the growth |W_i| / (η T) tends to the price |g_i(x)| of holding i to
  the box. A hidden magnitude is a price.
* Hence for a synapse that has settled, the loss increase of its switch is about 2 (|W_i| / (η T) + H_ii): linear in its
  hidden magnitude. That is why magnitude may decide which synapses to protect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.train.errors import TrainError

Floats = NDArray[np.float64]

MAX_EXHAUSTIVE = 20


@dataclass(frozen=True, eq=False)  # == on arrays has no one answer
class Quadratic:
    """A task.

    Args:
        curvature: H, float (d, d), symmetric and positive definite.
        target: W*, float (d,): the minimum over the reals, where L is 0.

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
        """The paper's distribution: eigenvalues of H uniform in 10.5..29.5 in random directions, W* uniform in ±4."""
        if d < 1:
            raise TrainError(f"d={d}: must be at least 1")
        generator = np.random.default_rng(seed)
        axes, _ = np.linalg.qr(generator.normal(size=(d, d)))
        eigenvalues = 20 + 19 * (generator.random(d) - 0.5)
        h: Floats = (axes * eigenvalues) @ axes.T
        return Quadratic((h + h.T) / 2, 8 * (generator.random(d) - 0.5))

    def loss(self, b: ArrayLike) -> float:
        away = np.asarray(b, dtype=np.float64) - self.target
        return float(away @ self.curvature @ away) / 2

    def gradient(self, b: ArrayLike) -> Floats:
        g: Floats = self.curvature @ (np.asarray(b, dtype=np.float64) - self.target)
        return g

    def switch_increase(self, b: ArrayLike) -> Floats:
        """(d,), by how much the loss grows if sign i alone is switched, exactly."""
        signs = np.asarray(b, dtype=np.float64)
        increase: Floats = 2.0 * (self.curvature.diagonal() - signs * self.gradient(signs))
        return increase

    def box_optimum(self, tolerance: float = 1e-9) -> Floats:
        """x (d,), the minimum over [-1, 1]^d, by accelerated projected gradient. Its loss is a lower bound for signs.

        At x either x_i is inside and the gradient is 0, or x_i = ±1 and the gradient pushes outward.
        """
        reach = float(np.linalg.eigvalsh(self.curvature)[-1])
        x = ahead = np.clip(self.target, -1, 1)
        momentum = 1.0
        for _ in range(100_000):
            new = np.clip(ahead - self.gradient(ahead) / reach, -1, 1)
            if (ahead - new) @ (new - x) > 0:  # overshot: forget the momentum
                momentum = 1.0
            following = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
            ahead = new + (momentum - 1) / following * (new - x)
            x, momentum = new, following
            if np.abs(x - np.clip(x - self.gradient(x) / reach, -1, 1)).max() < tolerance:
                break
        return x

    def best_signs(self) -> Floats:
        """The exact optimum (d,) by trying all 2^d sign vectors, d <= 20. If H is diagonal it is sign(W*)."""
        d = len(self.target)
        if d > MAX_EXHAUSTIVE:
            raise TrainError(f"d={d}: only up to {MAX_EXHAUSTIVE} can all sign vectors be tried; see box_optimum")
        best, lowest = np.ones(d), math.inf
        for start in range(0, 2**d, 4096):
            codes = np.arange(start, min(start + 4096, 2**d))
            signs = 2.0 * (codes[:, None] >> np.arange(d) & 1) - 1
            away = signs - self.target
            losses = np.einsum("nd,nd->n", away @ self.curvature, away) / 2
            if losses.min() < lowest:
                best, lowest = signs[losses.argmin()], float(losses.min())
        return best

    def train(self, steps: int = 1000, lr: float = 0.01, start: ArrayLike | None = None, seed: int = 0) -> Trained:
        """Gradient steps on hidden weights, with the paper's d = 500 defaults.

        Args:
            steps: T >= 1.
            lr: η > 0.
            start: W(0) (d,); None: uniform in ±0.05.
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
    """What `Quadratic.train` leaves.

    Args:
        hidden: W(T), (d,).
        start: W(0), (d,).
        mean_signs: b̄, (d,), over the steps taken.
        steps: T.
        lr: η.
    """

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
        """(d,), |W_i| / (η T): the gradient that each synapse has been holding against, on average."""
        price: Floats = np.abs(self.hidden) / (self.lr * self.steps)
        return price


def switch_rows(task: Quadratic, trained: Trained, bins: int = 15) -> list[dict[str, Any]]:
    """The paper's figure as a table: mean loss increase of single switches, by bins of equal width of |W| / max |W|.

    Returns:
        a row for each bin that is not empty: ``bin``, ``magnitude`` (mean of the bin, 0..1), ``synapses``, ``increase``
        (mean), ``deviation`` (standard deviation), ``predicted`` (mean of 2 (|W_i| / (η T) + H_ii)).
    """
    if bins < 1:
        raise TrainError(f"bins={bins}: must be at least 1")
    size = np.abs(trained.hidden)
    relative = size / size.max()
    increase = task.switch_increase(trained.signs)
    predicted = 2 * (trained.price + task.curvature.diagonal())
    which = np.minimum((relative * bins).astype(int), bins - 1)
    return [
        {
            "bin": int(k),
            "magnitude": float(relative[which == k].mean()),
            "synapses": int((which == k).sum()),
            "increase": float(increase[which == k].mean()),
            "deviation": float(increase[which == k].std()),
            "predicted": float(predicted[which == k].mean()),
        }
        for k in np.unique(which)
    ]
