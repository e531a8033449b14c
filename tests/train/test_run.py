from __future__ import annotations

import hashlib
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabit.data import Scenario, load
from metabit.data.task import Task
from metabit.train import loop as loop_module
from metabit.train import resume_file
from metabit.train.errors import DivergedError, TrainError
from metabit.train.loop import Loop
from metabit.train.network.module import Network
from metabit.train.network.norms import restore
from metabit.train.run import STATE, Run, SavedLoop, fit, run
from metabit.train.settings import Settings, defaults
from metabit.train.step import evaluate


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
    """Digest of everything that was learnt, and how."""
    tensors = [array.tobytes() for array in ran.network.tensors().values()]
    return hashlib.sha256(b"".join([*tensors, repr(ran.history).encode()])).hexdigest()


def same(one: Network, other: Network) -> bool:
    return all(np.array_equal(one.tensors()[name], tensor) for name, tensor in other.tensors().items())


def test_history_and_matrix(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []
    ran = run(toy(), settings(evaluate_every=2), tmp_path, progress=seen.append)
    assert ran.history == seen and not ran.interrupted and not ran.network.training
    places = [(row["task"], row["epoch"], row["step"]) for row in seen]
    assert places[:4] == [(0, 1, 4), (0, 2, 8), (0, 3, 12), (1, 1, 16)]
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
    "ewc": {"penalty": "ewc", "m": 0.0, "strength": 50.0},
    "si": {"penalty": "si", "m": 0.0},
    "random": {"penalty": "random", "m": 0.0, "strength": 50.0},
    "interleaved": {"interleaved": True},
}


# Step 5 is the first of its epoch, 12 the last of its task, 18 is in the middle of an epoch.
@pytest.mark.parametrize(("variant", "at"), [("paper", 5), ("paper", 12), *((variant, 18) for variant in VARIANTS)])
def test_ctrl_c_and_resume_give_the_identical_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str, at: int
) -> None:
    chosen = settings(**VARIANTS[variant])
    whole = run(toy(), chosen, tmp_path / "whole")
    step = loop_module.step

    def interrupted(*arguments: Any, number: int, **more: Any) -> Any:
        if number == at:  # a real signal, in the middle of a step
            signal.raise_signal(signal.SIGINT)
        return step(*arguments, number=number, **more)

    monkeypatch.setattr(loop_module, "step", interrupted)
    first = run(toy(), chosen, tmp_path / "parts")
    monkeypatch.undo()
    assert first.interrupted and len(first.history) < len(whole.history)
    second = run(toy(), chosen, tmp_path / "parts", resume=True)
    assert not second.interrupted and digest(second) == digest(whole)
    for name, tensor in resume_file.read(tmp_path / "whole" / STATE)[0].items():
        assert torch.equal(tensor, resume_file.read(tmp_path / "parts" / STATE)[0][name]), name
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
    monkeypatch.setattr(loop_module, "SAVE_SECONDS", 0.0)

    def crash(row: dict[str, Any]) -> None:
        if row["step"] == 16:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        run(toy(), settings(), tmp_path / "b", progress=crash)
    assert digest(run(toy(), settings(), tmp_path / "b", resume=True)) == whole


