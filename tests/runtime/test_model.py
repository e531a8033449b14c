"""`metabit.runtime.Model`: what it takes, what it gives, what it says, and what survives trouble."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import inputs, network

from metabit.export.files.image import sections, write_image
from metabit.export.frozen import Encode
from metabit.runtime import InputError, Model, ModelError, Step

FROZEN = network(11, (20, 33, 18, 7), k=4, planes=2)
IMAGE = write_image(FROZEN)
X, Y = inputs(FROZEN, 60), np.arange(60) * 5 % 7


@pytest.fixture
def model() -> Model:
    return Model(IMAGE)


# Shapes


def test_sizes(model: Model) -> None:
    _, (at, size) = sections(IMAGE)
    assert (model.input_size, model.classes, model.image_size, model.state_size) == (20, 7, len(IMAGE), size)
    assert model.state() == IMAGE[at:]
    assert model.image() == IMAGE
    assert 0 < model.arena_size("infer") < model.arena_size("learn") == model.arena_size()
    with pytest.raises(ValueError, match="mode is 'train': 'infer' or 'learn'"):
        model.arena_size("train")


def test_without_an_encoder_an_input_is_packed_bits() -> None:
    assert Model(write_image(network(1, (33, 9, 3), planes=0))).input_size == 5


def test_shapes_and_dtypes(model: Model) -> None:
    scores, labels = model.scores(X), model.predict_many(X)
    assert (scores.shape, scores.dtype) == ((60, 7), np.int32)
    assert (labels.shape, labels.dtype) == ((60,), np.uint16)
    np.testing.assert_array_equal(labels, scores.argmax(1))
    assert [model.predict_one(x) for x in X] == labels.tolist()
    assert type(model.predict_one(X[0])) is int
    steps = model.learn_many(X, Y)
    for name, values in steps._asdict().items():
        assert (values.shape, values.dtype) == ((60,), np.bool_ if name == "skipped" else np.uint32)


def test_no_inputs_at_all(model: Model) -> None:
    none = X[:0]
    assert model.scores(none).shape == (0, 7)
    assert model.predict_many(none).shape == (0,)
    assert model.learn_many(none, []).moved.shape == (0,)
    assert model.state() == Model(IMAGE).state()


def test_one_step(model: Model) -> None:
    step = model.learn_one(X[0], Y[0])
    assert isinstance(step, Step)
    assert [type(value) for value in step] == [int, bool, int, int, int]
    assert step.flipped <= step.moved <= step.visited
    assert struct.unpack_from("<3I", model.state(), 4) == (1, step.moved, step.flipped)


def test_ties_go_to_the_lowest_class() -> None:
    frozen = network(1, (8, 9, 20), planes=1)
    frozen.layers[-1].mul[:] = 0
    frozen.layers[-1].add[:] = [1, 2, 5, 0] * 5
    assert set(Model(write_image(frozen)).predict_many(inputs(frozen, 4))) == {2}


def test_margins_are_best_less_second_score(model: Model) -> None:
    scores, margins = model.scores(X), model.margins(X)
    ordered = np.sort(scores.astype(np.int64), axis=1)
    assert (margins.shape, margins.dtype) == ((60,), np.int64)
    np.testing.assert_array_equal(margins, ordered[:, -1] - ordered[:, -2])
    assert margins.max() > 0 and model.margins(X[:0]).shape == (0,)


def test_margins_of_a_tie_and_of_the_widest_scores() -> None:
    frozen = network(1, (8, 9, 20), planes=1)
    frozen.layers[-1].mul[:] = 0
    frozen.layers[-1].add[:] = [1, 2, 5, 0] * 5
    assert not Model(write_image(frozen)).margins(inputs(frozen, 4)).any()
    frozen.layers[-1].add[:] = -2_000_000_000
    frozen.layers[-1].add[3] = 2_000_000_000
    assert set(Model(write_image(frozen)).margins(inputs(frozen, 4))) == {4_000_000_000}  # wider than an int32


def test_predicting_changes_nothing(model: Model) -> None:
    before = model.state()
    model.predict_many(X)
    model.scores(X)
    assert model.state() == before


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.array])
def test_the_image_is_copied(kind: Callable[[bytes], Any]) -> None:
    data = bytearray(IMAGE)
    image = np.frombuffer(data, np.uint8) if kind is np.array else kind(data)
    model = Model(image)
    data[:] = bytes(len(data))
    assert model.image() == IMAGE
    assert model.learn_many(X, Y).visited.sum() > 0


def test_what_is_no_image_at_all() -> None:
    with pytest.raises(TypeError):
        Model("model.mbit")  # type: ignore[arg-type]


# Inputs


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int64, np.uint64, np.float16, np.float32, np.float64, ">i4"])
def test_whole_numbers_of_any_dtype(model: Model, dtype: Any) -> None:
    x = X // 2  # int8 holds them
    np.testing.assert_array_equal(model.scores(x.astype(dtype)), model.scores(x))
    np.testing.assert_array_equal(model.scores(x.astype(dtype).tolist()), model.scores(x))


def test_booleans_and_layouts(model: Model) -> None:
    np.testing.assert_array_equal(model.scores(X > 99), model.scores((X > 99).astype(np.uint8)))
    np.testing.assert_array_equal(model.scores(np.asfortranarray(X)), model.scores(X))
    np.testing.assert_array_equal(model.scores(X[::-2]), model.scores(X)[::-2])
    assert np.array_equal(model.scores(np.broadcast_to(X[:1], (3, 20)))[2], model.scores(X[:1])[0])


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (0.5, "0.5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (256, "256"),
        (256.0, "256.0"),
        (-1, "-1"),
        (1e300, "1e+300"),
    ],
)
def test_a_value_that_is_no_byte_is_named(model: Model, value: float, named: str) -> None:
    x = X.astype(np.int64 if isinstance(value, int) else np.float64)
    x[1, 3] = value
    before = model.state()
    for verb, row in (
        (model.scores, 1),
        (model.predict_many, 1),
        (lambda x: model.learn_many(x, Y), 1),
        (lambda x: model.predict_one(x[1]), 0),
    ):
        with pytest.raises(InputError) as caught:
            verb(x)
        limit = "this model takes whole numbers 0..255, limit it or train with such values"
        assert str(caught.value) == f"feature 3 of sample {row} is {named}: {limit}"
    assert model.state() == before


@pytest.mark.parametrize("x", [["a"] * 20, [None] * 20, [1j] * 20])
def test_what_is_no_number(model: Model, x: list[Any]) -> None:
    with pytest.raises(InputError, match=r"^inputs are .*, they must be numbers$"):
        model.predict_one(x)


@pytest.mark.parametrize("features", [19, 21])
def test_the_wrong_number_of_features(model: Model, features: int) -> None:
    x = np.zeros((3, features))
    for verb in (
        model.predict_many,
        model.scores,
        lambda x: model.learn_many(x, [0] * len(x)),
        lambda x: model.predict_one(x[0]),
    ):
        with pytest.raises(InputError, match=rf"^an input has {features} values, this model takes 20$"):
            verb(x)


def test_images_that_were_not_flattened(model: Model) -> None:
    with pytest.raises(InputError, match=r"^inputs have shape \(2, 4, 5\), they must be \(samples, 20\)"):
        model.predict_many(np.zeros((2, 4, 5)))


def test_one_input_where_many_are_wanted(model: Model) -> None:
    with pytest.raises(InputError) as caught:
        model.predict_many(X[0])
    assert "has shape (20,), this model takes (20,)" not in str(caught.value)


# Labels


@pytest.mark.parametrize("label", [7, -1, 65536, 2**40, -(2**40)])
def test_a_label_out_of_range_is_named_before_anything_is_learned(model: Model, label: int) -> None:
    before = model.state()
    labels = np.array([0, 1, label, 2])
    with pytest.raises(InputError, match=rf"^label {label} is outside 0\.\.6: this model has 7 classes$"):
        model.learn_many(X[:4], labels)
    with pytest.raises(InputError, match=rf"^label {label} is outside"):
        model.learn_one(X[0], label)
    assert model.state() == before


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int64, ">i8"])
def test_labels_of_any_integer_dtype(model: Model, dtype: Any) -> None:
    model.learn_many(X, Y.astype(dtype))
    other = Model(IMAGE)
    other.learn_many(X, Y.tolist())
    assert model.state() == other.state()


def test_labels_that_do_not_fit(model: Model) -> None:
    with pytest.raises(InputError, match=r"^labels have shape \(59,\), 60 inputs need \(60,\)$"):
        model.learn_many(X, Y[:59])
    with pytest.raises(InputError, match=r"^labels have shape \(60, 1\), 60 inputs need \(60,\)$"):
        model.learn_many(X, Y[:, None])
    with pytest.raises(InputError, match=r"^labels are float64, they must be integers 0\.\.6$"):
        model.learn_many(X, Y.astype(float))
    with pytest.raises(InputError, match=r"^labels are <U1, they must be integers 0\.\.6$"):
        model.learn_one(X[0], "3")  # type: ignore[arg-type]
    assert model.image() == IMAGE


# Learning


@pytest.mark.parametrize("crc32", [False, True])
def test_learning_keeps_the_identity_and_another_network_has_another(crc32: bool) -> None:
    frozen = network(5)
    model = Model(write_image(frozen, crc32=crc32))
    before = model.identity
    model.learn_many(inputs(frozen, 20), [0] * 20)
    assert Model(model.image()).identity == model.identity == before
    assert frozen.encode is not None
    other = replace(frozen, encode=Encode(frozen.encode.thresholds ^ np.uint8(1)))
    assert Model(write_image(other, crc32=crc32)).identity != before


@pytest.mark.parametrize("chunk", [1, 7, 59])
def test_learning_in_chunks_is_learning_at_once(model: Model, chunk: int) -> None:
    whole = model.learn_many(X, Y)
    other = Model(IMAGE)
    parts = [other.learn_many(X[at : at + chunk], Y[at : at + chunk]) for at in range(0, 60, chunk)]
    assert other.state() == model.state()
    for name, values in whole._asdict().items():
        np.testing.assert_array_equal(np.concatenate([getattr(part, name) for part in parts]), values)


def test_two_models_of_one_image_know_nothing_of_each_other(model: Model) -> None:
    other = Model(IMAGE)
    model.learn_many(X, Y)
    assert other.image() == IMAGE != model.image()


def test_a_frozen_image_predicts_and_says_that_it_cannot_learn() -> None:
    frozen = network(1, (12, 8, 3), learns=(False, False))
    model = Model(write_image(frozen))
    x = inputs(frozen, 2)
    before = model.state()
    assert len(before) == 16
    assert model.predict_many(x).shape == (2,)
    with pytest.raises(
        InputError,
        match="^nothing to learn: no layer of this image learns; export it with a learner, metabit export --learner$",
    ):
        model.learn_many(x, [0, 1])
    with pytest.raises(InputError, match="^nothing to learn"):
        model.learn_one(x[0], 0)
    assert model.state() == before


def interrupted_while_learning(arm: Callable[[], None], disarm: Callable[[], None]) -> None:
    """Learns a stream of many seconds; something interrupts it soon. Every step until then has been learnt completely."""
    n = 400_000
    order = np.random.default_rng(0).integers(0, len(X), n)
    stream, labels = X[order], Y[order]
    model = Model(IMAGE)
    arm()
    try:
        with pytest.raises(KeyboardInterrupt):
            model.learn_many(stream, labels)
    finally:
        disarm()
    (done,) = struct.unpack_from("<I", model.state(), 4)
    assert 0 < done < n
    other = Model(IMAGE)
    other.learn_many(stream[:done], labels[:done])
    assert model.state() == other.state()
    model.learn_many(stream[done : done + 100], labels[done : done + 100])  # and it goes on
    other.learn_many(stream[done : done + 100], labels[done : done + 100])
    assert model.image() == other.image()


@pytest.fixture
def main_thread() -> None:
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        pytest.skip("signals arrive in the main thread of a POSIX process")


@pytest.mark.usefixtures("main_thread")
def test_ctrl_c_keeps_what_was_learned() -> None:
    """As the terminal does it: SIGINT with Python's own handler. (A thread could not: the loop holds the GIL.)"""
    interrupt = signal.signal(signal.SIGINT, signal.default_int_handler)
    alarm = signal.signal(signal.SIGVTALRM, lambda *_: signal.raise_signal(signal.SIGINT))

    def disarm() -> None:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, alarm)
        signal.signal(signal.SIGINT, interrupt)

    interrupted_while_learning(lambda: signal.setitimer(signal.ITIMER_VIRTUAL, 0.05), disarm)


