"""The way home: a network of a device becomes a checkpoint, and the checkpoint that network again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import conv, fresh_network, gates_network, inputs, network, ternary, voting, windowed
from random_checkpoint import checkpoint as random_checkpoint
from sklearn.datasets import load_wine

from metabit.export import (
    Counters,
    ExportError,
    Frozen,
    GateOptions,
    HeadLayer,
    HeadRows,
    Notes,
    Oracle,
    VisitOptions,
    VoteOptions,
    freeze,
    freeze_gates,
    freeze_graded,
    fresh_votes,
    frozen_of,
    read_image,
    thaw,
    write_image,
)
from metabit.export.oracle.gates import GateLayer
from metabit.runtime import Model
from metabit.train import Checkpoint, load_checkpoint
from metabit.train.gates_checkpoint import GatesCheckpoint
from metabit.train.penalties import PENALTIES
from metabit.train.recipe import fit_recipe
from metabit.train.rule.metaplastic import MetaplasticAdam
from metabit.train.step import step

VOTES = VoteOptions(bits=3, thresholds=(40, 150), batch=32, skip_below=0.0)


def taught(frozen: Frozen, steps: int = 60) -> Frozen:
    """The network after steps on a device, with a counter that training has not."""
    model = Model(write_image(frozen))
    if model.learner != "none":
        labels = np.random.default_rng(1).integers(0, frozen.classes, steps)
        model.learn_many(inputs(frozen, steps, 1), labels)
    return replace(read_image(model.image()), notes=frozen.notes)


NETWORKS: dict[str, Frozen] = {
    "visits": network(1, (11, 20, 9, 5), 4, 3),
    "visits, names, counters": replace(network(2, (9, 17, 4), 2, 2), notes=Notes(("a", "b", "c", "d")), counters=Counters(9, 8, 7)),
    "visits, ternary, 8 bits": ternary(network(3, (12, 33, 18, 3), 8, 0)),
    "output alone": network(4, (40, 6), 3, 0),
    "convolutions": windowed(5, (8, 7, 3), (conv(33, 3, 2, True), conv(50, 2, pool=2)), (10, 4), "bits", 3),
    "convolutions, planes": windowed(6, (6, 5, 2), (conv(9, 3, 2, True),), (6,), "2", 4),
    "convolutions, bytes": windowed(7, (9, 8, 3), (conv(12, 3, 1, True, 2),), (18, 5), "uint8", 5, (True, False)),
    "bytes": windowed(8, (1, 1, 45), (), (34, 3), "uint8", 4, (False, True)),
    "does not learn, levels of 3 bits": windowed(9, (5, 5, 1), (conv(6, 3),), (4,), "bits", 2, (False,), 3),
    "static, code": freeze(random_checkpoint((8, 30, 12, 4), "static", code=True, planes=2), VisitOptions(bits=4)),
    "batch, code": freeze(random_checkpoint((8, 30, 4), "batch", code=True, planes=2), VisitOptions(bits=2, m=0.0)),
    "graded": fresh_votes(21, 33, 5, VOTES),
    "levels that learn": gates_network(10, 21, 2, 33, 3, "levels", k=4, learns=True, shared=True),
    "levels": gates_network(11, 11, 3, 40, 5, "levels", "int16", scaled=True, notes=Notes(("a", "b", "c", "d", "e"), ())),
    "head": gates_network(12, 9, 5, 7, 6, kind="int16", scaled=True, spare=2, notes=Notes(tuple("abcd"), tuple("ABCDEFGHI"))),
    "head, packed bits": gates_network(13, 37, 0, 12, 3),
    "head, rows": gates_network(14, 13, 3, 8, 4, spare=1, rows=HeadRows(3, 1, 2), row_count=9),
}  # fmt: skip


@pytest.fixture(params=NETWORKS, scope="module")
def frozen(request: pytest.FixtureRequest) -> Frozen:
    return taught(NETWORKS[request.param])


def units_of(frozen: Frozen, x: np.ndarray) -> list[np.ndarray]:
    """Sums of every layer of sign units, (n, N), from the oracle's inputs of every layer."""
    oracle, found = Oracle(frozen), []
    for given in frozen.unpack(x):
        found.append([*oracle.forward(given)[0], oracle.scores(given)])
    return [np.array(rows) for rows in zip(*found, strict=True)]


