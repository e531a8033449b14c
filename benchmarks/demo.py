"""The demo over several seeds: docs/results/demo.{json,md,svg}.

    python benchmarks/demo.py --seeds 5

The stream runs on the host through the C runtime, which computes what the boards compute (`metabit verify`).
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
from pathlib import Path
from typing import Any

import numpy as np

from metabit import export
from metabit.cli import road
from metabit.cli.recipe import RECIPE
from metabit.firmware_sim.report import Deployment
from metabit.runtime import Model

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def run(seed: int) -> list[Deployment]:
    """One network, its three deployments, one stream."""
    checkpoint = road.train_upright(seed)
    done = []
    for kind in road.kinds(seed=seed):
        image = export.write_image(export.freeze(checkpoint, kind.options))
        model = Model(image)
        learn = model.learn_many if kind.options.bits > 1 else None
        done.append(road.learn_sideways(kind, image, learn, model.state, seed, RECIPE.passes))
    return done


def summarise(runs: list[list[Deployment]]) -> list[dict[str, Any]]:
    """A row for each deployment: mean and standard deviation over seeds, in per cent and synapses per sample."""
    rows = []
    for same in zip(*runs, strict=True):
        row: dict[str, Any] = {"deployment": same[0].name}
        for i, world in enumerate(road.WORLDS):
            for when in ("before", "after"):
                values = [100 * getattr(d, when)[i] for d in same]
                row[f"{world}_{when}"] = [round(float(np.mean(values)), 2), round(float(np.std(values)), 2)]
        for what in ("visited", "moved", "flipped"):
            row[what] = round(float(np.mean([getattr(d, what) for d in same])), 2)
        rows.append(row)
    return rows


def page(result: dict[str, Any]) -> str:
    """The table, as Markdown."""
    lines = [
        "# The demo over five seeds",
        "",
        f"`{result['command']}` on {result['machine']}, {result['date']}, seeds {result['seeds']}; mean ± standard deviation, "
        "per cent of 359 test digits. Raw numbers: [demo.json](demo.json).",
        "",
        "| deployment | upright: before | after | sideways: before | after | visited | moved | flipped |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [row["deployment"]]
        for world in road.WORLDS:
            cells += [f"{row[f'{world}_{when}'][0]:.1f} ± {row[f'{world}_{when}'][1]:.1f}" for when in ("before", "after")]
        cells += [f"{row[what]:,.1f}" for what in ("visited", "moved", "flipped")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def picture(runs: list[list[Deployment]], path: Path) -> None:
    """Accuracy on both worlds over the stream, mean over seeds with its range."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "metabit"  # the same picture is the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for i, (world, axis) in enumerate(zip(road.WORLDS, axes, strict=True)):
        for same, colour in zip(zip(*runs, strict=True), ("#0072B2", "#D55E00", "#777777"), strict=True):
            x = [samples for samples, _ in same[0].curve]
            y = np.array([[100 * accuracy[i] for _, accuracy in d.curve] for d in same])
            axis.plot(x, y.mean(0), color=colour, label=same[0].name)
            axis.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.15, linewidth=0)
        axis.set(title=f"{world} digits", xlabel="sideways digits learned", ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend(loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    seeds = range(parser.parse_args().first, parser.parse_args().first + parser.parse_args().seeds)
    runs = []
    for seed in seeds:
        runs.append(run(seed))
        print(seed, [(d.name, [round(a, 3) for a in d.after]) for d in runs[-1]], flush=True)
    result = {
        "command": f"python benchmarks/demo.py --seeds {len(runs)}",
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "seeds": list(seeds),
        "recipe": RECIPE.__dict__,
        "rows": summarise(runs),
        "runs": [[{"name": d.name, "curve": d.curve, "moved": d.moved, "visited": d.visited, "flipped": d.flipped}
                  for d in run] for run in runs],
    }  # fmt: skip
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "demo.md").write_text(page(result))
    picture(runs, RESULTS / "demo.svg")
    print(page(result))


if __name__ == "__main__":
    main()
