"""The demo over five seeds: docs/results/demo.md and README's tables and picture, from results/demo.jsonl.

    python benchmarks/demo.py default deployments rates boards

The stream runs on the host by the C runtime, which computes the same integers as the boards (`metabit verify`).
"""

from __future__ import annotations

from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from metabit import export, firmware_sim, train
from metabit.experiments import comparison, demo, demo_paper, plots, results
from metabit.experiments.demo_settings import RECIPE
from metabit.experiments.results import Benchmark, Cell, Draw, Row
from metabit.runtime import Model

SEEDS = (0, 1, 2, 3, 4)
TASKS = ("upright", "sideways")
NAMES = ("metaplastic", "m = 0", "m = 0, gentle", "frozen")
RATES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
PAGE, PICTURE = "docs/results/demo.md", "docs/results/demo.svg"


def cells(name: str) -> dict[str, list[Cell]]:
    if name == "boards":
        return {b: [{"experiment": name, "board": b, "deployment": "head", "seed": 0}] for b in firmware_sim.boards()}
    if name == "default":
        return {order: [{"experiment": name, "order": order, "seed": seed} for seed in SEEDS] for order in demo.ORDERS}
    if name == "deployments":
        return {d: [{"experiment": name, "deployment": d, "seed": seed} for seed in SEEDS] for d in NAMES}
    return {
        f"{d}, {rate}": [{"experiment": name, "deployment": d, "visit_rate": rate, "seed": seed} for seed in SEEDS]
        for d in NAMES[:2]
        for rate in RATES
    }


def measure(asked: Cell) -> Row:
    if asked["experiment"] == "boards":
        return on_board(asked["board"], head_image(asked["seed"])[0]) | results.provenance()
    if asked["experiment"] == "default":
        return in_order(asked["order"], asked["seed"]) | results.provenance("torch")
    kinds = {kind.name: kind for kind in demo_paper.deployment_options(seed=asked["seed"])}
    kind = kinds[asked["deployment"]]
    if asked["experiment"] == "rates":
        m = 0.0 if asked["deployment"] == "m = 0" else None
        options = export.VisitOptions(bits=RECIPE.bits, visit_rate=asked["visit_rate"], m=m, seed=asked["seed"])
        kind = demo_paper.DeploymentOptions(kind.name, kind.description, options)
    image = export.write_image(export.freeze(trained(asked["seed"]), kind.options))
    model = Model(image)
    learn = model.learn_many if kind.options.bits > 1 else None
    d = demo_paper.learn_sideways(kind, image, learn, model.state, asked["seed"], RECIPE.passes)
    names = ("before", "after", "visited", "moved", "flipped", "curve")
    row = {key: getattr(d, key) for key in names[: 6 if asked["experiment"] == "deployments" else 5]}
    return row | results.provenance("torch")


@cache
def trained(seed: int) -> train.Checkpoint:
    return demo_paper.train_upright(seed)


@cache
def head_image(seed: int) -> tuple[bytes, demo.Problem]:
    """The default network with a head, trained on the old task, and the data."""
    data = demo.problem()
    return export.write_image(demo.frozen_head(demo.trained(data.old, seed), seed)), data


def in_order(order: str, seed: int) -> Row:
    """The default network and its rivals on the stream of the demo in one order: accuracies in the order of demo.NAMES."""
    image, data = head_image(seed)
    model, rows = Model(image), data.order(order, seed)

    def learn(piece: NDArray[np.int64]) -> NDArray[np.uint32]:
        return model.learn_many(data.new.x_train[piece], data.new.y_train[piece]).predicted

    compared = demo.beside(image, data, rows, *demo.learn_order(image, data, rows, order, learn, model.state))
    places = [compared.datasets.index(name) for name in demo.NAMES]
    lines = {
        line.name: {
            "state": line.state,
            "before": [line.before[i] for i in places],
            "after": [line.after[i] for i in places],
        }
        for line in compared.lines
    }
    return {"lines": lines, "samples": len(rows)}


def on_board(name: str, image: bytes) -> Row:
    """Memory and time of the first samples of the mixed stream."""
    data = demo.problem()
    rows = data.order(demo.ORDERS[0], 0)[: demo.MEASURED]
    x = Model(image).device_bytes(data.new.x_train[rows])
    m = firmware_sim.measure(image, firmware_sim.load_board(name), x, data.new.y_train[rows])
    assert m.learn is not None
    return {
        "core": m.core, "clock_hz": m.clock_hz, "flash": m.flash.total, "ram": m.ram.total,
        "state": m.ram.parts["state"], "arena": m.ram.parts["arena"], "stack": m.stack_high_water,
        "stack_bound": m.stack_bound.total, "predict_insns": m.predict.insns_mean, "predict_ms": m.predict.ms_mean,
        "learn_insns": m.learn.insns_mean, "learn_ms": m.learn.ms_mean, "learn_ms_max": m.learn.ms_max, "model": m.model,
        "band_percent": m.band_percent, "compiler": m.compiler,
    }  # fmt: skip


