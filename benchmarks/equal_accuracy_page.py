"""The page, README's table and the figure of benchmarks/equal_accuracy.py, from its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from metabit.experiments import plots, results
from metabit.experiments.results import Benchmark, Draw, Row

PAGE = "docs/results/runtime/equal-accuracy.md"
BOARDS = {"nrf52840": "M4F", "rp2040": "M0+"}
SMALL_FLASH, SMALL_RAM = 16384, 2048
Network = dict[str, Any]
"""Name, mean accuracy, rows, and the costs by (board, flags)."""


def networks(benchmark: Benchmark, experiment: str) -> dict[str, list[Network]]:
    """Data -> its networks that have costs."""
    found: dict[str, list[Network]] = {}
    for variant, rows in benchmark.done(experiment).items():
        data, name = variant.split(": ", 1)
        costs = {(cost["board"], cost["flags"]): cost for row in rows for cost in row.get("costs", [])}
        if costs:
            accuracy = results.means(rows, "accuracy")[0]
            found.setdefault(data, []).append({"name": name, "accuracy": accuracy, "rows": rows, "costs": costs})
    return found


def smallest(network: Network, board: str, figure: str) -> int:
    """The better of the compilers at -Os."""
    return min(int(cost[figure]) for (of, flags), cost in network["costs"].items() if of == board and "-Os" in flags)


def flash(network: Network) -> int:
    """Constants and code on the M4F."""
    return min(c["constants"] + c["code"] for (of, flags), c in network["costs"].items() if of == "nrf52840" and "-Os" in flags)


def thousands(value: float) -> str:
    return f"{value / 1e3:.1f}"


def table(found: Sequence[Network]) -> list[str]:
    rows = []
    for network in sorted(found, key=lambda one: float(one["accuracy"])):
        first = network["costs"]["nrf52840", "zig -Os"]
        row = [
            network["name"], results.spread([r["accuracy"] for r in network["rows"]], 2, 1), len(network["rows"]),
            thousands(first["constants"]), thousands(smallest(network, "nrf52840", "code")), f"{first['ram']:,}",
        ]  # fmt: skip
        for board in BOARDS:
            costs = [network["costs"].get((board, flags)) for flags in ("zig -Os", "gcc -Os", "gcc -O2")]
            row.append(" / ".join(thousands(cost["cycles"]) if cost else "–" for cost in costs))
            row.append(thousands(smallest(network, board, "worst")))
            row.append(f"{costs[0]['each input']:.0f}" if costs[0] else "–")
        rows.append(row)
    head = ["network", "accuracy", "seeds", "constants, KB", "code, KB", "RAM, bytes"]
    for core in BOARDS.values():
        head += [f"{core}, k cycles", "worst", "an input"]
    return results.markdown(head, rows)


def verdicts(found: Sequence[Network]) -> list[str]:
    """A sentence for each int8 network: is a metabit network that reaches its accuracy not worse in flash and cycles at once?"""
    ours = [network for network in found if network["name"].startswith("metabit") and "head" not in network["name"]]
    lines = []
    for rival in found:
        if "int8" not in rival["name"] or not ours:
            continue
        about = f"**{rival['name']}** ({rival['accuracy']:.2f} %)"
        able = [one for one in ours if one["accuracy"] >= rival["accuracy"]]
        if not able:
            best = max(ours, key=lambda one: float(one["accuracy"]))
            lines.append(
                f"* {about}: no metabit network here reaches it; {best['name'][9:]} ({best['accuracy']:.2f} %) {_against(best, rival)}."
            )
            continue
        one = min(able, key=lambda one: max(_ratios(one, rival).values()))
        worse = [name for name, ratio in _ratios(one, rival).items() if ratio > 1]
        word = f"metabit is worse in {' and '.join(worse)}" if worse else "metabit is not worse in any"
        lines.append(f"* {about}: {one['name'][9:]} ({one['accuracy']:.2f} %) {_against(one, rival)}: {word}.")
    return lines


def _ratios(one: Network, rival: Network) -> dict[str, float]:
    """metabit / rival, the better compiler of each at -Os."""
    cycles = {f"cycles on {core}": smallest(one, b, "cycles") / smallest(rival, b, "cycles") for b, core in BOARDS.items()}
    return {"flash": flash(one) / flash(rival), **cycles}


def _against(one: Network, rival: Network) -> str:
    parts = [f"{ratio:.2f} of its {name}" for name, ratio in _ratios(one, rival).items()]
    return f"takes {', '.join(parts[:-1])} and {parts[-1]}"


def small(found: Sequence[Network]) -> str:
    """The best network of ours in 16 KB of flash and 2 KB of RAM."""
    able = [
        network
        for network in found
        if network["name"].startswith("metabit")
        and flash(network) <= SMALL_FLASH
        and min(c["ram"] for (b, f), c in network["costs"].items() if b == "nrf52840" and "-Os" in f) <= SMALL_RAM
    ]
    if not able:
        return "No metabit network here fits 16 KB of flash and 2 KB of RAM."
    best = max(able, key=lambda one: float(one["accuracy"]))
    return (
        f"In 16 KB of flash, code included, and 2 KB of RAM without the input, the best metabit network here is {best['name'][9:]}: "
        f"{best['accuracy']:.2f} % in {flash(best):,} bytes. BitNetMCU reports 99.0 % for a dense network on pictures of 16 × 16 "
        "pixels in 16 KB of flash and 2 to 4 KB of RAM of a CH32V003 (as published; not measured here)."
    )


ABOUT = """Features in (8-bit pixels, or 16-bit integers), scores out: encode and predict. Accuracy in per cent of all test samples, mean ±
standard deviation over the seeds; costs of the network of seed 0. Constants: everything that the network keeps in flash, encoder
included; code apart, without start-up, at -Os by the better compiler. RAM: everything but the input, with the stack that the
calls used. Cycles in thousands, zig -Os / gcc -Os / gcc -O2: mean of the first {samples} test samples, and the worst at -Os by the better
compiler; "an input" is what one more input that is on costs, in cycles (zig -Os). Every board computed the same scores as this
computer. {models}.

