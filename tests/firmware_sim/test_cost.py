"""Mean, 95th percentile and worst of calls whose costs are known, and that they are those of the calls that ran."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metabit.firmware_sim import Device, Meter, breaches, build, check, load_board, load_budgets, measure
from metabit.firmware_sim.report.cost import CallLog

BOARD = load_board("nrf52840")


def log(cycles: list[int]) -> CallLog:
    return CallLog([c - 1 for c in cycles], cycles, list(range(len(cycles))), ["all"] * len(cycles))


def test_twenty_calls_by_hand() -> None:
    """95 % of 20 calls are 19; the 19th value of 1..20 is 19. 64 cycles at 64 MHz are 0.001 ms."""
    cycles = [64 * n for n in range(20, 0, -1)]
    cost = log(cycles).cost(BOARD)
    assert (cost.samples, cost.cycles_mean, cost.cycles_p95, cost.cycles_max) == (20, 64 * 10.5, 64 * 19, 64 * 20)
    assert (cost.insns_p95, cost.insns_max) == (64 * 19 - 1, 64 * 20 - 1)
    assert (
        cost.ms_mean == pytest.approx(0.0105)
        and cost.ms_p95 == pytest.approx(0.019)
        and cost.ms_max == pytest.approx(0.02)
    )
    assert cost.worst == "sample 0 of all, call 1 of 20"


def test_the_worst_sample_is_named_by_its_dataset_and_row() -> None:
    calls = CallLog([5, 9, 7], [5, 9, 7], [40, 2, 3], ["a", "b", "b"])
    cost = calls.cost(BOARD)
    assert (cost.worst_call, cost.worst_sample, cost.worst_data) == (1, 2, "b")
    assert cost.worst == "sample 2 of b, call 2 of 3"


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300))
def test_the_course_covers_every_call(cycles: list[int]) -> None:
    cost = log(cycles).cost(BOARD)
    ends = [end for end, _, _ in cost.course]
    assert ends == sorted(set(ends)) and ends[-1] == len(cycles) and len(ends) == min(60, len(cycles))
    assert max(worst for _, _, worst in cost.course) == cost.ms_max
    sizes = np.diff([0, *ends])
    assert sum(n * mean for n, (_, mean, _) in zip(sizes, cost.course, strict=True)) == pytest.approx(
        cost.ms_mean * len(cycles)
    )
    below = sum(c <= cost.cycles_p95 for c in cycles)
    assert cost.cycles_p95 in cycles and below >= 0.95 * len(cycles)
    assert sum(c < cost.cycles_p95 for c in cycles) < 0.95 * len(cycles)


def test_a_meter_reports_the_very_calls_that_ran(image: Path) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.integers(0, 256, (40, 15)).astype(np.uint8), rng.integers(0, 5, 40)
    elf = build(image, BOARD)
    with Device(elf, BOARD) as device:
        replies = [device.predict_many(x), device.learn_many(x[::-1], y[::-1]), device.predict_many(x)]
    with Device(elf, BOARD) as device:
        meter = Meter(device)
        meter.predict(x, "test")
        for at in range(39, -1, -1):
            meter.learn(x[[at]], y[[at]], "train", [at])
        meter.predict(x, "test again")
        found = meter.measurement("an example", opt="-Os")
    predicted = np.concatenate([replies[0].cycles, replies[2].cycles])
    assert found.learn is not None
    assert found.predict.samples == 80 and found.predict.cycles_mean == predicted.mean()
    assert found.predict.worst_call == predicted.argmax() and found.predict.cycles_max == predicted.max()
    assert (found.learn.insns_max, found.learn.insns_mean) == (replies[1].insns.max(), replies[1].insns.mean())
    assert found.learn.worst_sample == 39 - replies[1].cycles.argmax() and found.learn.worst_data == "train"
    assert found.samples == "an example"


def test_measure_says_how_its_samples_were_chosen(image: Path) -> None:
    x = np.zeros((3, 15), np.uint8)
    found = measure(image, BOARD, x, [0, 1, 2], layers=False)
    assert (
        found.samples
        == "the 3 samples given, in their order, predicted with the weights of the image, then learnt once"
    )
    assert found.predict.worst.startswith("sample 0 of the 3 samples given, in their order") and found.layers == ()
    named = measure(image, BOARD, x, samples="three black squares", layers=False)
    assert named.samples == "three black squares, predicted with the weights of the image" and named.learn is None


def test_a_budget_between_mean_and_worst_is_breached(image: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    x, y = rng.integers(0, 256, (40, 15)).astype(np.uint8), rng.integers(0, 5, 40)
    found = measure(image, BOARD, x, y, layers=False)
    assert found.learn is not None and found.learn.ms_mean < found.learn.ms_max
    limit = (found.learn.ms_mean + found.learn.ms_max) / 2
    file = tmp_path / "budgets.toml"
    file.write_text(
        f"[emulator]\ninstructions_per_call = 1_000_000\n[default]\nstack_bytes = 2048\nlearn_ms = {json.dumps(limit)}\n"
    )
    assert [c.budget for c in breaches(check(found, load_budgets(file)))] == ["learn_ms"]