# Tables


def default_table() -> str:
    """Markdown: the default network and its rivals at the end of the stream, in both orders."""
    found = BENCHMARK.done("default")
    rows = []
    for name in ("metabit (head)", comparison.NOT_LEARNING, *comparison.RIVALS):
        lines = {order: [row["lines"][name] for row in runs] for order, runs in found.items()}
        state = lines[demo.ORDERS[0]][0]["state"]
        shares = [
            results.spread([line["after"][i] for line in lines[order]]) for order in demo.ORDERS for i in range(3)
        ]
        rows.append([name, f"{state:,} B", *shares])
    head = ["learner", "state", *(f"{order}: {part}" for order in demo.ORDERS for part in demo.NAMES)]
    return "\n".join(results.markdown(head, rows))


def learning_table() -> str:
    """Markdown: test accuracy on both tasks before and after the stream, and work per sample."""
    rows = []
    for name, runs in BENCHMARK.done("deployments").items():
        shares = [results.spread([row[when][task] for row in runs]) for task in (0, 1) for when in ("before", "after")]
        work = [f"{mean:,.1f}" for mean in results.means(runs, "visited", "moved", "flipped")]
        rows.append([name, *shares, *work])
    head = ["deployment", "upright: before", "after", "sideways: before", "after", "visited", "moved", "flipped"]
    return "\n".join(results.markdown(head, rows))


def boards_table() -> str:
    """Markdown: cost of the default network with a head on each board."""
    found = BENCHMARK.rows("boards")
    rows = [
        [
            f"{b['board']}, {b['core']} {b['clock_hz'] / 1e6:.0f} MHz", f"{b['flash']:,} B", f"{b['ram']:,} B",
            f"{b['state']:,} B", f"{b['stack']:,} B", f"{b['stack_bound']:,} B", f"{b['predict_ms']:.2f} ms",
            f"{b['learn_ms']:.1f} ms", f"{b['learn_ms_max']:.1f} ms",
        ]
        for b in found
    ]  # fmt: skip
    head = ["board", "flash", "RAM", "of it state", "stack", "stack, at most", "predict", "learn", "learn, worst"]
    bands = ", ".join(f"{b['core']} ±{b['band_percent']} %" for b in found)
    text = (
        f"Instructions are exact, milliseconds estimated ({bands}; zero-wait memory); stack: observed, and the bound for every "
        f"input; mean and worst of the first {demo.MEASURED} samples of the mixed stream. "
        f"{', '.join(sorted({b['compiler'] for b in found}))}."
    )
    return "\n".join([*results.markdown(head, rows), "", text])


def by_rate() -> dict[str, list[tuple[float, dict[str, float]]]]:
    """Deployment -> visit rates with the means over seeds of both accuracies, in per cent, and of the synapses moved."""
    found: dict[str, list[tuple[float, dict[str, float]]]] = {name: [] for name in NAMES[:2]}
    for runs in BENCHMARK.done("rates").values():
        mean = {task: 100 * float(np.mean([row["after"][i] for row in runs])) for i, task in enumerate(TASKS)}
        (mean["moved"],) = results.means(runs, "moved")
        found[runs[0]["deployment"]].append((runs[0]["visit_rate"], mean))
    return found


def rates_table() -> str:
    both = [dict(points) for points in by_rate().values()]
    shown = [rate for rate in RATES if all(rate in found for found in both)]
    rows = [[rate, *(f"{found[rate][key]:,.1f}" for found in both for key in (*TASKS, "moved"))] for rate in shown]
    head = ["visit rate", "metaplastic: upright", "sideways", "moved", "m = 0: upright", "sideways", "moved"]
    return "\n".join(results.markdown(head, rows))


