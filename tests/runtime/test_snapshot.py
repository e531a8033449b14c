"""Snapshots: a state leaves a model and comes back, only where it belongs, whatever the bytes."""

from __future__ import annotations

import copy
import pickle
import struct
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from compilers import WARNINGS, run
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import inputs, network, voting

from metabit.export.files.image import write_image
from metabit.export.files.image_layout import checksum
from metabit.runtime import Model, ModelError, field_sources, include_dir, sources

HERE = Path(__file__).parent
VECTORS = [path for path in sorted((HERE.parent / "vectors").glob("*.mbit")) if path.stem != "gates-none"]
VISITS = write_image(network(1, (9, 20, 4), 3, 2, (True, True), 9000))
VOTES = write_image(voting(3, inputs=37, planes=2, units=40, classes=5, k=3, batch=32))


def learnt(image: bytes, steps: int = 50) -> Model:
    model, rng = Model(image), np.random.default_rng(0)
    x = rng.integers(0, 256, (steps, model.input_size)).astype(np.uint8)
    model.learn_many(x, rng.integers(0, model.classes, steps))
    return model


def head(snapshot: bytes, **change: int) -> bytes:
    """A snapshot with other fields in its head, and the checksum that goes with them."""
    names = ("magic", "version", "zero", "identity", "size", "steps")
    fields = dict(zip(names, struct.unpack_from("<4sHHIII", snapshot), strict=True)) | change
    start = struct.pack("<4sHHIII", *fields.values())
    return start + struct.pack("<I", checksum(start + snapshot[24:], 5)) + snapshot[24:]


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_a_snapshot_comes_back_and_the_run_goes_on(path: Path) -> None:
    image = path.read_bytes()
    model, other = learnt(image), Model(image)
    snapshot = model.snapshot()
    want = struct.pack("<4sHHIII", b"MBST", 1, 0, model.identity, model.state_size, model.steps)
    assert snapshot == want + struct.pack("<I", checksum(want + model.state(), 5)) + model.state()
    for bytes_ in (snapshot, model.state()):
        other = Model(image)
        other.restore(bytes_)
        assert other.image() == model.image() and other.vectors == model.vectors
    x = np.random.default_rng(1).integers(0, 256, (20, model.input_size)).astype(np.uint8)
    np.testing.assert_array_equal(other.scores(x), model.scores(x))
    if not path.stem.startswith("votes-3bit"):  # written before 1.6: its arena holds samples
        other.learn_many(x, np.arange(20) % model.classes)
        model.learn_many(x, np.arange(20) % model.classes)
        assert other.image() == model.image()


def test_another_images_state_is_refused_by_name() -> None:
    model, other = learnt(VISITS), Model(write_image(network(2, (9, 20, 4), 3, 2, (True, True), 9000)))
    before = other.state()
    assert len(before) == model.state_size
    with pytest.raises(
        ModelError, match=f"grew from image {model.identity:08x}, this model is image {other.identity:08x}"
    ) as wrong:
        other.restore(model.snapshot())
    assert wrong.value.code == -33 and "metabit merge" in str(wrong.value) and other.state() == before


