"""The worked example of docs/learning-rule.md: oracle and C runtime compute every number that the page shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.export import write_image
from metabit.export.oracle.device_rule import EXP, DeviceRule
from metabit.runtime import Model

PAGE = (Path(__file__).parents[2] / "docs" / "learning-rule.md").read_text()
EXAMPLE = PAGE[PAGE.index("## One step by hand") : PAGE.index("<!-- /worked example -->")]
ROWS = {cells[0]: cells[1:] for line in EXAMPLE.splitlines() if line.startswith("| ")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]}  # fmt: skip


def numbers(text: str) -> list[int]:
    return [int(word.replace("−", "-").replace(",", "")) for word in re.findall(r"[-−]?\d[\d,]*(?<!,)", text)]


def value(row: str) -> list[int]:
    """The numbers in the last cell of a row; there a comma separates two of them."""
    return [int(word.replace("−", "-")) for word in re.findall(r"[-−]?\d+", ROWS[row][-1])]


@pytest.fixture(scope="module")
def frozen() -> Any:
    prose = EXAMPLE[: EXAMPLE.index("<!--")]
    temperature, skip_below, rate, generator = (
        numbers(re.search(pattern, prose)[1])[0]  # type: ignore[index]
        for pattern in (r"temperature\s+([\d,]+\d)", r"`skip_below` (\d+)", r"R = ([\d,]+\d)", r"z = ([\d,]+\d)")
    )
    net = network(0, (3, 2), 3, 0)
    layer = net.layers[0]
    rule = replace(
        layer.rule, strengthen=np.array(value("strengthen"), np.uint16), weaken=np.array(value("weaken"), np.uint16),
        dose=rate,
    )  # fmt: skip
    levels = np.array([value("levels, class 0"), value("levels, class 1")], np.int8)
    ones = np.ones(2, np.int32)
    layer = replace(layer, hidden=levels, mul=ones, add=0 * ones, rule=rule)
    return replace(net, layers=(layer,), temperature=temperature, margin=skip_below, generator=generator)


class Traced(DeviceRule):
    """The oracle, and what it drew and visited."""

    def __init__(self, frozen: Any) -> None:
        super().__init__(frozen)
        self.trace: list[list[int]] = []
        self.drawn_values: list[int] = []
        self.shared: list[int] = []

    def draw32(self) -> int:
        self.drawn_values.append(super().draw32())
        return self.drawn_values[-1]

    def rates(self, error: Any, dose: int, true_error: int) -> Any:
        found = super().rates(error, dose, true_error)
        self.shared = [true_error, (dose * true_error) >> 8, *(int(rate) for rate in found)]
        return found

    def visit(self, index: int, i: int, j: int, up: bool, share: int | None, done: Any) -> None:
        before = int(self.levels[index][i, j])
        super().visit(index, i, j, up, share, done)
        self.trace.append([i, j, before, int(up), self.drawn_values[-1] >> 16, int(self.levels[index][i, j])])


def test_the_oracle_and_the_runtime_compute_the_example(frozen: Any) -> None:
    x, (label,) = np.array(value("input x"), np.uint8), value("label")
    oracle, model = Traced(frozen), Model(write_image(frozen))
    packed = np.packbits(x, bitorder="little")
    assert list(oracle.scores(x)) == list(model.scores(packed[None])[0]) == value("scores s")
    e = oracle.output_error(oracle.scores(x), label)
    assert list(e) == value("e_c") and [int(EXP[n]) for n in value("n_c")] == value("q_c")

    step = oracle.learn(x, label)
    assert tuple(model.learn_one(packed, label)) == tuple(step) and not step.skipped
    assert [step.predicted] == value("predicted")
    assert oracle.shared == [*value("E"), *value("total"), *value("rate_i")]
    assert [oracle.drawn_values[0] >> 16] == value("start of the line")
    assert [step.visited, step.moved, step.flipped] == value("visited, moved, flipped")
    for (i, j, before, up, u, after), line in zip(
        oracle.trace, [k for k in ROWS if k.startswith("unit ")], strict=True
    ):
        _, level_, direction, entry, u_, after_ = ROWS[line]
        assert [i, j, before, u, after] == [
            numbers(line)[0],
            *(numbers(c)[0] for c in (ROWS[line][0], level_, u_, after_)),
        ]
        assert direction.startswith("up" if up else "down")
        table = frozen.layers[0].rule.strengthen if "strengthens" in direction else frozen.layers[0].rule.weaken
        assert [int(table[numbers(direction)[-1]])] == numbers(entry)
    assert oracle.levels[0].tolist() == [value("levels after, class 0"), value("levels after, class 1")]
    assert oracle.generator == value("generator after")[0] == int.from_bytes(model.state()[:4], "little")
    assert list(model.scores(packed[None])[0]) == value("scores after")