@pytest.mark.usefixtures("main_thread")
def test_ctrl_c_ends_a_long_prediction() -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGVTALRM, stop)
    model, stream = Model(IMAGE), np.repeat(X, 20_000, 0)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.predict_many(stream)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, old)
    assert model.image() == IMAGE


# Other threads, and memory that changes by accident


@contextlib.contextmanager
def learning(model: Model, x: np.ndarray, y: np.ndarray) -> Iterator[None]:
    """A thread learns these samples again and again until the block ends. A call that finds the model in use is made again."""
    enough = threading.Event()

    def learn() -> None:
        while not enough.is_set():
            with contextlib.suppress(RuntimeError):
                model.learn_many(x, y)

    learner = threading.Thread(target=learn)
    learner.start()
    try:
        yield
    finally:
        enough.set()
        learner.join()


def test_another_thread_sees_the_state_between_two_steps() -> None:
    frozen = network(12, (200, 133, 118, 7), k=4, planes=2)  # steps so long that a copy nearly always meets one
    image, x, y = write_image(frozen), np.tile(inputs(frozen, 60), (5, 1)), np.tile(Y, 5)
    model, seen = Model(image), []
    with learning(model, x, y):
        while model.steps == 0 or len({shot for shot, *_ in seen}) < 4:
            before = model.steps
            seen.append((model.image(), model.state(), before, model.steps))
    other = Model(image)
    images, states = {other.image()}, {other.state()}
    for step in range(model.steps):
        other.learn_one(x[step % len(x)], int(y[step % len(y)]))
        images.add(other.image())
        states.add(other.state())
    assert model.state() == other.state()
    for shot, state, before, after in seen:
        assert shot in images and state in states
        assert before <= int.from_bytes(state[4:8], "little") <= after