def test_resume_names_what_differs(tmp_path: Path) -> None:
    with pytest.raises(TrainError, match="there is nothing to resume"):
        run(toy(), settings(), tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
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
    assert same(own.network, shared.network)
    assert own.accuracy_matrix()[1, 0] != shared.accuracy_matrix()[1, 0]
    first = own.checkpoint(task=0).to_network()
    test = toy().task(0)
    assert evaluate(first, test.x_test, test.y_test) == own.accuracy_matrix()[1, 0]
    restore(own.network, own.norms[0])
    assert same(own.network, first)
    with pytest.raises(TrainError, match="task 0 has no normalisation of its own"):
        shared.checkpoint(task=0)


def test_interleaved_is_the_upper_bound(tmp_path: Path) -> None:
    plain = run(toy(), settings(m=0.0, epochs=6), tmp_path / "a")
    mixed = run(toy(), settings(m=0.0, epochs=6, interleaved=True), tmp_path / "b")
    assert mixed.accuracy_matrix()[2].min() > plain.accuracy_matrix()[2].min() + 0.1


def test_a_nan_stops_with_step_and_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    step = loop_module.step

    def poisoned(network: Any, *arguments: Any, number: int, **more: Any) -> Any:
        if number == 6:
            network.layers()[1].linear.hidden.data[0, 0] = np.nan
        return step(network, *arguments, number=number, **more)

    monkeypatch.setattr(loop_module, "step", poisoned)
    with pytest.raises(DivergedError, match="a parameter is not finite after step 8, first in layer 1: lower lr=0.005"):
        run(toy(), settings(), tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs=0: must be a whole number, at least 1"),
        ({"rule": "sgd"}, "the setting rule was removed: the only rule is MetaplasticAdam"),
        ({"grid_bits": 4}, "the setting grid_bits was removed: train in floats and export with --bits"),
        ({"lr": "fast"}, "lr='fast': must be a finite number >= 0"),
        ({"lr": math.inf}, "lr=inf: must be a finite number >= 0"),
        ({"epochs": 2.5}, "epochs=2.5: must be a whole number, at least 1"),
        ({"affine": 1}, "affine=1: must be true or false"),
        ({"norm": "layer"}, "norm='layer': must be one of batch, instance, static"),
        ({"m": "strong"}, "m='strong': must be a number, or a list"),
        ({"hidden": "wide"}, "hidden='wide': must be a list of unit counts"),
        ({"strength": -1.0, "penalty": "ewc"}, "strength=-1.0: must be a finite number >= 0"),
        ({"input": "uint8", "planes": 2}, "input='uint8' with planes=2: planes make bits"),
        ({"preset": "huge"}, "unknown preset 'huge': there are normed-32, normed-64, normed-128, normed-256, mlp-tiny"),
        ({"penalty": "l2"}, "penalty='l2': must be one of none, ewc, si, random"),
        ({"m": (1.0, 2.0, 3.0)}, "m has 3 values"),
        ({"colour": 3}, "unknown setting 'colour': the settings are preset"),
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
    task = toy().task(2)
    assert ran.baseline[2] == evaluate(Loop(toy(), asked).network, task.x_test, task.y_test)
    assert run(toy(), asked, tmp_path, resume=True).baseline == ran.baseline
    assert run(toy(), settings(epochs=1), tmp_path / "other").baseline is None


def test_settings_reach_the_optimizer() -> None:
    asked = settings(eps=1e-4, lr=0.001, weight_decay=1e-6, m=(3.0, 5.0))
    groups = Loop(toy(), asked).optimizer.param_groups
    assert [group["m"] for group in groups] == [3.0, 5.0, 0.0]
    assert all((g["eps"], g["lr"], g["weight_decay"]) == (1e-4, 0.001, 1e-6) for g in groups)


def test_a_setting_that_the_save_does_not_know_is_not_resumed(tmp_path: Path) -> None:
    run(toy(), settings(epochs=1), tmp_path)
    tensors, header = resume_file.read(tmp_path / STATE)
    del header["settings"]["eps"], header["version"]
    resume_file.write(tmp_path / STATE, tensors, header)
    with pytest.raises(TrainError, match="eps=None, not 1e-08"):
        run(toy(), settings(epochs=1), tmp_path, resume=True)


def test_test_sets_do_not_keep_training_sets_in_memory(tmp_path: Path) -> None:
    session = SavedLoop(toy(), settings(), tmp_path / STATE)
    assert session._test(1).x_train.base is None


def test_a_damaged_tensor_is_not_resumed(tmp_path: Path) -> None:
    run(toy(1), settings(epochs=1), tmp_path)
    path = tmp_path / STATE
    whole = path.read_bytes()
    begin = 8 + int.from_bytes(whole[:8], "little")  # the tensors follow the JSON header and its length
    for at in (begin, (begin + len(whole)) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(TrainError, match="state.safetensors is damaged .its checksum does not match"):
            run(toy(1), settings(epochs=1), tmp_path, resume=True)
    at = whole.index(b'\\"step\\": 4')  # of the place, in the JSON text
    path.write_bytes(whole[:at] + whole[at:].replace(b"4", b"3", 1))
    with pytest.raises(TrainError, match="is damaged"):
        run(toy(1), settings(epochs=1), tmp_path, resume=True)
    path.write_bytes(whole)
    assert not run(toy(1), settings(epochs=1), tmp_path, resume=True).interrupted


def test_torchrun_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(TrainError, match="start one process, without torchrun"):
        run(toy(1), settings(epochs=1), tmp_path)


def test_fit_is_the_run_of_one_task(tmp_path: Path) -> None:
    asked = settings(m=9.0, seed=4)
    ran = run(toy(1), asked, tmp_path)
    network, task = Network(asked.spec(toy().task(0, 4), 10)), toy().task(0, 4)
    history = fit(network, task, epochs=asked.epochs, m=9.0, seed=4)
    assert [epoch.loss for epoch in history.epochs] == [row["loss"] for row in ran.history]
    assert same(network, ran.network)


def test_a_preset_brings_settings_and_input_brings_planes() -> None:
    chosen = Settings.of(defaults("toy"), preset="gates-192", epochs=3)
    assert (chosen.lr, chosen.eps, chosen.m, chosen.epochs) == (0.3, 0.01, 20.0, 3)
    assert Settings.of(chosen).lr == 0.3 and Settings.of(defaults("toy")).lr == 0.005
    assert Settings.of(defaults("toy"), input="uint8").planes == 0
    assert Settings.of(defaults("mnist"), input="bits").planes == 1
