"""The page, README's table and the figure of benchmarks/equal_accuracy.py, from its rows alone."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from metabit.experiments import plots, results
from metabit.experiments.results import Benchmark, Draw

PAGE = "docs/results/runtime/equal-accuracy.md"
BOARDS = {"nrf52840": "M4F", "rp2040": "M0+"}
SMALL_FLASH, SMALL_RAM = 16384, 2048
SAMPLES = 100
"""Test samples behind a mean number of cycles: the first ones."""
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
    return min(
        c["constants"] + c["code"] for (of, flags), c in network["costs"].items() if of == "nrf52840" and "-Os" in flags
    )


def thousands(value: float) -> str:
    return f"{value / 1e3:.1f}"


def table(found: Sequence[Network]) -> list[str]:
    rows = []
    for network in sorted(found, key=lambda one: float(one["accuracy"])):
        first = network["costs"]["nrf52840", "zig -Os"]
        row = [
            network["name"], results.spread([r["accuracy"] for r in network["rows"]], 2, 1), len(network["rows"]),
            thousands(first["constants"]), thousands(smallest(network, "nrf52840", "code")), f"{ram(network):,}",
        ]  # fmt: skip
        for board in BOARDS:
            costs = [network["costs"].get((board, flags)) for flags in ("zig -Os", "gcc -Os", "gcc -O2")]
            row.append(" / ".join(thousands(cost["cycles"]) if cost else "–" for cost in costs))
            row.append(thousands(smallest(network, board, "worst")))
            row += [thousands(costs[0]["at 120"]), f"{abs(costs[0]['each input']):.0f}"] if costs[0] else ["–", "–"]
        rows.append(row)
    head = ["network", "accuracy", "seeds", "constants, KB", "code, KB", "RAM, bytes"]
    for core in BOARDS.values():
        head += [f"{core}, k cycles", "worst", "120 on", "one more"]
    return results.markdown(head, rows)


def verdicts(found: Sequence[Network]) -> list[str]:
    """A sentence for each rival: is a metabit network that reaches its accuracy not worse in flash, RAM and cycles at once?"""
    ours = [network for network in found if network["name"].startswith("metabit") and "head" not in network["name"]]
    lines = []
    for rival in found:
        if rival["name"].startswith("metabit") or not ours:
            continue
        about = f"**{rival['name']}** ({rival['accuracy']:.2f} %)"
        able = [one for one in ours if one["accuracy"] >= rival["accuracy"]]
        if not able:
            best = max(ours, key=lambda one: float(one["accuracy"]))
            lines.append(
                f"* {about}: no metabit network here reaches it; {best['name'][9:]} ({best['accuracy']:.2f} %) "
                f"{_against(best, rival)}."
            )
            continue
        one = min(able, key=lambda one: max(_ratios(one, rival).values()))
        worse = [name for name, ratio in _ratios(one, rival).items() if ratio > 1]
        word = f"metabit is worse in {', '.join(worse)}" if worse else "metabit is not worse in any"
        lines.append(f"* {about}: {one['name'][9:]} ({one['accuracy']:.2f} %) {_against(one, rival)}: {word}.")
    return lines


def _ratios(one: Network, rival: Network) -> dict[str, float]:
    """metabit / rival, the better compiler of each at -Os."""
    cycles = {
        f"cycles on {core}": smallest(one, b, "cycles") / smallest(rival, b, "cycles") for b, core in BOARDS.items()
    }
    return {"flash": flash(one) / flash(rival), "RAM": ram(one) / ram(rival), **cycles}


def _against(one: Network, rival: Network) -> str:
    parts = [f"{ratio:.2f} of its {name}" for name, ratio in _ratios(one, rival).items()]
    return f"takes {', '.join(parts[:-1])} and {parts[-1]}"


def small(found: Sequence[Network]) -> str:
    """The best network of ours in 16 KB of flash, and in 2 KB of RAM if one is so small."""
    ours = [network for network in found if network["name"].startswith("metabit") and flash(network) <= SMALL_FLASH]
    if not ours:
        return "No metabit network here fits 16 KB of flash."
    able = [network for network in ours if ram(network) <= SMALL_RAM]
    best = max(able or ours, key=lambda one: float(one["accuracy"]))
    lacking = "" if able else "; none of them takes 2 KB or less"
    return (
        f"In 16 KB of flash, code included, the best metabit network here is {best['name'][9:]}: {best['accuracy']:.2f} % "
        f"in {flash(best):,} bytes and {ram(best):,} bytes of RAM without the input{lacking}. BitNetMCU reports 99.0 % for a "
        "dense network on pictures of 16 × 16 pixels in 16 KB of flash and 2 to 4 KB of RAM of a CH32V003 (as published)."
    )


def ram(network: Network) -> int:
    return smallest(network, "nrf52840", "ram")


ABOUT = """Features in (8-bit pixels, or 16-bit integers), scores out: encode and predict. Accuracy in per cent of all test samples,
mean ± standard deviation over the seeds; costs of the network of seed 0. Constants: everything that the network keeps in
flash, encoder included; code apart, without start-up, at -Os by the better compiler. RAM: everything but the input, with the
stack that the calls used. Cycles in thousands, zig -Os / gcc -Os / gcc -O2: mean of the first {samples} test samples, and the
worst at -Os by the better compiler; "120 on": at so many inputs that are on, by a line through the samples (zig -Os), and what one
more costs, in cycles. {on}. Every board computed the same scores as this computer. {models}.

