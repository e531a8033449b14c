"""The output levels that learn on a device: docs/results/learner/levels.md from results/levels.jsonl.

    METABIT_DATA_DIR=... python benchmarks/levels.py in-place

The seven development problems: a network of gates is trained on the old task, exported with learner "levels" and learns the new
one by the C runtime, each sample once, in order; then the old and all new test parts are tested. Beside it, not learning and the
learners of `metabit.experiments.rivals` on the same features and in the same order. The seed is that of the split, of the training
and of the order.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.experiments import results
from metabit.experiments.development_problems import PROBLEMS, problem
from metabit.experiments.learner_streams import RIVALS, Device, InPlace, Rival, old_new
from metabit.experiments.results import Benchmark, Cell, Row
from metabit.train import recipe

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
NOT_LEARNING = "not learning"
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
        NOT_LEARNING: planned(NOT_LEARNING, training=TRAINING),
        **{rival: planned(rival) for rival in RIVALS},
    }


def learner_of(asked: Cell) -> InPlace:
    """The device with output levels that learn or do not, or a rival."""
    if "training" not in asked:
        return Rival(asked["learner"])
    learner = "none" if asked["learner"] == NOT_LEARNING else "levels"
    m, dose = asked.get("m", DEFAULT_M), asked.get("dose", 1)
    return Device(TRAINING["units"], learner=learner, m=m, dose=dose, seed=asked["seed"])


def measure(asked: Cell) -> Row:
    """Accuracies old and new in per cent, by order and problem."""
    start, figures, held = time.perf_counter(), dict[str, Any](), 0
    for order in ORDERS:
        figures[order] = {}
        for name in PROBLEMS:
            found = problem(name, asked["seed"], order)  # type: ignore[arg-type]
            learner = learner_of(asked)
            learner.fit(found.old, asked["seed"])
            for part in found.parts:
                learner.learn(part.x, part.y)
            figures[order][name] = old_new(learner, found)
            held = learner.bytes() if name == SIX and asked["learner"] != NOT_LEARNING else held
    took = round(time.perf_counter() - start, 2)
    return {**figures, "bytes": held, "seconds": took, **results.provenance("numpy", "torch")}


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
