"""The demo over several seeds: docs/results/demo.{json,md,svg}, and the README's tables.

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

from metabit import export, firmware_sim, train
from metabit.data import load
from metabit.experiments import demo as road
from metabit.experiments.demo_settings import RECIPE
from metabit.firmware_sim.report.page import Deployment
from metabit.runtime import Model

README = Path(__file__).parents[1] / "README.md"
RESULTS = README.parent / "docs" / "results"


DOSES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)


def run(kind: road.DeploymentOptions, checkpoint: train.Checkpoint, seed: int) -> Deployment:
    """One deployment of one network, and its stream."""
    image = export.write_image(export.freeze(checkpoint, kind.options))
    model = Model(image)
    learn = model.learn_many if kind.options.bits > 1 else None
    return road.learn_sideways(kind, image, learn, model.state, seed, RECIPE.passes)


def frontier(checkpoints: dict[int, train.Checkpoint]) -> list[dict[str, Any]]:
    """What every dose costs in the old world and gains in the new one, with metaplasticity and without: means over seeds."""
    rows = []
    for name, m in (("metaplastic", None), ("m = 0", 0.0)):
        for visits in DOSES:
            ends = []
            for seed, checkpoint in checkpoints.items():
                options = export.Options(bits=RECIPE.bits, visits=visits, m=m, seed=seed)
                ends.append(run(road.DeploymentOptions(name, "", options), checkpoint, seed))
            mean = {
                world: round(100 * float(np.mean([d.after[i] for d in ends])), 2) for i, world in enumerate(road.TASKS)
            }
            moved = round(float(np.mean([d.moved for d in ends])), 1)
            rows.append({"deployment": name, "visits": visits, **mean, "moved": moved})
            print(rows[-1], flush=True)
    return rows


def summarise(runs: list[list[Deployment]]) -> list[dict[str, Any]]:
    """A row for each deployment: mean and standard deviation over seeds, in per cent and synapses per sample."""
    rows = []
    for same in zip(*runs, strict=True):
        row: dict[str, Any] = {"deployment": same[0].name}
        for i, world in enumerate(road.TASKS):
            for when in ("before", "after"):
                values = [100 * getattr(d, when)[i] for d in same]
                row[f"{world}_{when}"] = [round(float(np.mean(values)), 2), round(float(np.std(values)), 2)]
        for what in ("visited", "moved", "flipped"):
            row[what] = round(float(np.mean([getattr(d, what) for d in same])), 2)
        rows.append(row)
    return rows


def learning_table(result: dict[str, Any]) -> str:
    """Markdown: who still knows what, after the stream."""
    lines = [
        "| deployment | upright: before | after | sideways: before | after | visited | moved | flipped |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = [row["deployment"]]
        for world in road.TASKS:
            cells += [
                f"{row[f'{world}_{when}'][0]:.1f} ± {row[f'{world}_{when}'][1]:.1f}" for when in ("before", "after")
            ]
        cells += [f"{row[what]:,.1f}" for what in ("visited", "moved", "flipped")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def boards_table(result: dict[str, Any]) -> str:
    """Markdown: what the metaplastic deployment costs on each board."""
    lines = [
        "| board | flash | RAM | of it state | stack | stack, at most | predict | learn | learn, worst |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for b in result["boards"]:
        lines.append(
            f"| {b['board']}, {b['core']} {b['clock_hz'] / 1e6:.0f} MHz | {b['flash']:,} B | {b['ram']:,} B | {b['state']:,} B "
            f"| {b['stack']:,} B | {b['stack_bound']:,} B | {b['predict_ms']:.2f} ms | {b['learn_ms']:.1f} ms "
            f"| {b['learn_ms_max']:.1f} ms |"
        )
    b = result["boards"][0]
    bands = ", ".join(f"{row['core']} ±{row['band_percent']} %" for row in result["boards"])
    lines += [
        "",
        f"Instructions are exact, milliseconds estimated ({bands}; zero-wait memory); stack: seen, and computed for every input; "
        "mean and worst of the first "
        f"{road.MEASURED} samples of the stream, when nearly everything is wrong and most is learned. {b['compiler']}.",
    ]
    return "\n".join(lines)


def doses_table(result: dict[str, Any]) -> str:
    """Markdown: the frontier."""
    lines = [
        "| visits | metaplastic: upright | sideways | moved | m = 0: upright | sideways | moved |",
        "|---|---|---|---|---|---|---|",
    ]
    with_m, without = ([r for r in result["frontier"] if r["deployment"] == name] for name in ("metaplastic", "m = 0"))
    for a, b in zip(with_m, without, strict=True):
        cells = [f"{row[key]:,.1f}" for row in (a, b) for key in ("upright", "sideways", "moved")]
        lines.append(f"| {a['visits']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def doses_picture(result: dict[str, Any], path: Path) -> None:
    """Accuracy on both worlds after the stream, against the dose."""
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, colour in (("metaplastic", "#0072B2"), ("m = 0", "#D55E00")):
        rows = [r for r in result["frontier"] if r["deployment"] == name]
        for world, style in zip(road.TASKS, ("-", "--"), strict=True):
            axis.plot(
                [r["visits"] for r in rows],
                [r[world] for r in rows],
                style,
                color=colour,
                marker="o",
                label=f"{name}, {world}",
            )
    axis.set(xscale="log", xlabel="visits (dose)", ylabel="accuracy after the stream, %", ylim=(50, 100))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower center", fontsize=8, ncols=2)
    figure.savefig(path, metadata={"Date": None})


def page(result: dict[str, Any]) -> str:
    head = (
        f"`{result['command']}` on {result['machine']}, {result['date']}, seeds {result['seeds']}; mean ± standard deviation, "
        "per cent of 359 test digits; synapses visited, moved and flipped per sample. Raw numbers: [demo.json](demo.json)."
    )
    how = (
        "The recipe (cli/recipe.py) was chosen on 280 of the training digits held out from training, with other seeds; the test "
        "digits were not looked at for it. ± leaves out the sampling of the test digits themselves, about 1 point."
    )
    doses = (
        "## Every dose\n\n"
        "`visits` is how much a device learns from a mistake. Without metaplasticity the old world pays for every increase; "
        "with it, the dose hardly matters, and need not be known in advance. At a small dose chosen for it, m = 0 is a strong "
        "rival on this small task: at 0.02 it keeps nearly as much and learns more.\n\n"
        "![both worlds at every dose](demo-doses.svg)\n\n" + doses_table(result)
    )
    picture = "![accuracy on both worlds over the stream](demo.svg)"
    tables = (learning_table(result), boards_table(result))
    return (
        "\n\n".join(
            [
                f"# The demo over {len(result['seeds'])} seeds",
                head,
                tables[0],
                how,
                picture,
                doses,
                "## On the boards",
                tables[1],
            ]
        )
        + "\n"
    )


def fill(text: str, name: str, table: str) -> str:
    """The text with the table between its two markers."""
    begin, end = f"<!-- {name} table: benchmarks/demo.py writes it -->", f"<!-- /{name} table -->"
    head, rest = text.split(begin)
    return f"{head}{begin}\n{table}\n{end}{rest.split(end)[1]}"


def on_boards(checkpoint: train.Checkpoint, seed: int) -> list[dict[str, Any]]:
    """The metaplastic deployment of one seed, measured on every board."""
    kind = road.deployment_options(seed=seed)[0]
    image = export.write_image(export.freeze(checkpoint, kind.options))
    field = load(road.NEW_TASK).whole()
    x, y = field.x_train[: road.MEASURED], field.y_train[: road.MEASURED]
    rows = []
    for name in firmware_sim.boards():
        m = firmware_sim.measure(image, firmware_sim.load_board(name), x, y)
        assert m.learn is not None
        rows.append(
            {
                "board": m.board, "core": m.core, "clock_hz": m.clock_hz, "flash": m.flash.total, "ram": m.ram.total,
                "state": m.ram.parts["state"], "arena": m.ram.parts["arena"], "stack": m.stack_high_water,
                "stack_bound": m.stack_bound.total,
                "predict_insns": m.predict.insns_mean, "predict_ms": m.predict.ms_mean, "learn_insns": m.learn.insns_mean,
                "learn_ms": m.learn.ms_mean, "learn_ms_max": m.learn.ms_max, "model": m.model,
                "band_percent": m.band_percent, "compiler": m.compiler,
            }
        )  # fmt: skip
    return rows


def picture(runs: list[list[Deployment]], path: Path) -> None:
    """Accuracy on both worlds over the stream, mean over seeds with its range."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = "metabit"  # the same picture is the same file
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), sharey=True, layout="constrained")
    for i, (world, axis) in enumerate(zip(road.TASKS, axes, strict=True)):
        for same, colour in zip(zip(*runs, strict=True), ("#0072B2", "#D55E00", "#CC9900", "#777777"), strict=True):
            x = [samples for samples, _ in same[0].curve]
            y = np.array([[100 * accuracy[i] for _, accuracy in d.curve] for d in same])
            axis.plot(x, y.mean(0), color=colour, label=same[0].name)
            axis.fill_between(x, y.min(0), y.max(0), color=colour, alpha=0.15, linewidth=0)
        axis.set(title=f"{world} digits", xlabel="sideways digits learned", ylim=(0, 100))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("accuracy, %")
    axes[0].legend(loc="lower left")
    figure.savefig(path, metadata={"Date": None})