Rivals are trained with their quantisation in torch: Adam, 20 passes, noise on the features and smoothed labels, as metabit's own
networks. By columns: the weights of the inputs that are on are added, several units a word (benchmarks/rivals/columns.c);
inputs are the bits of metabit's own encoder, as for the Tsetlin machine (coalesced, at most 16 literals a clause, trained by
green-tsetlin; a clause ends at its first false literal) and the hyperdimensional classifier. CMSIS-NN:
`arm_fully_connected_per_channel_s8` and `arm_fully_connected_s8` of {cmsis}, on pixels, or on features brought to int8."""


LEARNING = """Test accuracy in per cent of the old people, who are known before deployment, and of the new ones, before the new
people's samples and after them: mean ± standard deviation over seeds {seeds}. Every learner meets the new samples in one order,
each once. State: bytes that learning changes, with seed 0.

The head is metabit's; not learning has the output that was trained with its gates, which a head replaces. SGD and int8 learn
every weight of a hidden layer and an output, from a network that was trained before deployment on the old people (the int8
network after NITI, arXiv:2009.13108: weights, activations and errors of 8 bits, stochastic rounding); their rates were chosen
at another seed. The other learners are the rivals of [the page of the head](../learner/README.md): float32, on the features
standardised by the old people's samples, fitted on these; softmax SGD chooses its rate on them. These rivals have no code for
the boards, and a network that does not learn costs its prediction alone, so the table of costs leaves both out."""
STEPS = """Costs of one step in place, after the prediction of the same sample, with the network of seed 0. RAM: everything but the
input, state included, on the M4F. Cycles in thousands, zig -Os / gcc -Os; worst: of {samples} steps, by votes after 600 others, so
that the batch is full. The rows of MNIST only measure the cost of a step; accuracies of the head on MNIST and then Fashion-MNIST,
beside the trivial rivals, are on [its page](../learner/README.md#mnist-then-fashion-mnist-under-the-same-labels)."""


def learning(benchmark: Benchmark) -> list[str]:
    """Two tables: the accuracy of every learner on the sensors, and the costs of those with code for the boards."""
    rows, costs = [], []
    for variant, some in benchmark.done("learning").items():
        data, name = variant.split(": ", 1)
        if "before" in some[0]:
            accuracy = [
                results.spread([row[when][task] for row in some], 1, 1)
                for task in (0, 1)
                for when in ("before", "after")
            ]
            rows.append([data, name, f"{some[0]['state']:,}", *accuracy])
        found = {(cost["board"], cost["flags"]): cost for row in some for cost in row.get("costs", [])}
        if found:
            line = [data, name, f"{found['nrf52840', 'zig -Os']['ram']:,}"]
            for board in BOARDS:
                both = [found[board, flags] for flags in ("zig -Os", "gcc -Os") if (board, flags) in found]
                line += [
                    " / ".join(thousands(cost[figure]) for cost in both) for figure in ("predict", "learn", "worst")
                ]
            costs.append(line)
    if not rows:
        return []
    head = ["data", "learner", "RAM, bytes"]
    for core in BOARDS.values():
        head += [f"{core}: predict, k cycles", "learn", "worst"]
    seeds = ", ".join(map(str, sorted({row["seed"] for row in benchmark.rows("learning")})))
    columns = ["data", "learner", "state, bytes", "old people, before", "after", "new people, before", "after"]
    return [
        "", "## Learning in place", "", LEARNING.format(seeds=seeds), "",
        *results.markdown(columns, rows), "", STEPS.format(samples=SAMPLES), "", *results.markdown(head, costs),
    ]  # fmt: skip


def readme(benchmark: Benchmark) -> str:
    """README with the table of MNIST between its markers."""
    text = (benchmark.root / "README.md").read_text()
    found = sorted(networks(benchmark, "pictures").get("MNIST", []), key=lambda one: float(one["accuracy"]))
    rows = [
        [
            network["name"], results.spread([r["accuracy"] for r in network["rows"]], 1, 1), len(network["rows"]),
            thousands(flash(network)), f"{smallest(network, next(iter(BOARDS)), 'ram'):,}",
            *(thousands(smallest(network, board, "cycles")) for board in BOARDS),
        ]
        for network in found
        if "head" not in network["name"]
    ]  # fmt: skip
    head = [
        "MNIST, from 8-bit pixels",
        "accuracy",
        "seeds",
        "constants and code, KB",
        f"RAM, bytes, {next(iter(BOARDS.values()))}",
        *(f"{core}, k cycles" for core in BOARDS.values()),
    ]
    begin, end = "<!-- accuracy table: benchmarks/equal_accuracy.py writes it -->", "<!-- /accuracy table -->"
    if begin not in text:
        return text
    lines = "\n".join(results.markdown(head, rows))
    return f"{text.split(begin)[0]}{begin}\n{lines}\n{end}{text.split(end)[1]}"


def active(benchmark: Benchmark) -> str:
    """How many inputs are on in the measured samples, by data."""
    on = {
        data: next(iter(found[0]["costs"].values()))["on"]
        for name in ("pictures", "sensors")
        for data, found in networks(benchmark, name).items()
    }
    return "Inputs on: " + ", ".join(f"{data} {mean:.0f}" for data, mean in on.items())


def pages_of(benchmark: Benchmark) -> dict[str, str]:
    costs = [cost for name in ("pictures", "sensors") for row in benchmark.rows(name) for cost in row.get("costs", [])]
    if not costs:
        return {}
    rows = [row for name in benchmark.titles for row in benchmark.rows(name)]
    about = ABOUT.format(
        samples=SAMPLES,
        on=active(benchmark),
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
            lines += ["", f"## {data}", "", *table(found)]
            said = verdicts(found)
            lines += ["", "At the accuracy of each rival:", "", *said] if said else []
            lines += ["", small(found)] if data == "MNIST" else []
    lines += learning(benchmark)
    return {PAGE: "\n".join(lines) + "\n", "README.md": readme(benchmark)}


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
        title: {
            name: ([cost(one) / 1e3 for one in some], [one["accuracy"] for one in some])
            for name, some in families.items()
        }
        for title, cost in measures.items()
    }
    draw: Draw = partial(
        plots.curves, panels=panels, xlabel="constants and code, or cycles", ylabel="test accuracy, %", log=True
    )
    return {"build/pictures/equal_accuracy/mnist.svg": draw}