def test_it_comes_back_byte_for_byte(frozen: Frozen, tmp_path: Path) -> None:
    """Learned networks, through the file; and the way a second time gives equal floats."""
    home = thaw(frozen, {"data": "mine"})
    home.write(tmp_path / "checkpoint.safetensors")
    read = load_checkpoint(tmp_path / "checkpoint.safetensors")
    assert read.provenance["data"] == "mine" and read.device == write_image(frozen)
    assert write_image(frozen_of(read)) == write_image(frozen)
    again = thaw(frozen_of(read))
    assert all(np.array_equal(again.tensors[name], tensor) for name, tensor in home.tensors.items())


def test_the_floats_alone_say_what_the_integers_say(frozen: Frozen) -> None:
    """Levels, thresholds and gates of the ordinary way of export, which knows nothing of the image."""
    home = thaw(frozen)
    if isinstance(home, GatesCheckpoint):
        made = freeze_gates(home, options=GateOptions(learner="none"))
        for name in ("hidden", "mul", "add", "shift"):
            assert np.array_equal(getattr(made.layers[0], name), getattr(frozen.layers[0], name)), name
        if not isinstance(frozen.layers[-1], HeadLayer):
            assert np.array_equal(made.layers[-1].hidden, frozen.layers[-1].hidden)
        return
    alone = replace(home, device=None)
    made = freeze_graded(alone) if home.spec.units == "graded" else freeze(alone, VisitOptions(bits=1))
    for new, old in zip(made.layers, frozen.layers, strict=True):
        assert np.array_equal(new.weights, old.weights)
        if old.kind in ("conv", "dense"):
            most = old.inputs * (255 if old.takes == "bytes" else 1)
            assert np.array_equal(new.theta, np.clip(old.theta, -most, most + 1))  # type: ignore[attr-defined]
    moved = {name: tensor for name, tensor in home.tensors.items() if name.endswith("hidden")}
    for i, (name, tensor) in enumerate(moved.items()):
        changed = np.where(frozen.layers[i].hidden == 0, -tensor, tensor).astype(np.float32)  # 0 becomes -1
        back = frozen_of(replace(home, tensors=home.tensors | {name: changed}))
        assert np.array_equal(
            back.layers[i].hidden, np.where(frozen.layers[i].hidden == 0, -1, frozen.layers[i].hidden)
        )


def test_pytorch_computes_the_integers_of_the_device(frozen: Frozen) -> None:
    x, home = inputs(frozen, 40, 3), thaw(frozen)
    features = torch.from_numpy(frozen.unpack(x).copy())
    *signals, scores = units_of(frozen, x)
    if isinstance(home, GatesCheckpoint):
        bits = home.encoder.compare(features.numpy())
        assert np.array_equal(bits, signals[0])
        levels, found = home.to_network().integers(torch.from_numpy(bits))
        first: Any = frozen.layers[0]
        gates = GateLayer(first.inputs, first.mul, first.add, first.shift)
        assert np.array_equal(levels, gates.levels(bits.astype(int) @ first.weights.T))
        if not isinstance(frozen.layers[-1], HeadLayer):
            assert np.array_equal(levels, signals[-1]) and np.array_equal(found, scores)
        return
    net = home.to_network()
    sums, graded = net.accumulators(features), home.spec.units == "graded"
    for layer, signal, a in zip(frozen.layers[:-1], signals[1:], sums, strict=False):
        if layer.kind == "dense":
            assert np.array_equal(np.where(a >= layer.theta, 1, -1), signal)  # type: ignore[attr-defined]
    output: Any = frozen.layers[-1]
    assert np.array_equal(sums[-1] * output.mul.astype(np.int64) + output.add, scores)
    if not graded and home.spec.normalised(len(frozen.layers) - 1):
        with torch.no_grad():
            floats = net(features).numpy().astype(np.float64) * 65536 / frozen.temperature
        assert np.abs(floats - scores).max() <= 0.5


def test_a_device_learns_on_as_if_it_never_left(frozen: Frozen) -> None:
    stayed, back = Model(write_image(frozen)), Model(write_image(frozen_of(thaw(frozen))))
    if stayed.learner == "none":
        return
    labels = np.random.default_rng(5).integers(0, frozen.classes, 100)
    for model in (stayed, back):
        model.learn_many(inputs(frozen, 100, 5), labels)
    assert stayed.image() == back.image() and stayed.snapshot() == back.snapshot()