def test_a_second_thread_cannot_learn_or_predict_meanwhile() -> None:
    model, order = Model(IMAGE), np.arange(40_000) % 60
    with learning(model, X[order], Y[order]):
        for verb in (lambda: model.predict_one(X[0]), lambda: model.learn_one(X[0], 0)):
            refused = False
            while not refused:  # between two calls of learn_many the model is free
                before = model.steps
                while model.steps == before:
                    pass
                try:
                    verb()
                except RuntimeError as error:
                    refused = "in use by another thread" in str(error)
                    assert refused


def test_no_image_is_made_of_a_damaged_state(model: Model, tmp_path: Path) -> None:
    """tests/runtime/status.c flips bits all over a state; here the generator becomes zero, in the memory of the extension."""
    state = ctypes.c_void_p.from_address(id(model._core) + object.__basicsize__ + ctypes.sizeof(ctypes.c_void_p)).value
    assert state is not None and ctypes.string_at(state, model.state_size) == model.state()
    ctypes.memset(state, 0, 4)
    for verb in (model.image, lambda: model.save(tmp_path / "m.mbit")):
        with pytest.raises(ModelError, match="generator") as caught:
            verb()
        assert caught.value.code == -18
    assert not os.listdir(tmp_path)


# Files


def test_what_was_saved_opens_and_learns_on_alike(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "learned.mbit"
    model.learn_many(X[:30], Y[:30])
    model.save(path)
    assert path.read_bytes() == model.image()
    again = Model.open(path)
    assert (again.state(), again.image()) == (model.state(), model.image())
    np.testing.assert_array_equal(again.scores(X), model.scores(X))
    for one in (model, again):
        one.learn_many(X[30:], Y[30:])
    assert again.state() == model.state()
    assert Model.open(str(path)).state() != again.state()
    assert os.listdir(tmp_path) == ["learned.mbit"]


def test_saving_replaces_and_takes_relative_paths(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.mbit").write_bytes(b"old")
    model.save("m.mbit")
    assert Model.open("m.mbit").image() == IMAGE
    assert os.listdir() == ["m.mbit"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"]
)
def test_a_failed_save_leaves_the_old_file(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, trouble: BaseException
) -> None:
    path = tmp_path / "m.mbit"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise trouble

    with monkeypatch.context() as patch, pytest.raises(type(trouble)):
        patch.setattr(os, call, fail)
        model.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.mbit"]


def test_a_place_where_nothing_can_be_written(model: Model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        model.save(tmp_path / "missing" / "m.mbit")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match="Not a directory"):
        model.save(tmp_path / "file" / "m.mbit")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        model.save(tmp_path / "folder")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission(model: Model, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            model.save(tmp_path / "m.mbit")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.skipif(os.name != "posix", reason="POSIX modes")
def test_a_saved_image_is_as_readable_as_any_new_file(model: Model, tmp_path: Path) -> None:
    (tmp_path / "new").write_bytes(b"")
    model.save(tmp_path / "m.mbit")
    assert (tmp_path / "m.mbit").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_opening_what_is_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Model.open(tmp_path / "missing.mbit")
    with pytest.raises(OSError):
        Model.open(tmp_path)
    path = tmp_path / "half.mbit"
    path.write_bytes(IMAGE[: len(IMAGE) // 2])
    with pytest.raises(ModelError) as caught:
        Model.open(path)
    assert str(caught.value) == f"{path}: the image is truncated: copy the whole file again, or export it again"
    assert caught.value.code == -3
