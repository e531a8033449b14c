"""The training room's experiments, as rows: docs/results/train/{name}.{jsonl,md,svg}.

    python benchmarks/training.py permuted-mnist
    python benchmarks/training.py            lists what there is and what is done

A cell is one run; a finished cell is a line in the .jsonl and is not run again, so an experiment may be stopped at any time and
grows by the seed. Cells run one after the other, two at a time with --workers 2 (the extra `sweep`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metabit.train.files import read_rows
from metabit.train.sweep import run_cell, sweep

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "train"
STATE = Path(__file__).parents[1] / "build" / "training"

Cell = dict[str, Any]


@dataclass(frozen=True)
class Experiment:
    """variants: name -> settings of one run, each done for every seed. beside: what others report, as sentences."""

    title: str
    fixed: Cell
    variants: dict[str, Cell]
    seeds: tuple[int, ...] = (0, 1, 2)
    beside: tuple[str, ...] = field(default_factory=tuple)

    def cells(self) -> list[tuple[str, Cell]]:
        """(variant, cell), all variants of a seed before the next seed: a stopped experiment is a smaller one."""
        return [
            (name, {**self.fixed, **changes, "seed": seed})
            for seed in self.seeds
            for name, changes in self.variants.items()
        ]


PMNIST = {"scenario": "permuted-mnist", "evaluate_every": 10}
NO_TASK = {"per_task_norm": False}
RERUN = (
    "An independent re-run of the authors' code, per-task normalisation, H = 1024: 91.5 % (10 epochs a task), 92.6 % (20–40).",
    "The same without task-ID (shared normalisation, H = 2048): 24 points lower than with it.",
)

EXPERIMENTS = {
    "permuted-mnist": Experiment(
        "Permuted MNIST, 6 tasks, 10 epochs each: mean final accuracy",
        PMNIST,
        {
            "H=512, m=0": {"hidden": [512, 512], "m": 0.0},
            "H=512, m=2": {"hidden": [512, 512], "m": 2.0},
            "H=1024, m=0": {"hidden": [1024, 1024], "m": 0.0},
            "H=1024, m=2": {"hidden": [1024, 1024], "m": 2.0},
        },
        beside=RERUN,
    ),
    "no-task-id": Experiment(
        "Permuted MNIST, 6 tasks, H = 512: without telling the network its task",
        {**PMNIST, "hidden": [512, 512]},
        {
            "per-task norm, m=2": {"m": 2.0},
            "shared batch norm, m=2": {"m": 2.0, **NO_TASK},
            "static norm, m=2": {"m": 2.0, "norm": "static", **NO_TASK},
            "static norm, code, m=2": {"m": 2.0, "norm": "static", "output": "code", **NO_TASK},
            "static norm, code, m=5": {"m": 5.0, "norm": "static", "output": "code", **NO_TASK},
        },
        beside=RERUN[1:],
    ),
    "norms": Experiment(
        "Permuted MNIST, 6 tasks, H = 512, m = 2: initial gain and statistics of the batch normalisation",
        {**PMNIST, "hidden": [512, 512], "m": 2.0},
        {
            f"gain {gamma}, {statistics} statistics": {"gamma_init": gamma, "statistics": statistics}
            for gamma in ("ones", "uniform")
            for statistics in ("running", "batch")
        },
    ),
    "mnist-fashion": Experiment(
        "MNIST, then Fashion-MNIST, H = 1024, 20 epochs each",
        {"scenario": "mnist-fashion", "hidden": [1024, 1024], "evaluate_every": 20},
        {f"m={m:g}": {"m": m} for m in (0.0, 1.5, 3.0)},
        beside=("D'Agostino et al. 2023 repeat the paper's experiment: 97 % / 86 %.",),
    ),
    "baselines": Experiment(
        "Permuted MNIST, 6 tasks, H = 512: consolidation rules beside each other",
        {**PMNIST, "hidden": [512, 512]},
        {
            "plain": {"m": 0.0},
            "metaplastic, m=2": {"m": 2.0},
            "EWC": {"m": 0.0, "penalty": "ewc"},
            "random consolidation": {"m": 0.0, "penalty": "random"},
            "SI": {"m": 0.0, "penalty": "si"},
            "interleaved": {"m": 0.0, "interleaved": True},
        },
        seeds=(0,),
    ),
    "hidden-bits": Experiment(
        "Permuted MNIST, 6 tasks, H = 512, m = 2: hidden weights on the k-bit grid while training",
        {**PMNIST, "hidden": [512, 512], "m": 2.0},
        {"float": {}} | {f"k={k}": {"grid_bits": k} for k in (2, 3, 4, 6, 8)},
        seeds=(0,),
    ),
}  # fmt: skip


def table(name: str) -> str:
    """Markdown of what is done: mean and standard deviation over seeds, per cent."""
    experiment = EXPERIMENTS[name]
    done = {json.dumps(row["cell"], sort_keys=True): row for row in read_rows(RESULTS / f"{name}.jsonl")}
    lines = [
        f"# {experiment.title}",
        "",
        f"`python benchmarks/training.py {name}`, {platform.system()} {platform.machine()}, two cores, one thread a run, "
        f"{datetime.date.today().isoformat()}. Raw: [{name}.jsonl]({name}.jsonl).",
        "",
        "| variant | seeds | mean accuracy | forgetting | by task | seconds a run |",
        "|---|---|---|---|---|---|",
    ]
    for variant, changes in experiment.variants.items():
        cells = [{**experiment.fixed, **changes, "seed": seed} for seed in experiment.seeds]
        rows = [done[key] for cell in cells if (key := json.dumps(cell, sort_keys=True)) in done]
        if not rows:
            continue
        mean = 100 * np.array([row["mean_accuracy"] for row in rows])
        lost = 100 * np.array([row["forgetting"] for row in rows])
        tasks = " ".join(f"{100 * a:.1f}" for a in np.mean([row["final_accuracy"] for row in rows], axis=0))
        spread = f" ± {mean.std(ddof=1):.1f}" if len(rows) > 1 else ""
        seconds = np.mean([row["seconds"] for row in rows])
        lines.append(
            f"| {variant} | {len(rows)} | {mean.mean():.1f}{spread} | {lost.mean():.1f} | {tasks} | {seconds:,.0f} |"
        )
    lines += ["", *(f"* {sentence}" for sentence in experiment.beside)] if experiment.beside else []
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*EXPERIMENTS, []])
    parser.add_argument("--seeds", type=int, help="only the first so many")
    parser.add_argument("--workers", type=int, default=0, help="0: one run after the other, without Ray")
    asked = parser.parse_args()
    if not asked.names:
        for name, experiment in EXPERIMENTS.items():
            done = len(read_rows(RESULTS / f"{name}.jsonl"))
            print(f"{name:16s} {done:2d} of {len(experiment.cells()):2d} runs  {experiment.title}")
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in asked.names:
        experiment = EXPERIMENTS[name]
        seeds = experiment.seeds[: asked.seeds]
        todo = [cell for _, cell in experiment.cells() if cell["seed"] in seeds]
        work = partial(run_cell, folder=str(STATE / name))

        def note(row: Cell) -> None:
            print(
                {key: row.get(key) for key in ("hidden", "m", "seed", "mean_accuracy", "seconds", "error")}, flush=True
            )

        sweep(work, todo, RESULTS / f"{name}.jsonl", workers=asked.workers, progress=note)
        (RESULTS / f"{name}.md").write_text(table(name))
        print(table(name))


if __name__ == "__main__":
    main()