def hundred_steps(home: Checkpoint) -> Checkpoint:
    """The checkpoint after 100 steps, from moments of zero, with batches of a seed."""
    net, rng = home.to_network().train(), np.random.default_rng(8)
    groups = [{"params": [a.linear.hidden], "m": m} for a, m in zip(net.layers(), home.m, strict=False)]
    groups.append({"params": [p for a in net.layers() for p in a.norm.parameters()], "m": 0.0})
    optimizer = MetaplasticAdam([group for group in groups if group["params"]], lr=0.005)  # type: ignore[arg-type]
    for number in range(100):
        x = rng.integers(
            0, 256 if home.spec.encode is not None or home.spec.input == "uint8" else 2, (16, home.spec.features)
        )
        y = torch.from_numpy(rng.integers(0, home.spec.classes, 16))
        step(net, optimizer, torch.from_numpy(x.astype(np.uint8)), y, number=number, penalty=PENALTIES["none"](seed=0))
    return replace(home, tensors=net.eval().tensors())


@pytest.mark.parametrize("name", ["visits", "static, code", "convolutions, bytes", "graded"])
def test_training_goes_on_as_if_it_never_left(name: str, tmp_path: Path) -> None:
    here = thaw(taught(NETWORKS[name]))
    assert isinstance(here, Checkpoint)
    there = thaw(read_image(write_image(frozen_of(here))))
    assert isinstance(there, Checkpoint)
    stayed, back = hundred_steps(here), hundred_steps(there)
    assert not np.array_equal(stayed.tensors["layers.0.hidden"], here.tensors["layers.0.hidden"])
    for tensor in stayed.tensors:
        assert stayed.tensors[tensor].tobytes() == back.tensors[tensor].tobytes()
    assert write_image(frozen_of(stayed)) == write_image(frozen_of(back)) != write_image(frozen_of(here))


@pytest.mark.parametrize("name", ["head, rows", "levels that learn"])
def test_training_of_gates_goes_on_as_if_it_never_left(name: str) -> None:
    here = thaw(taught(NETWORKS[name]))
    assert isinstance(here, GatesCheckpoint)
    there = thaw(read_image(write_image(frozen_of(here))))
    assert isinstance(there, GatesCheckpoint)
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 256, (90, len(here.encoder.low))), rng.integers(0, here.classes, 90)
    nets = [fit_recipe(x, y, classes=here.classes, steps=100, seed=4, start=start).network for start in (here, there)]
    stayed, back = ({name: value.numpy().tobytes() for name, value in net.state_dict().items()} for net in nets)
    assert stayed == back
    began = here.to_network().state_dict()
    assert all(stayed[name] != value.numpy().tobytes() for name, value in began.items() if name.endswith("hidden"))


def test_what_stays_and_what_is_made_anew_after_training() -> None:
    was = taught(NETWORKS["visits"])
    home = hundred_steps(thaw(was))  # type: ignore[arg-type]
    now = frozen_of(home)
    assert (now.generator, now.counters, now.skip_below) == (was.generator, was.counters, was.skip_below)
    for new, old in zip(now.layers, was.layers, strict=True):
        assert np.array_equal(new.rule.weaken, old.rule.weaken) and new.rule.dose == old.rule.dose  # type: ignore[union-attr]
        assert not np.array_equal(new.hidden, old.hidden)
    x = torch.from_numpy(inputs(now, 60, 4))
    with torch.no_grad():
        floats = home.to_network()(x).numpy()
    ours = np.array([Oracle(now).scores(row) for row in x.numpy()])
    assert (floats.argmax(1) == ours.argmax(1)).mean() > 0.95  # of scores that rounding may make equal
    other = frozen_of(replace(home, rule=replace(home.rule, m=(1.0, *home.m[1:]))))
    assert not np.array_equal(other.layers[0].rule.weaken, was.layers[0].rule.weaken)  # type: ignore[union-attr]
    graded = taught(NETWORKS["graded"])
    assert graded.layers[0].kept is not None  # type: ignore[attr-defined]
    assert frozen_of(hundred_steps(thaw(graded))).layers[0].kept is None  # type: ignore[arg-type, attr-defined]