Rivals are trained with their quantisation in torch: Adam, 20 passes, noise on the features and smoothed labels, as metabit's own
networks. By columns: the weights of the inputs that are on are added, several units a word (benchmarks/rivals/columns.c);
inputs are the bits of metabit's own encoder. CMSIS-NN: `arm_fully_connected_per_channel_s8` and `arm_fully_connected_s8` of
{cmsis}, on pixels, or on features brought to int8."""


def pages_of(benchmark: Benchmark) -> dict[str, str]:
    costs = [cost for name in ("pictures", "sensors") for row in benchmark.rows(name) for cost in row.get("costs", [])]
    if not costs:
        return {}
    rows = [row for name in benchmark.titles for row in benchmark.rows(name)]
    about = ABOUT.format(
        samples=100,
        models="; ".join(sorted({cost["model"] for cost in costs})),
        cmsis=", ".join(sorted({row["rival"] for row in rows if "rival" in row})),
    )
    lines = [
        "# Accuracy against flash, RAM and cycles",
        "",
        f"{benchmark.command('all')} on {results.places(rows)}; "
        f"{', '.join(sorted({cost['compiler'] for cost in costs}))}; library sources "
        f"{', '.join(sorted({row['sources'] for row in rows if 'sources' in row}))}. {benchmark.raw(PAGE)}",
        "",
        about,
    ]
    for experiment in ("pictures", "sensors"):
        for data, found in networks(benchmark, experiment).items():
            lines += ["", f"## {data}", "", *table(found), "", "At the accuracy of each int8 network:", "", *verdicts(found)]
            lines += ["", small(found)] if data == "MNIST" else []
    return {PAGE: "\n".join(lines) + "\n"}


def picture(benchmark: Benchmark) -> dict[str, Draw]:
    """Accuracy on MNIST over flash, and over cycles on either core."""
    found = networks(benchmark, "pictures").get("MNIST", [])
    if not found:
        return {}
    families: dict[str, list[Network]] = {}
    for network in sorted(found, key=flash):
        if "head" not in network["name"]:
            families.setdefault(network["name"].split(",")[0], []).append(network)
    measures = {
        "flash, KB": flash,
        "cycles on M4F, thousands": lambda one: smallest(one, "nrf52840", "cycles"),
        "cycles on M0+, thousands": lambda one: smallest(one, "rp2040", "cycles"),
    }
    panels = {
        title: {name: ([cost(one) / 1e3 for one in some], [one["accuracy"] for one in some]) for name, some in families.items()}
        for title, cost in measures.items()
    }
    draw: Draw = partial(plots.curves, panels=panels, xlabel="constants and code, or cycles", ylabel="test accuracy, %", log=True)
    return {"build/pictures/equal_accuracy/mnist.svg": draw}
