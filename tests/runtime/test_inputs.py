"""Numbers of a user become the integers of the device: the same as in training, or an error with the place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.data.encoder import Encoder
from metabit.export import GateOptions, GatesArrays, freeze_gates, fresh, write_image
from metabit.runtime import InputError, Model

RNG = np.random.default_rng(8)


def model_of(encoder: Encoder, names: tuple[str, ...] = (), classes: tuple[str, ...] = ()) -> Model:
    """A network of two gates and two classes above the encoder."""
    weights = RNG.choice([-1, 1], (2, encoder.bits)).astype(np.int8)
    one = np.ones(2)
    output = np.array([[3, -2, 0], [-1, 2, 1]], np.int8)
    empty = np.zeros((0, 2), np.int16), np.zeros(0, np.int64)
    source = GatesArrays(encoder, 4, weights, one, 0 * one, 0 * one, one, output, *empty, classes, names)
    return Model(write_image(freeze_gates(source, options=GateOptions(learner="none"))))


def table(kind: str) -> np.ndarray:
    scale = np.array([1, 1e-6, 1e9, 300, 1])
    x = RNG.normal(size=(90, 5)) * scale
    if kind == "float":
        x[:, 4] = 7  # never varies
        return x
    return np.rint(x * 100 / scale).astype(np.int64) + (128 if kind == "bytes" else 0)


@pytest.mark.parametrize("kind", ["float", "whole", "bytes"])
@pytest.mark.parametrize("shared", [False, True])
def test_the_integers_are_those_of_the_encoder(kind: str, shared: bool) -> None:
    x = np.clip(table("whole"), 0, 255) if kind == "bytes" else table(kind)
    encoder = Encoder.fit(x, 3, shared=shared)
    model = model_of(encoder)
    assert model.inputs.dtype == np.dtype(encoder.kind) and model.features == 5
    assert model.quantise(x).dtype == encoder.quantise(x).dtype
    assert np.array_equal(model.quantise(x), encoder.quantise(x))
    assert (model.inputs.scale is None) == encoder.raw
    for dtype in (np.float32, np.float64):
        assert np.array_equal(model.scores(x.astype(dtype)), model.scores(x))
    assert np.array_equal(model.scores(model.device_bytes(x)), model.scores(x)) or kind == "bytes"


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(-3, 12), st.integers(1, 6))
def test_any_scale_and_any_later_value(seed: int, power: float, planes: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(2, (40, 3)) * 10**power + rng.normal(size=3) * 10 ** (power + 1)
    encoder = Encoder.fit(x, planes)
    model, later = model_of(encoder), x * rng.choice([1, 1e3, -1e3], x.shape)
    assert np.array_equal(model.quantise(later), encoder.quantise(later))
    assert np.array_equal(model.clipped(later), encoder.clipped(later))
    edges = np.concatenate([encoder.ranges(), np.nextafter(encoder.ranges().astype(np.float32), np.float32(np.inf))])
    assert np.array_equal(model.quantise(edges), encoder.quantise(edges))
    step = 1 / encoder.steps.astype(np.float64)
    for by in (-1, -0.4, 0.4, 1):  # in steps of an integer beyond the ends: half a step is where counting begins
        beside = encoder.ranges() + by * step
        assert np.array_equal(model.clipped(beside), encoder.clipped(beside))


def test_values_out_of_range_are_limited_and_counted() -> None:
    x = table("float")
    model, far = model_of(Encoder.fit(x)), x.copy()
    far[:4, 1] = 1e30
    far[5:7, 3] = -1e30
    far[:, 4] = 1e30  # a feature that never varied says nothing
    assert model.clipped(far).tolist() == [0, 4, 0, 2, 0] and model.clipped(x).sum() == 0
    assert (model.quantise(far)[:4, 1] == 32767).all() and (model.quantise(far)[5:7, 3] == -32768).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e39])
def test_a_gap_is_named_with_sample_and_feature(value: float) -> None:
    x = table("float")
    model = model_of(Encoder.fit(x), ("a", "b", "c", "d", "e"))
    x[6, 2] = value
    for verb in (model.predict_many, model.quantise, model.clipped, lambda x: model.learn_many(x, np.zeros(90, int))):
        with pytest.raises(InputError, match="^c of sample 6 is .*: must be a finite float32, fill or drop it$"):
            verb(x)


@pytest.mark.parametrize(("value", "kind", "limit"), [
    (0.5, "bytes", "0..255"), (256, "bytes", "0..255"), (-1, "bytes", "0..255"), (np.nan, "bytes", "0..255"),
    (0.5, "whole", "-32768..32767"), (40000, "whole", "-32768..32767"), (np.inf, "whole", "-32768..32767"),
])  # fmt: skip
def test_without_a_scale_numbers_are_whole_and_in_range(value: float, kind: str, limit: str) -> None:
    x = np.clip(table("whole"), 0, 255) if kind == "bytes" else table("whole") - 200
    model = model_of(Encoder.fit(x))
    assert model.inputs.scale is None and model.clipped(x).sum() == 0
    x = x.astype(float)
    x[3, 1] = value
    with pytest.raises(
        InputError, match=rf"^feature 1 of sample 3 is {float(value)}: this model takes whole numbers {limit}"
    ):
        model.predict_many(x)


def test_names_come_from_the_notes() -> None:
    model = model_of(Encoder.fit(table("float")), ("a", "b", "c", "d", "é"), ("no", "yes"))
    assert model.feature_names == ("a", "b", "c", "d", "é") and model.class_names == ("no", "yes")
    plain = model_of(Encoder.fit(table("float")))
    assert plain.feature_names == plain.inputs.classes == () and plain.learner == "none"
    assert plain.class_names == ("class 0", "class 1")


def test_a_spare_class_that_was_learnt_has_a_name() -> None:
    network = fresh(RNG.normal(size=(64, 3)), 2, spare_classes=2, class_names=("no", "yes"), units=8)
    model = Model(write_image(network))
    model.learn_one([1.0, 2.0, 3.0], 3)
    label = model.predict_one([1.0, 2.0, 3.0])
    assert label == 3 and model.class_names[label] == "class 3"
    assert model.class_names == ("no", "yes", "class 2", "class 3") and model.inputs.classes == ("no", "yes")


def test_integers_of_the_device_are_not_scaled_twice() -> None:
    x = table("float")
    model = model_of(Encoder.fit(x))
    taken = model.quantise(x)
    for verb in (model.scores, model.quantise, model.clipped, model.device_bytes, lambda x: model.learn_one(x[0], 0)):
        with pytest.raises(
            InputError, match="^inputs are int16, the integers that quantise gives.*scale them a second time"
        ):
            verb(taken)
    assert np.array_equal(model.scores(model.device_bytes(x)), model.scores(x))
    assert np.array_equal(model.device_bytes(model.device_bytes(x)), model.device_bytes(x))
    assert not np.array_equal(model.scores(taken.astype(np.float32)), model.scores(x))
    # without a scale they are the numbers themselves
    numbers = table("whole")
    whole = model_of(Encoder.fit(numbers))
    assert np.array_equal(whole.scores(numbers.astype(np.int16)), whole.scores(numbers))


def test_bytes_that_a_scale_made_are_not_scaled_twice() -> None:
    x = RNG.normal(size=(40, 3))
    low, steps = x.min(0).astype(np.float32), (255 / np.ptp(x, axis=0)).astype(np.float32)
    model = model_of(Encoder("uint8", low, steps, np.full((1, 3), 128, np.int32)))
    taken = model.device_bytes(x)
    assert model.inputs.scale is not None and taken.shape == x.shape and taken.min() == 0 and taken.max() == 255
    assert np.array_equal(model.device_bytes(taken), taken) and np.array_equal(model.scores(taken), model.scores(x))


def test_features_that_never_varied_are_known_with_and_without_a_scale() -> None:
    for x in (table("float"), table("whole"), np.clip(table("bytes"), 0, 255)):
        x[:, 2] = 7
        constant = model_of(Encoder.fit(x)).inputs.constant
        fresh_one = Model(write_image(fresh(x, 2, units=8))).inputs.constant
        assert constant is not None and fresh_one is not None
        assert constant.tolist() == fresh_one.tolist() == (x.min(0) == x.max(0)).tolist()


@pytest.mark.parametrize(
    "x", [np.zeros((2, 4)), np.zeros((2, 10)), np.zeros(5), np.zeros((2, 5), "U1"), np.zeros((2, 11), np.uint8)]
)
def test_another_shape_or_kind_is_refused(x: Any) -> None:
    with pytest.raises(InputError, match="shape|values|numbers"):
        model_of(Encoder.fit(table("float"))).predict_many(x)


def told(verb: Any) -> Any:
    """The answer, or the kind and text of the error."""
    try:
        return verb()
    except Exception as error:
        return type(error), str(error)


def forms(row: np.ndarray) -> list[Any]:
    """One sample in every form that a caller may have it in, and some that no model takes."""
    with np.errstate(invalid="ignore", over="ignore"):
        dtypes: tuple[Any, ...] = (
            "u1",
            "<i2",
            ">i2",
            "?",
            "f4",
            "f8",
            ">f4",
            "f2",
            "i1",
            "u2",
            "i8",
            "c16",
            "U3",
            object,
        )
        arrays = [row.astype(dtype) for dtype in dtypes]
    spread = np.repeat(row.astype("f4"), 2)[::2]
    odd = np.frombuffer(b"0" + row.astype("f8").tobytes(), "f8", row.size, 1)
    wrong = [row[:-1].astype("f4"), row.astype("u1")[:-1], row[None].astype("f4"), np.float32(3), None, "text", {}]
    nothing = [np.where(np.arange(row.size) == 1, bad, row) for bad in (np.nan, np.inf, -1e300, 1e300)]
    raw = row.astype("<i2").view("u1")
    return [*arrays, spread, odd, *wrong, *nothing, row.tolist(), raw, raw.tobytes(), bytearray(raw), memoryview(raw)]


@pytest.mark.parametrize("learner", ["head", "none"])
@pytest.mark.parametrize("kind", ["float", "whole", "bytes"])
def test_one_sample_is_taken_or_refused_as_many_are(kind: str, learner: str) -> None:
    numbers = table(kind) if kind != "bytes" else np.clip(table(kind), 0, 255)
    if learner == "head":
        model = Model(write_image(fresh(numbers, 2, units=8)))
        many = Model(model.image())
    else:
        model = many = model_of(Encoder.fit(numbers))
    labels = [
        0,
        True,
        np.int64(1),
        np.uint8(1),
        np.array(1),
        2,
        -1,
        2**70,
        1.0,
        "1",
        None,
        [1],
        np.array([1]),
        np.float32(1),
    ]
    for form, label in zip(forms(numbers[3]), np.resize(np.arange(len(labels)), 40), strict=False):
        want = told(lambda form=form: int(many.predict_many(np.asarray(form)[None])[0]))
        assert told(lambda form=form: model.predict_one(form)) == want, form
        for y in (1, labels[label]):
            steps = told(lambda form=form, y=y: many.learn_many(np.asarray(form)[None], [y]))
            step = told(lambda form=form, y=y: model.learn_one(form, y))
            assert step == (steps if isinstance(steps[0], type) else tuple(int(column[0]) for column in steps)), (
                form,
                y,
            )
        assert model.state() == many.state()