def page() -> str:
    """docs/results/demo.md"""
    samples = BENCHMARK.rows("default")[0]["samples"]
    return f"""# The demo over {len(SEEDS)} seeds

`python benchmarks/demo.py all` on {results.places(BENCHMARK.rows("deployments"))}, seeds {SEEDS[0]} to {SEEDS[-1]}; mean ± standard
deviation, per cent of 359 test digits; synapses visited, moved and flipped per sample. {BENCHMARK.raw(PAGE)}

## The default network

32 gates under a head, trained on upright digits 0 to 8. The device then learns {samples:,} samples once: the same digits
turned by 90°, and nines, which it never saw, mixed or one class after the other (the nines last). Accuracy at the end, in per
cent: the old task (upright 0 to 8), the new one (sideways 0 to 8), the new class (36 nines). The rivals are float32, on the same
pixels, fitted to the same old task, in the same order.

{default_table()}

Settings are the defaults of `metabit train` and `metabit export`, which were chosen on other data (docs/results/learner).

## The paper's rule

{learning_table()}

The settings (experiments/demo_settings.py) were chosen on 280 of the training digits held out from training, with other seeds;
the test digits were not looked at for it. ± leaves out the sampling of the test digits themselves, about 1 point.

![accuracy on the old and the new task over the stream](demo.svg)

## Every visit rate

The visit rate is how much a device learns from a wrong prediction. Without metaplasticity every increase costs accuracy on the
old task; with it that accuracy hardly depends on the rate, which need not be known in advance. At a small rate chosen for it,
m = 0 is a strong rival on this small task: at 0.02 it keeps nearly as much and learns more.

{rates_table()}

## On the boards

{boards_table()}
"""


def pages() -> dict[str, str]:
    """The pages, and README with its tables between their markers."""
    readme = (BENCHMARK.root / "README.md").read_text()
    for name, table in (("demo", default_table()), ("paper", learning_table()), ("boards", boards_table())):
        begin, end = f"<!-- {name} table: benchmarks/demo.py writes it -->", f"<!-- /{name} table -->"
        readme = f"{readme.split(begin)[0]}{begin}\n{table}\n{end}{readme.split(end)[1]}"
    return {PAGE: page(), PICTURE: picture(), "README.md": readme}


# Pictures


def picture() -> str:
    """README's picture, as SVG: accuracy on both tasks over the stream, mean over the seeds and their range."""
    wide, high, left, top, found = 340, 210, 46, 28, BENCHMARK.done("deployments")
    last = max(runs[0]["curve"][-1][0] for runs in found.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * wide + left + 34} {high + top + 44}" font-family="sans-serif" '
        'font-size="12">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text transform="translate(13 {top + high / 2}) rotate(-90)" text-anchor="middle">test accuracy, %</text>',
    ]
    for task, title in enumerate(TASKS):
        start = left + task * (wide + 24)

        def at(samples: float, share: float, start: int = start) -> str:
            return f"{start + wide * samples / last:.1f},{top + high * (1 - share):.1f}"

        parts += [
            f'<text x="{start}" y="18" font-size="14">{title} digits</text>',
            f'<text x="{start + wide / 2}" y="{top + high + 36}" text-anchor="middle">sideways digits learnt</text>',
        ]
        for tick in range(0, 101, 20):
            y = top + high * (1 - tick / 100)
            parts.append(f'<path d="M{start} {y:.1f}h{wide}" stroke="{"#333" if tick == 0 else "#ddd"}"/>')
            parts += [f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick}</text>'] if task == 0 else []
        for tick in range(0, last + 1, 1000):
            x = start + wide * tick / last
            parts.append(f'<text x="{x:.1f}" y="{top + high + 17}" text-anchor="middle">{tick:,}</text>')
        for i, (name, runs) in enumerate(found.items()):
            samples = [n for n, _ in runs[0]["curve"]]
            shares = np.array([[point[task] for _, point in row["curve"]] for row in runs])
            area = [*zip(samples, shares.max(0), strict=True), *zip(samples[::-1], shares.min(0)[::-1], strict=True)]
            line = " ".join(at(*point) for point in zip(samples, shares.mean(0), strict=True))
            colour, y = plots.COLOURS[i], top + high - 74 + 18 * i
            parts += [
                f'<polygon points="{" ".join(at(*point) for point in area)}" fill="{colour}" opacity="0.18"/>',
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>',
            ]
            if task == 0:
                parts.append(f'<path d="M{start + 12} {y - 4}h24" stroke="{colour}" stroke-width="2"/>')
                parts.append(f'<text x="{start + 42}" y="{y}">{name}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def pictures() -> dict[str, Draw]:
    rates = {
        f"{name}, {task}": ([rate for rate, _ in points], [mean[task] for _, mean in points])
        for name, points in by_rate().items()
        for task in TASKS
    }
    draw = partial(
        plots.curves, panels={"after the stream": rates}, xlabel="visit rate", ylabel="test accuracy, %", log=True
    )
    return {"build/pictures/demo-visit-rates.svg": draw}


BENCHMARK = Benchmark(
    __file__,
    {"default": "The default network and its rivals, five seeds", "deployments": "Four deployments, five seeds",
     "rates": "Every visit rate", "boards": "Cost on each board"},
    cells, pages, measure, pictures=pictures,
)  # fmt: skip

if __name__ == "__main__":
    results.main(BENCHMARK)