def test_a_head_is_fitted_anew_where_its_gates_changed() -> None:
    was = taught(NETWORKS["head, rows"])
    home = thaw(was)
    assert isinstance(home, GatesCheckpoint)
    changed = home.tensors | {"hidden": -home.tensors["hidden"]}
    with pytest.raises(ExportError, match="metabit train --start"):
        frozen_of(replace(home, tensors=changed))
    rng = np.random.default_rng(2)
    x, y = rng.integers(0, 256, (90, 13)), rng.integers(0, 3, 90)
    now = freeze_gates(replace(home, tensors=changed), x, y)
    head, old = now.layers[-1], was.layers[-1]
    assert isinstance(head, HeadLayer) and isinstance(old, HeadLayer)
    assert (head.rows, head.settings, len(head.hidden), head.dither) == (
        old.rows,
        old.settings,
        len(old.hidden),
        old.dither,
    )
    assert now.counters == was.counters and not np.array_equal(head.means, old.means)
    kept = {"kept.sums": rng.integers(-9, 9, (90, 8)).astype(np.int16), "kept.labels": y.astype(np.uint16)}
    assert isinstance(frozen_of(replace(home, tensors=changed | kept)).layers[-1], HeadLayer)
    levels = thaw(NETWORKS["levels that learn"])
    flipped = frozen_of(replace(levels, tensors=levels.tensors | {"hidden": -levels.tensors["hidden"]}))
    assert np.array_equal(flipped.layers[0].hidden, -1 - NETWORKS["levels that learn"].layers[0].hidden)


def test_options_make_it_anew() -> None:
    frozen = taught(NETWORKS["visits"])
    assert freeze(thaw(frozen), VisitOptions(bits=2)).layers[0].bits == 2
    graded = thaw(NETWORKS["graded"])
    assert isinstance(graded, Checkpoint)
    assert freeze_graded(graded, VoteOptions(bits=5)).layers[0].bits == 5


@pytest.mark.parametrize(
    ("frozen", "said"),
    [(fresh_network(1), "units from nothing"), (voting(2), "graded units are trained on a thermometer code"),
     (voting(3, below=network(3, (6, 12, 3), 3, 2, (False, False))), "alone")],
)  # fmt: skip
def test_networks_that_no_training_makes_are_named(frozen: Frozen, said: str) -> None:
    with pytest.raises(ExportError, match=said):
        thaw(frozen)


def test_an_image_of_another_network_is_refused() -> None:
    one, two = thaw(NETWORKS["visits"]), thaw(NETWORKS["output alone"])
    with pytest.raises(ExportError, match="another network"):
        frozen_of(replace(one, device=two.device))
    with pytest.raises(ExportError, match="another network"):
        frozen_of(replace(one, device=thaw(NETWORKS["levels"]).device))
    with pytest.raises(ExportError, match="not a metabit image"):
        frozen_of(replace(one, device=b"no image"))
    gates = thaw(NETWORKS["levels"])
    with pytest.raises(ExportError, match="another network"):
        frozen_of(replace(gates, device=thaw(NETWORKS["head"]).device))


def test_after_a_head_training_starts_from_what_it_knows() -> None:
    x, y = load_wine(return_X_y=True)
    trained = fit_recipe(x, y, units=12, steps=150)
    frozen = freeze_gates(trained, x, y)
    home = thaw(frozen)
    assert isinstance(home, GatesCheckpoint) and not len(home.labels)
    with torch.no_grad():
        right = (home.to_network()(torch.from_numpy(home.encoder.to_bits(x))).numpy().argmax(1) == y).mean()
    assert right > 0.9  # of outputs without what the head knows a third
    norm = trained.network.norm
    assert np.allclose(home.mean, norm.running_mean.numpy(), atol=0.01)  # type: ignore[union-attr]
    assert np.allclose(home.gamma, norm.weight.detach().numpy(), rtol=0.01)
    assert np.allclose(home.beta, norm.bias.detach().numpy(), atol=0.02)
    on = fit_recipe(x, y, start=home, steps=1)
    assert on.encoder == trained.encoder and on.network.output.bits == home.bits
