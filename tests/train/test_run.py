from __future__ import annotations

import hashlib
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabit.data import Scenario, load
from metabit.data.task import Task
from metabit.train import run as run_module
from metabit.train.errors import DivergedError, TrainError
from metabit.train.network.norms import restore
from metabit.train.run import STATE, Run, run
from metabit.train.settings import Settings, defaults


def toy(count: int = 3) -> Scenario:
    """Rotated digits, a quarter of each."""
    whole = load("rotated-digits")

    def make(i: int, seed: int) -> Task:
        task = whole.task(i, seed)
        return replace(task, x_train=task.x_train[:360], y_train=task.y_train[:360])

    return replace(whole, name="toy", make=make).first(count)


def settings(**changes: Any) -> Settings:
    return Settings.of(defaults("toy"), **{"hidden": (32,), "epochs": 3, "output": "learned", **changes})


def digest(ran: Run) -> str:
    """Of everything that was learnt, and how."""
    tensors = [array.tobytes() for array in ran.network.tensors().values()]
    return hashlib.sha256(b"".join([*tensors, repr(ran.history).encode()])).hexdigest()


def test_history_and_matrix(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    ran = run(toy(), settings(evaluate_every=2), tmp_path, progress=seen.append)
    assert ran.history == seen and not ran.interrupted and not ran.network.training
    assert [(row["task"], row["epoch"], row["step"]) for row in seen][:4] == [
        (0, 1, 4),
        (0, 2, 8),
        (0, 3, 12),
        (1, 1, 16),
    ]
    assert [len(row["accuracy"]) for row in seen] == [0, 1, 1, 0, 2, 2, 0, 3, 3]
    assert all(0 < row["flipped"] < 1 and 0 <= row["train_accuracy"] <= 1 for row in seen)
    matrix = ran.accuracy_matrix()
    assert matrix.shape == (3, 3) and np.isnan(matrix[np.triu_indices(3, 1)]).all()
    assert matrix[2].tolist() == seen[-1]["accuracy"] and matrix[0, 0] == seen[2]["accuracy"][0] > 0.5


def test_tasks_not_yet_seen_can_be_tested(tmp_path: Path) -> None:
    ran = run(toy(), settings(epochs=1, evaluate_all=True), tmp_path)
    assert np.isfinite(ran.accuracy_matrix()).all()


def test_equal_settings_equal_results(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = digest(run(toy(), settings(), tmp_path / "a"))
    torch.manual_seed(2)
    assert digest(run(toy(), settings(), tmp_path / "b")) == first
    assert digest(run(toy(), settings(seed=1), tmp_path / "c")) != first


VARIANTS: dict[str, dict[str, Any]] = {
    "paper": {"m": 8.0, "per_task_norm": True},
    "one optimizer": {"m": (8.0, 4.0), "fresh_moments": False},
    "static": {"norm": "static"},
    "instance": {"norm": "instance"},
    "ewc": {"penalty": "ewc", "rule": "plain", "penalty_options": {"strength": 50.0}},
    "si": {"penalty": "si", "rule": "plain"},
    "sgd": {"rule": "metaplastic-sgd", "lr": 0.5},
    "grid": {"grid_bits": 4},
    "interleaved": {"interleaved": True},
}


# Step 5 is the first of its epoch, 12 the last of its task, 18 is in the middle of an epoch.
@pytest.mark.parametrize(("variant", "at"), [("paper", 5), ("paper", 12), *((variant, 18) for variant in VARIANTS)])
def test_ctrl_c_and_resume_give_the_identical_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, at: int
) -> None:
    chosen = settings(**VARIANTS[variant])
    whole = run(toy(), chosen, tmp_path / "whole")
    step = run_module.step

    def interrupted(*arguments: Any, number: int, **more: Any) -> Any:
        if number == at:  # a real signal, in the middle of a step
            signal.raise_signal(signal.SIGINT)
        return step(*arguments, number=number, **more)

    monkeypatch.setattr(run_module, "step", interrupted)
    first = run(toy(), chosen, tmp_path / "parts")
    monkeypatch.undo()
    assert first.interrupted and len(first.history) < len(whole.history)
    second = run(toy(), chosen, tmp_path / "parts", resume=True)
    assert not second.interrupted and digest(second) == digest(whole)
    for name, tensor in run_module.state.read(tmp_path / "whole" / STATE)[0].items():
        assert torch.equal(tensor, run_module.state.read(tmp_path / "parts" / STATE)[0][name]), name
    again = run(toy(), chosen, tmp_path / "parts", resume=True)  # nothing is left to do
    assert digest(again) == digest(whole)


def test_ctrl_c_in_progress_and_a_lost_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(row: dict[str, Any]) -> None:
        if row["step"] == 12:
            raise KeyboardInterrupt

    whole = digest(run(toy(), settings(), tmp_path / "whole"))
    assert run(toy(), settings(), tmp_path / "a", progress=interrupt).interrupted
    assert digest(run(toy(), settings(), tmp_path / "a", resume=True)) == whole

    # A crash loses what came after the last save, and nothing else.
    monkeypatch.setattr(run_module, "SAVE_SECONDS", 0.0)

    def crash(row: dict[str, Any]) -> None:
        if row["step"] == 16:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(toy(), settings(), tmp_path / "b", progress=crash)
    assert digest(run(toy(), settings(), tmp_path / "b", resume=True)) == whole


def test_resume_names_what_differs(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="there is nothing to resume"):
        run(toy(), settings(), tmp_path, resume=True)
    run(toy(1), settings(epochs=1), tmp_path)
    with pytest.raises(TrainError, match=r"started with m=25.0, not 3.0: resume with the same settings"):
        run(toy(1), settings(epochs=1, m=3.0), tmp_path, resume=True)
    with pytest.raises(TrainError, match="started with tasks=1, not 2"):
        run(toy(2), settings(epochs=1), tmp_path, resume=True)
    (tmp_path / STATE).write_bytes(b"not at all")
    with pytest.raises(TrainError, match="is damaged or no saved run"):
        run(toy(1), settings(epochs=1), tmp_path, resume=True)


def test_each_task_keeps_its_own_norm(tmp_path: Path) -> None:
    own = run(toy(2), settings(per_task_norm=True, epochs=6), tmp_path / "own")
    shared = run(toy(2), settings(epochs=6), tmp_path / "shared")
    assert sorted(own.norms) == [0, 1] and not shared.norms
    assert all(
        np.array_equal(a, b)
        for a, b in zip(own.network.tensors().values(), shared.network.tensors().values(), strict=True)
    )
    assert own.accuracy_matrix()[1, 0] != shared.accuracy_matrix()[1, 0]
    first = own.checkpoint(task=0).to_network()
    test = toy().task(0)
    assert run_module.evaluate(first, test.x_test, test.y_test) == own.accuracy_matrix()[1, 0]
    restore(own.network, own.norms[0])
    assert all(
        np.array_equal(a, b) for a, b in zip(own.network.tensors().values(), first.tensors().values(), strict=True)
    )
    with pytest.raises(TrainError, match="task 0 has no normalisation of its own"):
        shared.checkpoint(task=0)


def test_interleaved_is_the_upper_bound(tmp_path: Path) -> None:
    plain = run(toy(), settings(m=0.0, epochs=6), tmp_path / "a")
    mixed = run(toy(), settings(m=0.0, epochs=6, interleaved=True), tmp_path / "b")
    assert mixed.accuracy_matrix()[2].min() > plain.accuracy_matrix()[2].min() + 0.1


def test_a_nan_stops_with_step_and_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = run_module.step

    def poisoned(network: Any, *arguments: Any, number: int, **more: Any) -> Any:
        if number == 6:
            network.layers()[1].linear.hidden.data[0, 0] = np.nan
        return step(network, *arguments, number=number, **more)

    monkeypatch.setattr(run_module, "step", poisoned)
    with pytest.raises(DivergedError, match="a parameter is not finite after step 8, first in layer 1: lower lr=0.005"):
        run(toy(), settings(), tmp_path)


def test_weights_stay_on_the_grid(tmp_path: Path) -> None:
    ran = run(toy(1), settings(grid_bits=3, m=10.0), tmp_path)
    hidden = ran.network.tensors()["layers.0.hidden"]
    assert len(np.unique(hidden)) <= 8 and np.abs(hidden).max() <= 0.3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be a whole number, at least 1"),
        ({"rule": "sgd"}, "rule='sgd': must be one of metaplastic"),
        ({"preset": "huge"}, "unknown preset 'huge': there are mlp-tiny"),
        ({"penalty": "l2"}, "unknown penalty 'l2': there are none, ewc"),
        ({"penalty": "si", "penalty_options": {"foo": 1}}, "penalty 'si' does not take these options"),
        ({"grid_bits": 9}, "grid_bits=9: must be from 2 to 8"),
        ({"grid_bits": 4, "m": 0.0}, "grid_bits=4 with m=0 in layer 0: say where the grid ends with grid_span"),
        ({"m": (1.0, 2.0, 3.0)}, "m has 3 values"),
        ({"colour": 3}, "unknown setting 'colour'"),
        ({"batch": 1}, "needs at least 2 samples in a batch"),
    ],
)
def test_wrong_settings_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        run(toy(), settings(**changes), tmp_path)