def write(result: dict[str, Any]) -> None:
    """The JSON, the page and the README's tables."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "demo.json").write_text(json.dumps(result, indent=1) + "\n")
    (RESULTS / "demo.md").write_text(page(result))
    readme = README.read_text()
    readme = fill(readme, "demo", learning_table(result))
    README.write_text(fill(readme, "boards", boards_table(result)))
    print(page(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--boards", action="store_true", help="only measure the recorded demo on the boards anew")
    asked = parser.parse_args()
    if asked.boards:
        result = json.loads((RESULTS / "demo.json").read_text())
        seed = result["seeds"][0]
        write({**result, "boards": on_boards(road.train_upright(seed), seed)})
        return
    seeds = range(asked.first, asked.first + asked.seeds)
    checkpoints = {seed: road.train_upright(seed) for seed in seeds}
    runs = [
        [run(kind, checkpoint, seed) for kind in road.deployment_options(seed=seed)]
        for seed, checkpoint in checkpoints.items()
    ]
    result = {
        "command": f"python benchmarks/demo.py --seeds {asked.seeds}" + (f" --first {asked.first}" if asked.first else ""),
        "machine": f"{platform.system()} {platform.machine()}",
        "date": datetime.date.today().isoformat(),
        "seeds": list(seeds),
        "recipe": RECIPE.__dict__,
        "rows": summarise(runs),
        "frontier": frontier(checkpoints),
        "boards": on_boards(checkpoints[seeds[0]], seeds[0]),
        "runs": [[{"name": d.name, "curve": d.curve, "moved": d.moved, "visited": d.visited, "flipped": d.flipped}
                  for d in run] for run in runs],
    }  # fmt: skip
    write(result)
    picture(runs, RESULTS / "demo.svg")
    doses_picture(result, RESULTS / "demo-doses.svg")


if __name__ == "__main__":
    main()
