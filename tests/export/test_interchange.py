"""Metadata of a file beside its graph: networks that cannot be written, and descriptions that cannot be read."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from frozen_reference import NETWORKS, assert_same, random_frozen

from metabit.export.errors import ExportError
from metabit.export.files.interchange import facts, named_tensors, rebuild
from metabit.export.frozen import Frozen

NETWORK = random_frozen((6, 5, 3), planes=2, bits=3)
FIRST, LAST = NETWORK.layers


@pytest.mark.parametrize("frozen", NETWORKS.values(), ids=NETWORKS.keys())
def test_facts_and_tensors_are_the_whole_network(frozen: Frozen) -> None:
    assert_same(rebuild(facts(frozen), named_tensors(frozen)), frozen)


@pytest.mark.parametrize(
    ("frozen", "sentence"),
    [
        (replace(NETWORK, layers=()), r"dense layers and one output layer, in this order, not \[\]"),
        (replace(NETWORK, layers=(FIRST,)), r"not \['dense'\]"),
        (replace(NETWORK, layers=(FIRST, replace(LAST, takes="bits"))), "layer 1 takes bits, but layer 0 gives signs"),
        (
            replace(NETWORK, layers=(replace(FIRST, takes="signs"), LAST)),
            "layer 0 takes signs, but the encoder gives bits",
        ),
        (
            replace(NETWORK, layers=(replace(FIRST, hidden=FIRST.hidden[:, 1:]), LAST)),
            "the encoder makes 12 bits, the first layer takes 11",
        ),
        (replace(NETWORK, layers=(FIRST, replace(LAST, bits=2))), r"do not fit 2 bits \(-2..1\)"),
    ],
)
def test_layers_that_do_not_fit_are_refused(frozen: Frozen, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        named_tensors(frozen)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": 2}, "format version 2 is not the 1 that this metabit reads"),
        ({"layers": 7}, "incomplete or damaged"),
        ({"margin": "much"}, "incomplete or damaged"),
        ({"counters": {"steps": 1, "joy": 1}}, "incomplete or damaged"),
    ],
)
def test_a_description_that_cannot_be_right_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        rebuild(json.dumps(json.loads(facts(NETWORK)) | change), named_tensors(NETWORK))


@pytest.mark.parametrize(
    ("name", "array", "sentence"),
    [
        ("layer0.threshold", np.zeros(4, np.int32), r"should be int32 \(5,\) but is int32 \(4,\)"),
        ("layer1.mul", np.zeros(3), r"should be int32 \(3,\) but is float64 \(3,\)"),
        ("layer0.sign_plane", np.zeros((5, 2), np.uint8), "the level planes and the sign plane of this file disagree"),
        ("layer0.hidden_planes", np.zeros((2, 5, 2), np.uint8), r"should be uint8 \(3, 5, 2\)"),
    ],
)
def test_an_array_that_does_not_fit_is_refused(name: str, array: Any, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        rebuild(facts(NETWORK), named_tensors(NETWORK) | {name: array})


def test_text_that_is_no_description_is_refused() -> None:
    for page in ("", "[]", "{}", '"metabit"'):
        with pytest.raises(ExportError, match="incomplete or damaged"):
            rebuild(page, {})
