"""The output levels that learn on a device: docs/results/learner/levels.md from results/levels.jsonl.

    METABIT_DATA_DIR=... python benchmarks/levels.py in-place

The seven development problems: a network of gates is trained on the old task, exported with learner "levels" and learns the new
one by the C runtime, each sample once, in order; then the old and all new test parts are tested. Beside it, not learning and the
learners of `metabit.experiments.rivals` on the same features and in the same order. The seed is that of the split, of the training
and of the order.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from metabit.experiments import results
from metabit.experiments.development_problems import PROBLEMS, Problem, problem
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.experiments.rivals import SLDA, Learner, Majority, NearestMean, Softmax
from metabit.export import GateOptions, freeze_gates, write_image
from metabit.runtime import Model
from metabit.train import recipe
from metabit.train.recipe import Trained

PAGE = "docs/results/learner/levels.md"
SEEDS = (0, 1, 2, 3, 4)
ORDERS = ("shuffled", "sorted")
TRAINING: dict[str, Any] = {
    "units": 128, "bits": 5, "rate": recipe.RATE, "smoothing": recipe.SMOOTHING, "noise": recipe.NOISE,
    "steps": recipe.STEPS, "passes": recipe.PASSES, "batch": recipe.BATCH,
}  # fmt: skip
MS = (0, 1, 2, 4)
DEFAULT_M = 2
DOSES = (0.25, 0.5, 2, 4, 16)
RIVALS: dict[str, Callable[[int, int], Learner]] = {
    "softmax SGD": Softmax, "SLDA": SLDA, "nearest mean": NearestMean, "majority": Majority,
}  # fmt: skip
SIX = "wisdm"
"""The problem with six classes, whose bytes the tables show."""


def cells(name: str) -> dict[str, list[Cell]]:
    def planned(learner: str, **settings: Any) -> list[Cell]:
        return [{"experiment": name, "learner": learner, "seed": seed, **settings} for seed in SEEDS]

    if name == "dose":
        return {
            f"m = {m}, dose {dose:g}": planned("levels", m=m, dose=dose, training=TRAINING)
            for m in (0, DEFAULT_M)
            for dose in DOSES
        }
    return {
        **{f"levels, m = {m}": planned("levels", m=m, dose=1, training=TRAINING) for m in MS},
        "not learning": planned("not learning", training=TRAINING),
        **{rival: planned(rival) for rival in RIVALS},
    }


def measure(asked: Cell) -> Row:
    """Accuracies old and new in per cent, by order and problem."""
    start, figures, held = time.perf_counter(), dict[str, Any](), 0
    for order in ORDERS:
        figures[order] = {}
        for name in PROBLEMS:
            found = problem(name, asked["seed"], order)  # type: ignore[arg-type]
            learner = Device(asked, name) if "training" in asked else Float(asked["learner"], found)
            for part in found.parts:
                learner.learn(part.x, part.y)
            tests = ((found.old.x_test, found.old.y_test), found.new_test())
            figures[order][name] = [round(100 * float((learner.predict(x) == y).mean()), 3) for x, y in tests]
            held = learner.bytes() if name == SIX else held
    took = round(time.perf_counter() - start, 2)
    return {**figures, "bytes": held, "seconds": took, **results.provenance("numpy", "torch")}


@functools.cache
def trained(name: str, seed: int) -> Trained:
    old = problem(name, seed).old
    units, bits = TRAINING["units"], TRAINING["bits"]
    return recipe.fit_recipe(old.x, old.y, classes=old.classes, units=units, bits=bits, seed=seed)


class Device:
    """The C runtime with an exported network."""

    def __init__(self, asked: Cell, name: str) -> None:
        network, old = trained(name, asked["seed"]), problem(name, asked["seed"]).old
        learner: Literal["levels", "none"] = "none" if asked["learner"] == "not learning" else "levels"
        options = GateOptions(
            learner=learner, m=asked.get("m", DEFAULT_M), dose=asked.get("dose", 1), seed=asked["seed"]
        )
        self._model = Model(write_image(freeze_gates(network, old.x, old.y, options)))
        self._learns = learner == "levels"

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        if self._learns:
            self._model.learn_many(x, y)

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._model.predict_many(x)

    def bytes(self) -> int:
        return self._model.state_size if self._learns else 0


class Float:
    """A rival that has learnt the old task."""

    def __init__(self, learner: str, found: Problem) -> None:
        self._rival = RIVALS[learner](found.old.x.shape[1], found.old.classes)
        self._rival.fit(found.old.x, found.old.y)

    def learn(self, x: NDArray[Any], y: NDArray[Any]) -> None:
        for sample, label in zip(x, y, strict=True):
            self._rival.learn(sample, int(label))

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        return self._rival.predict(x)

    def bytes(self) -> int:
        return self._rival.bytes()


# Pages


def mean(rows: list[Row], order: str, problems: tuple[str, ...] = tuple(PROBLEMS)) -> NDArray[np.float64]:
    """(2,), old and new, over the problems and seeds."""
    found: NDArray[np.float64] = np.array([[row[order][name] for name in problems] for row in rows]).mean((0, 1))
    return found


def pair(rows: list[Row], order: str, problems: tuple[str, ...] = tuple(PROBLEMS)) -> str:
    return "/".join(f"{value:.1f}" for value in mean(rows, order, problems))


def sd(rows: list[Row], order: str) -> str:
    """Standard deviation over the seeds of the means over the problems."""
    return "/".join(f"{value:.1f}" for value in np.std([mean([row], order) for row in rows], axis=0, ddof=1))


def table(name: str) -> str:
    done, found = BENCHMARK.done(name), BENCHMARK.rows(name)
    about = (
        f"{BENCHMARK.command(name)} on {results.places(found)}. Old/new test accuracy in per cent at the end of the stream, "
        f"mean of {len(PROBLEMS)} problems and {len(SEEDS)} seeds"
    )
    if name == "dose":
        about += f". {worth()} {BENCHMARK.raw(PAGE)}"
        lines = [[f"m = {m}, dose {dose:g}", *(pair(rows, order) for order in ORDERS)] for (m, dose), rows in doses()]
        return results.page(BENCHMARK.titles[name], about, results.markdown(["levels", *ORDERS], lines), level=2)
    about += (
        ", ± their standard deviation over the seeds. Bytes are the memory of what learns, for six classes (wisdm): of levels "
        f"5 bits a synapse and 16 bytes of generator and counters, of the others 4 bytes a number. {BENCHMARK.raw(PAGE)}"
    )
    means = results.markdown(
        ["learner", *ORDERS, "bytes"],
        [
            [variant, *(f"{pair(rows, order)} ± {sd(rows, order)}" for order in ORDERS), f"{rows[0]['bytes']:,}"]
            for variant, rows in done.items()
        ],
    )
    shown = [
        v for v in (f"levels, m = {DEFAULT_M}", "levels, m = 0", "not learning", "softmax SGD", "SLDA") if v in done
    ]
    each = results.markdown(
        ["problem: " + " · ".join(ORDERS), *shown],
        [[p, *(" · ".join(pair(done[v], order, (p,)) for order in ORDERS) for v in shown)] for p in PROBLEMS],
    )
    return results.page(BENCHMARK.titles[name], about, [*means, "", *each], level=2)


def doses() -> list[tuple[tuple[int, float], list[Row]]]:
    """(m, dose) and the rows, in order; the default dose is in the other experiment."""
    rows = [row for name in ("in-place", "dose") for row in BENCHMARK.rows(name)]
    found: dict[tuple[int, float], list[Row]] = {}
    for row in rows:
        if row["learner"] == "levels" and row["m"] in (0, DEFAULT_M):
            found.setdefault((row["m"], float(row["dose"])), []).append(row)
    return sorted(found.items())


def worth() -> str:
    """Sentences on the worth of metaplasticity: at the default dose, at each one's best dose, and at the largest."""
    found = dict(doses())

    def best(m: int) -> float:
        means = {d: np.mean([mean(rows, order) for order in ORDERS]) for (n, d), rows in found.items() if n == m}
        return max(means, key=lambda dose: means[dose])

    def gained(dose: float, other: float) -> str:
        """Points of m = 2 at a dose above m = 0 at another."""
        gains = (mean(found[DEFAULT_M, dose], order) - mean(found[0, other], order) for order in ORDERS)
        return ", ".join(f"{order} {old:+.1f}/{new:+.1f}" for order, (old, new) in zip(ORDERS, gains, strict=True))

    most, mine, none = float(max(DOSES)), best(DEFAULT_M), best(0)
    return (
        f"The dose is a factor of the default, 1. The gain by m = {DEFAULT_M} over m = 0, in points of old/new: at the default "
        f"dose {gained(1, 1)}; each at the dose with its best mean of the four numbers, {mine:g} and {none:g}: "
        f"{gained(mine, none)}; at dose {most:g}: {gained(most, most)}."
    )


def pages() -> dict[str, str]:
    return BENCHMARK.sections(PAGE, "# Output levels that learn on\n", table)


BENCHMARK = Benchmark(
    __file__,
    {"in-place": "Seven problems, each sample once", "dose": "Doses, with and without metaplasticity"},
    cells,
    pages,
    measure,
)

if __name__ == "__main__":
    results.main(BENCHMARK)