def test_what_is_no_snapshot_is_refused_and_nothing_changes() -> None:
    model = learnt(VOTES)
    good, image = model.snapshot(), model.image()
    size = model.state_size
    for bytes_, code, told in (
        (good[:-1], -3, f"{size + 23:,} bytes of {size + 24:,}"),
        (good[:20], -3, "head alone has 24"),
        (head(good, version=2), -5, "snapshot version 2, this metabit reads 1"),
        (head(good, zero=1), -5, "snapshot version 65537, this"),
        (head(good, size=size + 4), -3, "truncated"),
        (good + b"\0", -20, "no state of this model"),
        (good[:-4], -3, "truncated"),
        (head(good[:-4], size=size - 4), -20, f"its state has {size:,}, its snapshot {size + 24:,}"),
        (b"", -20, "0 bytes are no state"),
        (b"MBI", -20, "3 bytes"),
        (image, -20, "no state of this model"),
        (bytes(size), -18, "generator"),
        (head(good[:24] + bytes(size)), -18, "these bytes are no state of this image"),
    ):
        with pytest.raises(ModelError, match=told) as wrong:
            model.restore(bytes_)
        assert wrong.value.code == code and model.image() == image


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_changed_byte_of_a_snapshot_is_found(data: st.DataObject) -> None:
    model = learnt(data.draw(st.sampled_from([VISITS, VOTES])))
    good, before = bytearray(model.snapshot()), model.state()
    good[data.draw(st.integers(0, len(good) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ModelError):
        model.restore(bytes(good))
    assert model.state() == before


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(VECTORS), st.integers(0, 2**32 - 1))
def test_a_hostile_state_is_refused_or_safe_to_use(path: Path, seed: int) -> None:
    """A state alone has no checksum: it is refused, or a state that an image could hold."""
    model, rng = Model(path.read_bytes()), np.random.default_rng(seed)
    state = bytearray(model.state())
    for at in rng.integers(0, len(state), rng.integers(1, 5)):
        state[at] ^= 1 << rng.integers(8)
    try:
        model.restore(bytes(state))
    except ModelError as wrong:
        assert wrong.code in (-16, -18, -19)
        return
    assert model.state() == state and Model(model.image()).state() == state
    model.learn_many(inputs_of(model, 10, seed), np.arange(10) % model.classes)
    Model(model.image())


def inputs_of(model: Model, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, model.input_size)).astype(np.uint8)


def test_while_another_thread_learns_or_predicts_a_state_comes_between_two_steps() -> None:
    frozen = network(1, (30, 60, 4), 3, 2, (True, True), 9000)
    model = Model(write_image(frozen))
    start, x = model.snapshot(), inputs(frozen, 3000, 1)
    y, done = np.arange(3000) % 4, threading.Event()

    def work() -> None:
        for _ in range(3):
            model.learn_many(x, y)
            model.predict_many(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    restored = 0
    while not done.is_set():
        model.restore(start)
        restored += 1
        assert Model(model.image()).identity == model.identity
    thread.join()
    assert restored > 0
    model.restore(start)
    model.learn_many(x[:50], y[:50])
    again = Model(write_image(frozen))
    again.learn_many(x[:50], y[:50])
    assert again.image() == model.image()


@pytest.mark.parametrize("image", [VISITS, VOTES], ids=["visits", "votes"])
def test_a_model_is_copied_and_pickled_with_what_it_learnt(image: bytes) -> None:
    model = learnt(image)
    copies = [copy.copy(model), copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
    for other in copies:
        assert other.image() == model.image() and other.identity == model.identity
    before = model.image()
    copies[0].learn_many(inputs_of(model, 20, 3), np.arange(20) % model.classes)
    assert model.image() == before != copies[0].image()


def test_a_state_of_an_image_with_other_settings_is_another_images() -> None:
    frozen = network(1, (9, 20, 4), 3, 2, (True, True), 9000)
    other = Model(write_image(replace(frozen, skip_below=frozen.skip_below + 1)))
    with pytest.raises(ModelError) as wrong:
        other.restore(learnt(VISITS).snapshot())
    assert wrong.value.code == -33


def test_the_c_functions_refuse_as_their_header_says(tmp_path: Path) -> None:
    core, field = tmp_path / "core.o", [path for path in field_sources() if path.stem == "snapshot"]
    run("gcc", "-std=c99", "-O1", "-r", "-nostdlib", f"-I{include_dir()}", *sources(), "-o", core)
    sanitize = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
    flags = ("-std=c99", *WARNINGS, *sanitize, f"-I{include_dir()}")
    run("gcc", *flags, HERE / "snapshot.c", *field, core, "-o", tmp_path / "snapshot")
    for name in ("votes-kept", "words-head", "hidden-2bit"):
        run(tmp_path / "snapshot", HERE.parent / "vectors" / f"{name}.mbit")
