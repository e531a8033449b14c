"""A network as named arrays and facts: every kind comes back equal, and what cannot be right is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from frozen_reference import assert_same
from networks import conv, fresh_network, gates_network, inputs, network, ternary, voting, windowed

from metabit.export import ExportError, Frozen, Oracle, write_image
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.vectors import learned


def keeping(frozen: Frozen, steps: int = 9) -> Frozen:
    """The network after some learning steps, with the samples that its graded layer keeps."""
    oracle = Oracle(frozen)
    for step, x in enumerate(frozen.unpack(inputs(frozen, steps))):
        oracle.learn(x, step % frozen.classes)
    found = learned(frozen, oracle)
    assert found.layers[0].kept.slot > 0
    return found


NETWORKS = {
    "graded": voting(1, k=3),
    "graded, still": voting(2, 21, 1, 33, 5, k=1, learns=False),
    "graded, packed bits": voting(3, 19, 2, 7, 3, k=8, source="bits", passes=8, batch=64),
    "graded above a convolution": voting(4, units=20, planes=1, below=windowed(5, (6, 6, 2), (conv(4, 3),), (3,), learns=(False,))),
    "ternary": ternary(network(6)),
    "triples": fresh_network(7),
    "triples, int16": fresh_network(8, takes="int16", spare=1),
    "triples, floats": fresh_network(9, takes="float"),
    "gates": gates_network(10),
}  # fmt: skip
NETWORKS["graded, keeps samples"] = keeping(NETWORKS["graded"])


@pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS)
def test_every_kind_comes_back(frozen: Frozen) -> None:
    found = rebuild(facts(frozen), named_tensors(frozen))
    assert_same(found, frozen)
    assert write_image(found) == write_image(frozen)
    assert facts(found) == facts(frozen)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("graded", {"votes": {"needed": [70000], "chance_per_vote": 1, "passes": 4, "batch": 32}},
         r"votes_needed of layer0 has 193 entries of 0..65535"),
        ("graded", {"votes": None}, "incomplete or damaged"),
        ("graded", {"votes": {"needed": "?", "chance_per_vote": 1, "passes": 4, "batch": 32}}, "incomplete or damaged"),
        ("graded", {"votes": {"needed": 1, "chance_per_vote": 1, "passes": 4, "batch": 10**9}}, "at most 16384 can be"),
        ("ternary", {"rule": {"strengthen": [1, 2], "weaken": 1, "dose": 1}}, "the rule of layer0 has 8 entries of 0..65535"),
        ("graded", {"planes": 0}, "votes_needed of layer0 has 1 entries"),
        ("graded, keeps samples", {"slot": "?"}, "incomplete or damaged"),
        ("triples", {"integers": 3, "scale": True}, "incomplete or damaged"),
    ],
)  # fmt: skip
def test_a_description_that_cannot_be_right_is_refused(name: str, change: dict[str, Any], sentence: str) -> None:
    page = json.loads(facts(NETWORKS[name]))
    page["layers"][0].update(change)
    with pytest.raises(ExportError, match=sentence):
        rebuild(json.dumps(page), named_tensors(NETWORKS[name]))


def test_arrays_outside_their_range_are_refused() -> None:
    for name, array, change, sentence in (
        ("triples", "layer0.index", 65536, "layer0.index holds features outside 0..65535"),
        ("triples", "layer0.index", 9, "layer 0 has index up to 9, the format holds at most 8"),
        ("triples", "layer0.feature_shift", 99, "layer 0 has feature_shift up to 99"),
    ):
        arrays = named_tensors(NETWORKS[name])
        arrays[array] = np.full_like(arrays[array], change)
        with pytest.raises(ExportError, match=sentence):
            rebuild(facts(NETWORKS[name]), arrays)


def test_a_file_that_repeats_the_sign_plane_is_read() -> None:
    for name in ("ternary", "graded"):
        arrays, frozen = named_tensors(NETWORKS[name]), NETWORKS[name]
        planes = [*arrays["layer0.hidden_planes"], arrays["layer0.sign_plane"]]
        arrays["layer0.hidden_planes"] = np.array(planes)
        assert_same(rebuild(facts(frozen), arrays), frozen)


def test_tables_are_lists_in_older_files() -> None:
    frozen = NETWORKS["graded"]
    page, rule = json.loads(facts(frozen)), frozen.layers[0].rule
    layer = page["layers"][0]
    layer["rule"] |= {"strengthen": rule.strengthen.tolist(), "weaken": rule.weaken.tolist()}
    layer["votes"]["needed"] = rule.votes_needed.tolist()
    assert_same(rebuild(json.dumps(page), named_tensors(frozen)), frozen)
