"""`metabit train`: scenarios by name, one's own files, and going on after Ctrl-C."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metabit import train
from metabit.cli.commands.train import REMOVED
from metabit.data import load, thermometer
from metabit.data.scenarios import SCENARIOS
from metabit.experiments.rivals import SLDA
from metabit.runtime import Model
from metabit.train import loop as loop_module
from metabit.train.settings import Settings

torch.set_num_threads(1)
SMALL = ("--hidden", 24, "--epochs", 2, "--set", "batch=50")


def test_help_lists_every_scenario_and_preset(metabit: Any) -> None:
    text = metabit("train", "permuted-mnist", "--help").out
    assert all(name in text and row.summary in text for name, row in SCENARIOS.items())
    assert all(name in text for name in train.PRESETS)


def test_a_sequence(metabit: Any) -> None:
    ran = metabit("train", "rotated-digits", "--tasks", 2, *SMALL, "--plot", "-o", "seq")
    assert ran.code == 0 and "just learnt" in ran.out and "seq/checkpoint.safetensors: 4 epochs" in ran.out
    assert {path.name for path in Path("seq").iterdir()} == {
        "checkpoint.safetensors", "state.safetensors", "history.json", "history.csv",
        "accuracy.svg", "matrix.svg", "hidden.svg",
    }  # fmt: skip
    rows = list(csv.DictReader(Path("seq/history.csv").open()))
    assert len(rows) == 4 and rows[0]["accuracy_1"] == "" != rows[3]["accuracy_1"]
    history = json.loads(Path("seq/history.json").read_text())
    assert history["summary"]["mean_accuracy"] == pytest.approx(np.mean(history["history"][-1]["accuracy"]))
    checkpoint = train.load_checkpoint("seq/checkpoint.safetensors")
    assert checkpoint.provenance["settings"]["hidden"] == [24] and checkpoint.history == history["history"]
    assert metabit("export", "seq/checkpoint.safetensors").code == 0


def test_json_says_what_was_reached(metabit: Any) -> None:
    facts = metabit("train", "digits", *SMALL, "--json").json()
    assert facts["epochs"] == 2 and not facts["interrupted"] and facts["tasks"] == 1
    assert facts["accuracy"] == [facts["test_accuracy"]] == [facts["mean_accuracy"]]
    assert facts["accuracy_matrix"] == [facts["accuracy"]]


def test_a_single_task_is_what_fit_makes_of_it(metabit: Any) -> None:
    metabit("train", "digits", *SMALL, "--m", 9, "--seed", 4)
    task = load("digits", seed=4).whole()
    spec = train.Spec(64, (24,), 10, thermometer(task.x_train, 4), output="code", seed=4, image=(8, 8, 1))
    network = train.Network(spec)
    train.fit(network, task, epochs=2, batch=50, m=9.0, seed=4)
    saved = train.load_checkpoint("out/checkpoint.safetensors")
    assert saved.spec == spec
    assert all(np.array_equal(saved.tensors[name], tensor) for name, tensor in network.tensors().items())


def interrupt(monkeypatch: pytest.MonkeyPatch, at: int) -> Any:
    """Ctrl-C at the step of this number, counted from 0. Returns what makes steps otherwise."""
    step = loop_module.step

    def interrupted(*arguments: Any, number: int, **more: Any) -> Any:
        if number == at:
            signal.raise_signal(signal.SIGINT)
        return step(*arguments, number=number, **more)

    monkeypatch.setattr(loop_module, "step", interrupted)
    return step


def test_ctrl_c_in_the_first_epoch_says_what_was_kept(metabit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt(monkeypatch, 1)
    ran = metabit("train", "split-digits", "--tasks", 2, *SMALL)
    assert ran.code == 130 and "0 epochs" not in ran.out
    assert "Interrupted after a part of the first epoch; the state is saved, and --resume continues." in ran.out
    assert "out/checkpoint.safetensors: a part of the first epoch on split-digits" in ran.out
    assert Path("out/state.safetensors").is_file() and Path("out/checkpoint.safetensors").is_file()


@pytest.mark.parametrize("more", [(), ("--set", "evaluate_all=true", "--set", "evaluate_every=2")])
def test_resume_after_ctrl_c_gives_the_identical_checkpoint(
    metabit: Any, monkeypatch: pytest.MonkeyPatch, more: tuple[Any, ...]
) -> None:
    words = ("train", "split-digits", "--tasks", 2, *SMALL, *more)
    metabit(*words)
    checkpoint = Path("out/checkpoint.safetensors")
    whole = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    step = interrupt(monkeypatch, 8)
    first = metabit(*words)
    monkeypatch.setattr(loop_module, "step", step)
    assert first.code == 130 and "Interrupted after 1 epoch;" in first.out and "--resume continues" in first.out
    assert Path("out/history.csv").stat().st_size > 0  # also where nothing was tested yet
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() != whole
    assert metabit(*words, "--resume").code == 0
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() == whole


def test_ones_own_files(metabit: Any) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    x = (60 * y[:, None] + rng.integers(0, 40, (90, 5))).astype(np.uint8)
    np.savez("my.npz", x=x, y=y, task=np.repeat([1, 2, 3], 30))
    assert metabit("train", "my.npz", *SMALL, "--json").json()["tasks"] == 3
    assert metabit("train", "file:my.npz", "--set", "input=uint8", *SMALL, "--json").json()["tasks"] == 3
    assert metabit("train", "my.npz:2", *SMALL, "--json").json()["tasks"] == 1
    Path("my.csv").write_text(
        "a,b,c,d,e,label\n" + "\n".join(",".join(map(str, [*row, label])) for row, label in zip(x, y, strict=True))
    )
    words = ("--m", 5, "--m", 0, "--set", "output=learned", "--json")
    assert metabit("train", "my.csv", *SMALL, *words).json()["epochs"] == 2


@pytest.mark.parametrize("flag", sorted(REMOVED))
def test_a_removed_option_says_what_replaces_it(metabit: Any, flag: str) -> None:
    ran = metabit("train", "digits", flag, "7", "-o", "out")
    assert ran.code == 2 and flag in ran.err and not Path("out").exists()
    named = [word.partition("=")[0] for word in ran.err.split() if "=" in word]
    assert ("was removed: " in ran.err) or all(name in Settings.__dataclass_fields__ for name in named) and named
    assert "7" in ran.err or "{value}" not in REMOVED[flag]


def test_settings_from_files_and_by_name(metabit: Any) -> None:
    Path("a.toml").write_text("lr = 0.02\nhidden = [24]\nepochs = 1\nper_task_norm = true\nm = [3.0]\n")
    Path("a.json").write_text('{"lr": 0.02, "hidden": [24], "epochs": 1, "per_task_norm": true, "m": [3.0]}')
    for name in ("a.toml", "a.json"):
        words = ("--settings", name, "--set", "lr=0.03", "--set", "eps=1e-4", "-o", name[2:])
        assert metabit("train", "digits", *words).code == 0
    made = [train.load_checkpoint(f"{folder}/checkpoint.safetensors") for folder in ("toml", "json")]
    settings = made[0].provenance["settings"]
    assert settings == made[1].provenance["settings"]
    assert [settings[name] for name in ("lr", "eps", "hidden", "epochs", "m")] == [0.03, 1e-4, [24], 1, [3.0]]
    assert all(np.array_equal(made[0].tensors[name], made[1].tensors[name]) for name in made[0].tensors)


SPREAD = np.random.default_rng(11)
OWN_Y = np.arange(300) % 3
OWN_X = SPREAD.normal(size=(300, 6)) * 1e3 + 2e3 * np.eye(3, 6)[OWN_Y]


def own(path: str, samples: int = 300) -> str:
    np.savez(path, x=OWN_X[:samples], y=np.array(["a", "b", "c"])[OWN_Y[:samples]])
    return path


def test_own_data_end_with_the_learners_judged_beside_their_rivals(metabit: Any) -> None:
    ran = metabit("train", own("own.npz"), "--epochs", 20)
    assert ran.code == 0 and "accuracy before and after learning in place" in ran.out
    for word in ("metabit (head)", "metabit (levels)", "metabit (none)", "softmax SGD", "SLDA", "nearest class mean"):
        assert word in ran.out
    assert "all 60 held-out ones, which training did not see" in " ".join(ran.out.split())
    assert "To learn on the device, export the learner" in ran.out and " better" in ran.out
    told = metabit("train", "own.npz", "--epochs", 20, "--json").json()
    judged = told["judged"]
    assert told["not_judged"] is None and judged["samples"] == 60 and judged["command"] in ran.out.splitlines()
    assert all(sentence in ran.out for sentence in judged["verdicts"])
    # the command exports what was judged, to the byte and to the sample
    assert judged["command"].split()[:2] == ["metabit", "export"]
    assert metabit(*judged["command"].split()[1:], "--formats", "mbit").code == 0
    first = judged["lines"][0]
    assert first["name"] == f"metabit ({judged['learner']})"
    assert Model.open("out/model.mbit").state_size == first["state"]
    ran = metabit("run", "--data", "own.npz", "--json").json()
    assert ran["accuracy_before"]["own.npz"] == pytest.approx(first["before"]["mixed"])


def test_a_rival_that_wins_is_named(metabit: Any) -> None:
    """Classes that a plane separates, in more dimensions than 4 gates can look at."""
    rng = np.random.default_rng(2)
    y = np.arange(400) % 4
    np.savez("linear.npz", x=rng.normal(size=(400, 20)) + (0.7 * rng.normal(size=(4, 20)))[y], y=y)
    judged = metabit("train", "linear.npz", "--hidden", 4, "--epochs", 20, "--json").json()["judged"]
    better = [
        line for line in judged["lines"][4:] if sum(line["after"].values()) > sum(judged["lines"][0]["after"].values())
    ]
    said = judged["verdicts"][-1]
    assert better and "is better here" in said and any(line["name"].lower() in said.lower() for line in better)


def test_too_few_held_out_samples_are_not_judged(metabit: Any) -> None:
    words = ("train", own("few.npz", 60), "--epochs", 2)
    assert "The learners were not judged: 12 held-out samples say too little, at least 20" in metabit(*words).out
    told = metabit(*words, "--json").json()
    assert told["judged"] is None and told["not_judged"].startswith("12 held-out samples")


def test_networks_of_the_paper_have_one_learner_and_are_not_judged(metabit: Any) -> None:
    assert "judged" not in metabit("train", "digits", *SMALL, "--json").json()
    assert "in place" not in metabit("train", "digits", *SMALL).out
    assert "it is not judged" in " ".join(metabit("train", "--help").out.split())


def test_ctrl_c_while_judging_keeps_the_network(metabit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = metabit("train", own("own.npz"), "--epochs", 3, "-o", "whole")
    assert whole.code == 0
    monkeypatch.setattr(SLDA, "learn", lambda *_: signal.raise_signal(signal.SIGINT))
    ran = metabit("train", "own.npz", "--epochs", 3)
    assert ran.code == 130 and "3 epochs on own.npz" in ran.out
    assert "The learners were not judged: interrupted; the network is trained and saved whole." in ran.out
    made = [train.load_checkpoint(f"{folder}/checkpoint.safetensors").tensors for folder in ("whole", "out")]
    assert all(np.array_equal(made[0][name], made[1][name]) for name in made[0])
