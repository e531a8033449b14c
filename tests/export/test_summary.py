"""Figures of `metabit inspect`, `metabit diff` and MODEL_CARD.md are counted in the files themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from networks import conv, fresh_network, gates_network, network, ternary, voting, windowed

from metabit.export import (
    Counters,
    ExportError,
    Frozen,
    HeadLayer,
    Notes,
    cost,
    difference,
    model_card,
    read_file,
    read_image,
    write_image,
)
from metabit.export.files import image_layout as layout
from metabit.export.files.image import sections
from metabit.runtime import Model

VECTORS = Path(__file__).parents[1] / "vectors"
IMAGES = sorted(VECTORS.glob("*.mbit"))


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_the_bytes_of_the_layers_are_those_of_the_image(path: Path) -> None:
    frozen = read_image(path.read_bytes())
    image, costs = write_image(frozen), cost(frozen)
    (_, constants), (_, state) = sections(image)
    header = layout.Header.read(image)
    notes = -(-header.notes_size // 4) * 4
    assert sum(layer.flash for layer in costs.layers) == layout.RECORD.size * header.layers + constants - notes
    assert sum(layer.state for layer in costs.layers) == state - layout.STATE.size


def test_products_and_weights_are_those_of_the_shapes() -> None:
    frozen = network(3, (40, 50, 33, 10), k=4, planes=2)
    told = cost(frozen)
    sizes = [80 * 50, 50 * 33, 33 * 10]
    assert [layer.binary for layer in told.layers] == [0, *sizes] and told.wider == 0
    assert (told.weights, told.float32, told.int8) == (sum(sizes), 4 * (sum(sizes) + 93), sum(sizes) + 4 * 93)
    encode, first, second, last = told.layers
    assert frozen.encode is not None
    assert encode.thresholds is not None and encode.thresholds[0] == frozen.encode.thresholds.min()
    assert first.thresholds == (*np.sort(frozen.layers[0].theta)[[0, 25]], frozen.layers[0].theta.max())  # type: ignore[attr-defined]
    assert last.thresholds is None and sum(second.levels.values()) == sizes[1]


def test_a_gate_counts_its_weights_and_a_head_its_rows() -> None:
    frozen = gates_network(5, features=9, planes=4, units=12, classes=5)
    cuts, gates, head = cost(frozen).layers
    assert (cuts.shape, gates.binary, gates.wider, head.binary, head.wider) == ((4, 9), 12 * 36, 0, 0, 5 * 24)


def test_products_of_windows_bytes_and_grades_are_counted_as_the_device_makes_them() -> None:
    layers = cost(windowed(6, (9, 9, 3), (conv(32, 5, 1, True, 3),), (20, 5), "uint8")).layers
    assert [layer.binary for layer in layers] == [8 * 81 * 32 * 75, 9 * 32 * 20, 20 * 5]  # a byte has eight bits
    graded = voting(1)
    first, last = cost(graded).layers[-2:]
    assert first.binary == graded.layers[0].planes * graded.layers[0].hidden.size > graded.layers[0].hidden.size  # type: ignore[union-attr]
    assert (last.binary, last.wider) == (0, graded.layers[1].hidden.size)


def learnt(frozen: Frozen, steps: int = 40) -> Frozen:
    model, rng = Model(write_image(frozen)), np.random.default_rng(1)
    x = rng.integers(0, 256, (steps, model.input_size)).astype(np.uint8)
    model.learn_many(x, rng.integers(0, frozen.classes, steps))
    return read_image(model.image())


@pytest.mark.parametrize(
    "frozen", [network(1, (20, 16, 5), k=3), ternary(network(2, (20, 16, 12, 5), k=4))], ids=("dense", "ternary")
)
def test_moves_and_flips_are_those_that_the_learner_counted(frozen: Frozen) -> None:
    after = learnt(frozen, 1)
    found = difference(frozen, after)
    assert found.steps == 1 and "generator" in found.other
    assert sum(int(layer.flipped.sum()) for layer in found.layers) == after.counters.flipped
    assert all((layer.flipped <= layer.moved).all() for layer in found.layers)
    assert all(layer.farthest == int(layer.moved.any()) for layer in found.layers)  # one step moves a level by one
    same = difference(frozen, frozen)
    assert not any(layer.any for layer in same.layers) and not same.other and not same.steps


def test_a_head_tells_what_else_changed() -> None:
    frozen = fresh_network(4)
    found = difference(frozen, learnt(frozen))
    first, head = found.layers
    assert not first.any and {"covariance", "means", "counts", "seen"} <= {*head.other} and head.by_class
    assert not head.flipped.any() and head.moved.any()


def test_networks_of_two_shapes_are_not_compared() -> None:
    a = network(1, (20, 16, 5))
    with pytest.raises(ExportError, match="layer 0 is dense 40 -> 16 in the first and dense 40 -> 18 in the second"):
        difference(a, network(1, (20, 18, 5)))
    with pytest.raises(ExportError, match="layer 1 is output"):
        difference(a, network(1, (20, 16, 7, 5)))


def test_the_content_of_a_file_says_what_it_is(tmp_path: Path) -> None:
    frozen, path = network(1, (20, 16, 5)), tmp_path / "model.bin"
    path.write_bytes(write_image(frozen))
    assert read_file(path).format == "image"
    path.write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(ExportError, match=r"model\.bin: not a metabit image, ONNX or TFLite: it starts with b'PK"):
        read_file(path)
    path.write_bytes(b"")
    with pytest.raises(ExportError, match="it starts with b''"):
        read_file(path)


def test_a_card_says_what_is_known_and_what_is_not() -> None:
    frozen = replace(
        gates_network(5, features=9, planes=4, units=12, classes=5, spare=2), notes=Notes(("a|b", "c", "d"), ())
    )
    head = frozen.layers[-1]
    assert isinstance(head, HeadLayer)
    frozen = replace(frozen, counters=Counters(steps=7))
    bare = model_card(frozen, {"model.mbit": b"123"}, {})
    assert (
        "not known" in bare
        and "7 learning steps" in bare
        and "2 of its classes are spare" in bare
        and "Not stated" in bare
    )
    assert "a665a45920422f9d417e4867efdc4fb8a04a1f3fff1fa07e998e86f7f7a27ae3" in bare  # SHA-256 of 123
    read = {
        "samples": 90,
        "features": 9,
        "numbers": "uint8",
        "train": 70,
        "test": 20,
        "held_out": "20 %",
        "classes": {"a|b": 80, "c": 10},
    }
    full = model_card(
        frozen, {}, {"data": "my.csv", "read": read, "recall": {"a|b": 0.5, "c": 1.0}, "command": "metabit x"}, "MIT"
    )
    assert (
        "| a\\|b | 80 | 50.0 % |" in full
        and "| c | 10 | 100.0 % |" in full
        and "my.csv" in full
        and full.endswith("## Licence\n\nMIT\n")
    )
    assert "uneven: 80 samples of a\\|b, 10 of c" in full
