"""Accuracy after training on sequences of tasks: docs/results/train/README.md from results/training.jsonl.

    METABIT_DATA_DIR=... python benchmarks/training.py permuted-mnist
    python benchmarks/training.py            lists the experiments

A cell is one training run by its settings. Experiments with the same cell share its row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.experiments import results
from metabit.experiments.results import Benchmark, Row
from metabit.experiments.sweep import run_cell

PAGE = "docs/results/train/README.md"
STATE = Path(__file__).parents[1] / "build" / "training"
Cell = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """A table of the page.

    Args:
        fixed, variants: settings of all runs; name -> settings of one variant, trained with every seed.
        beside: results that others report, as sentences.
        gap: names of the variants (lowest, ours, highest): the page says what share of the distance ours closes.
    """

    title: str
    fixed: Cell
    variants: dict[str, Cell]
    seeds: tuple[int, ...] = (0, 1, 2)
    beside: tuple[str, ...] = ()
    gap: tuple[str, str, str] | None = None


PMNIST = {"scenario": "permuted-mnist", "evaluate_every": 10}
SMALL = {"hidden": [512, 512]}
BEST = {"m": [6.0, 20.0, 20.0], "eps": 1e-4}
"""A small m in the first layer, which has to adapt to each permutation, and a larger one above it. eps is far above Adam's 1e-8:
synapses with small gradients take small steps, and so are consolidated less."""
NO_TASK = {"per_task_norm": False}
RERUN = (
    "An independent re-run of the authors' code (github.com/tuanpham96/bnn-cf-vs-robust, single runs), per-task "
    "normalisation: H = 1024 91.5 % (10 epochs a task), 92.6 % (20–40); H = 512 89.0 % (10), 88.9 % (40).",
    "Without task-ID (shared normalisation, H = 2048): 24 points lower than with it.",
)

EXPERIMENTS = {
    "permuted-mnist": Experiment(
        "Permuted MNIST, 6 tasks, 10 epochs each",
        PMNIST,
        {
            "H=512, m=0": {**SMALL, "m": 0.0},
            "H=512, m by layer": {**SMALL, **BEST},
            "H=1024, m=0": {"hidden": [1024, 1024], "m": 0.0},
            "H=1024, m by layer": {"hidden": [1024, 1024], "m": [8.0, 30.0, 30.0], "eps": 1e-4},
            "H=1024, m by layer, gain U(0, 1)": {
                "hidden": [1024, 1024], "m": [10.0, 40.0, 40.0], "eps": 1e-4, "gamma_init": "uniform",
            },
            "H=1024, m by layer, 20 epochs": {
                "hidden": [1024, 1024], "m": [5.5, 20.0, 20.0], "eps": 1e-4, "epochs": 20, "evaluate_every": 20,
            },
        },
        beside=RERUN,
    ),
    "no-task-id": Experiment(
        "Permuted MNIST, 6 tasks, H = 512, without telling the network its task",
        {**PMNIST, **SMALL},
        {
            "per-task batch norm": BEST,
            "instance norm": {**BEST, **NO_TASK, "norm": "instance", "m": [8.0, 25.0, 25.0]},
            "shared batch norm": {**BEST, **NO_TASK},
            "static norm": {**BEST, **NO_TASK, "norm": "static"},
        },
        beside=RERUN[1:],
    ),
    "norms": Experiment(
        "Permuted MNIST, 6 tasks, H = 512: initial gain and statistics of the batch normalisation",
        {**PMNIST, **SMALL, **BEST},
        {
            "gain 1, running statistics": {},
            "gain 1, batch statistics": {"statistics": "batch"},
            "gain U(0, 1), running statistics": {"gamma_init": "uniform"},
            "gain U(0, 1), batch statistics": {"gamma_init": "uniform", "statistics": "batch"},
        },
    ),
    "mnist-fashion": Experiment(
        "MNIST, then Fashion-MNIST, H = 1024, 20 epochs each",
        {"scenario": "mnist-fashion", "hidden": [1024, 1024], "evaluate_every": 20},
        {
            "m=0": {"m": 0.0},
            "m = 14, 60, 60": {"m": [14.0, 60.0, 60.0], "eps": 1e-4},
        },
        beside=(
            "The paper's Fig. 1, H = 4096, m = 0: MNIST 97 %, then Fashion-MNIST 85 % while MNIST falls to about 20 %.",
            "D'Agostino et al. 2023 (arXiv:2306.12142) repeat the paper's experiment with m > 0: 97 % / 86 %.",
        ),
    ),
    "stream-fashion": Experiment(
        "Fashion-MNIST as a stream of 60 parts of 1,000 images, 784-1024-1024-10, 20 epochs over each part",
        {"scenario": "stream-fashion"},
        {
            "streamed, m=0": {"m": 0.0},
            "streamed, m=2.5": {"m": 2.5},
            "streamed, m=3": {"m": 3.0},
            "all at once, m=0": {"m": 0.0, "interleaved": True},
        },
        gap=("streamed, m=0", "streamed, m=2.5", "all at once, m=0"),
    ),
    "stream-cifar10": Experiment(
        "CIFAR-10 as a stream of 20 parts of 2,500 images, 32-64-128 channels (113,504 synapses), 5 epochs over each part",
        {"scenario": "stream-cifar10", "epochs": 5, "evaluate_every": 5},
        {
            "streamed, m=0": {"m": 0.0},
            "streamed, m=13": {"m": 13.0},
            "all at once, m=0": {"m": 0.0, "interleaved": True},
        },
        seeds=(0,),
        beside=(
            "Scaled down from the paper (18 million synapses, 200 epochs over each part, lr 1e-4, pictures flipped and turned): "
            "the network to what fits a microcontroller, the epochs to minutes on one core with lr 1e-3, no augmentation.",
        ),
    ),
    "mnist-usps": Experiment(
        "2,000 MNIST digits, then 1,800 USPS digits, 12-20-30 channels (14,832 synapses), 240 epochs each",
        {"scenario": "mnist-usps", "evaluate_every": 240},
        {f"m={m:g}": {"m": m} for m in (0.0, 1.2)},
    ),
    "baselines": Experiment(
        "Permuted MNIST, 6 tasks, H = 512: consolidation rules beside each other",
        {**PMNIST, **SMALL},
        {
            "plain": {"m": 0.0},
            "metaplastic": BEST,
            "EWC, λ = 5,000": {"m": 0.0, "penalty": "ewc"},
            "random consolidation": {"m": 0.0, "penalty": "random"},
            "SI": {"m": 0.0, "penalty": "si"},
            "interleaved": {"m": 0.0, "interleaved": True},
        },
        seeds=(0,),
    ),
}  # fmt: skip


def cells(name: str) -> dict[str, list[Cell]]:
    experiment = EXPERIMENTS[name]
    return {
        variant: [{**experiment.fixed, **changes, "seed": seed} for seed in experiment.seeds]
        for variant, changes in experiment.variants.items()
    }


def table(name: str) -> str:
    """Markdown: mean and standard deviation over seeds, per cent."""
    experiment, found = EXPERIMENTS[name], BENCHMARK.done(name)
    rows = []
    for variant, runs in found.items():
        lost = per_cent(runs, "forgetting").mean()
        rows.append([
            variant, results.seeds(runs), results.spread([row["mean_accuracy"] for row in runs]), plain(lost),
            by_task(runs, "final_accuracy"), by_task(runs, "just_learnt"), f"{np.mean([row['seconds'] for row in runs]):,.0f}",
        ])  # fmt: skip
    sentences = list(experiment.beside)
    if experiment.gap is not None and all(variant in found for variant in experiment.gap):
        lowest, ours, highest = (per_cent(found[variant], "mean_accuracy").mean() for variant in experiment.gap)
        share = 100 * (ours - lowest) / (highest - lowest)
        sentences.append(
            f"{experiment.gap[1]} closes {share:.0f} % of the gap from {experiment.gap[0]} to {experiment.gap[2]}."
        )
    about = f"`{name}`, on {results.places(BENCHMARK.rows(name))}."
    return results.page(experiment.title, about, results.markdown(HEAD, rows), sentences, level=2)


HEAD = ["variant", "seeds", "mean accuracy", "forgetting", "by task, at the end", "just learnt", "seconds a run"]


def plain(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1f}"


def per_cent(rows: list[Row], name: str) -> NDArray[np.float64]:
    """A measure of each run; NaN where it has none: tasks learnt all at once have no forgetting."""
    return 100 * np.array([math.nan if row[name] is None else row[name] for row in rows])


def by_task(rows: list[Row], name: str) -> str:
    """Means over the seeds; of a long stream ten of them."""
    values = [[math.nan if a is None else a for a in row[name]] for row in rows]
    means = 100 * np.mean(values, axis=0)
    if len(np.unique(means)) == 1:
        means = means[:1]
    step = 1 if len(means) <= 10 else math.ceil(len(means) / 10)
    return " ".join(plain(a) for a in means[step - 1 :: step])


def pages() -> dict[str, str]:
    text = f"""# Accuracy after training

Mean accuracy on all tasks after the last one, per cent, ± standard deviation over seeds, one thread a run.
{BENCHMARK.raw(PAGE)} {BENCHMARK.command("NAME")} measures one of the tables.

Settings were chosen at seed 100: m and eps of permuted MNIST on 5,000 training images held out, m of the Fashion-MNIST
stream on the test images (the rows of those runs are kept too); tables of these two have other seeds. m of MNIST, then
Fashion-MNIST was chosen on the test images of seed 0 among four; seeds 1 and 2 were not looked at before. USPS and
CIFAR-10 have the paper's m. Time of one training step: [step.md](step.md).
"""
    return BENCHMARK.sections(PAGE, text, table)


BENCHMARK = Benchmark(
    __file__, {name: e.title for name, e in EXPERIMENTS.items()}, cells, pages,
    partial(run_cell, folder=str(STATE)), pictures=lambda: results.bars(BENCHMARK, "final_accuracy"),
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