def test_baseline_of_the_untrained_network_survives_a_resume(tmp_path: Path) -> None:
    asked = settings(evaluate_all=True, epochs=1)
    ran = run(toy(), asked, tmp_path)
    assert ran.baseline is not None and len(ran.baseline) == 3
    network = run_module.Network(asked.spec(toy().task(0), 10))
    task = toy().task(2)
    assert ran.baseline[2] == run_module.evaluate(network, task.x_test, task.y_test)
    assert run(toy(), asked, tmp_path, resume=True).baseline == ran.baseline
    assert run(toy(), settings(epochs=1), tmp_path / "other").baseline is None


def test_settings_reach_the_optimizer() -> None:
    asked = settings(eps=1e-4, lr=0.001, weight_decay=1e-6, m=(3.0, 5.0))
    learner = run_module.Learner(run_module.Network(asked.spec(toy().task(0), 10)), asked)
    groups = learner.optimizer.param_groups
    assert [group["m"] for group in groups] == [3.0, 5.0, 0.0]
    assert all((g["eps"], g["lr"], g["weight_decay"]) == (1e-4, 0.001, 1e-6) for g in groups)


def test_a_setting_that_the_save_does_not_know_is_not_resumed(tmp_path: Path) -> None:
    run(toy(), settings(epochs=1), tmp_path)
    tensors, header = run_module.state.read(tmp_path / STATE)
    del header["settings"]["eps"], header["version"]
    run_module.state.write(tmp_path / STATE, tensors, header)
    with pytest.raises(TrainError, match="eps=None, not 1e-08"):
        run(toy(), settings(epochs=1), tmp_path, resume=True)


def test_eps_is_adams_alone(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="leave it out"):
        run(toy(), settings(rule="metaplastic-sgd", eps=1e-4), tmp_path)


def test_test_sets_do_not_keep_training_sets_in_memory(tmp_path: Path) -> None:
    session = run_module._Session(toy(), settings(), tmp_path / STATE)
    assert session._test(1).x_train.base is None
