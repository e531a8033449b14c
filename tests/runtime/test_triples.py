"""Units from nothing in an image: C equals the oracle after every step, the page says what lies where, and no lie opens."""

from __future__ import annotations

import re
import struct
from typing import Any

import numpy as np
import pytest
from agreement import agree_while_learning
from networks import fresh_network, inputs, seal

from metabit.export import Frozen, TriplesLayer, read_image, write_image
from metabit.runtime import Model, ModelError, include_dir

RECORD, HEAD = 64, 128
SMALL = fresh_network(1, features=5, units=6, classes=3, takes="float")
IMAGE = write_image(SMALL)


@pytest.mark.parametrize(
    ("units", "classes", "spare", "features", "takes", "steps"),
    [
        (2, 2, 0, 1, "uint8", 60),
        (24, 5, 2, 40, "int16", 60),
        (64, 10, 0, 7, "float", 40),
        (128, 3, 0, 300, "uint8", 12),
        (6, 128, 28, 4, "float", 20),
    ],
)
@pytest.mark.parametrize("used", [False, True], ids=["spare classes unused", "all classes"])
def test_c_equals_the_oracle_after_every_step(
    units: int, classes: int, spare: int, features: int, takes: Any, steps: int, used: bool
) -> None:
    frozen = fresh_network(units, features, units, classes, spare, takes)
    x = inputs(frozen, steps, seed=units)
    labels = np.random.default_rng(classes).integers(0, classes if used else classes - spare, steps)
    agree_while_learning(frozen, x, labels)


def number(image: bytes, at: int, form: str) -> int:
    found: int = struct.unpack_from("<" + form, image, at)[0]
    return found


def array(image: bytes, at: int, dtype: str, count: int) -> tuple[Any, int]:
    """An array, and the offset behind it."""
    return np.frombuffer(image, dtype, count, at), at + count * np.dtype(dtype).itemsize


@pytest.mark.parametrize("takes", ["uint8", "float"])
def test_the_page_says_what_lies_where(takes: Any) -> None:
    """Written from runtime/FORMAT.md alone."""
    frozen = fresh_network(3, features=7, units=10, classes=3, takes=takes)
    image, wide = write_image(frozen), takes == "float"
    assert [number(image, RECORD + i, "B") for i in (0, 1, 2)] == [11, int(wide), 8]
    features, units = number(image, RECORD + 4, "H"), number(image, RECORD + 6, "H")
    assert (features, units) == (7, 10) and number(image, 42, "H") == features * (1 + wide)
    assert not any(
        image[RECORD + 3 : RECORD + 4]
        + image[RECORD + 8 : RECORD + 16]
        + image[RECORD + 20 : RECORD + 24]
        + image[RECORD + 40 : HEAD]
    )
    sign, fold, tables, scores, thresholds = (number(image, RECORD + at, "I") for at in (16, 24, 28, 32, 36))
    assert (scores != 0) == wide and sign < fold < tables < thresholds
    weight, at = array(image, sign, "i1", 3 * units)
    low, at = array(image, at, "i1", units)
    high, _ = array(image, at, "i1", units)
    mul, at = array(image, fold, "<i4", units)
    add, at = array(image, at, "<i4", units)
    top, _ = array(image, at, "<i4", units // 2)
    index, _ = array(image, tables, "<u2", 3 * units)
    feature_add, at = array(image, thresholds, "<i4", features)
    feature_mul, at = array(image, at, "<i2", features)
    feature_shift, _ = array(image, at, "u1", features)
    layer = read_image(image).layers[0]
    assert isinstance(layer, TriplesLayer)
    for name, found in {
        "hidden": weight.reshape(-1, 3), "low": low, "high": high, "mul": mul, "add": add, "top": top, "feature_add": feature_add,
        "index": index.reshape(-1, 3), "feature_mul": feature_mul, "feature_shift": feature_shift,
    }.items():  # fmt: skip
        np.testing.assert_array_equal(getattr(layer, name), found)
    if wide:
        np.testing.assert_array_equal(layer.scale, array(image, scores, "<f4", 2 * features)[0].reshape(2, -1))


def changed(at: int, form: str, value: int) -> bytes:
    """The image with a number changed and its checksums in order."""
    data = bytearray(IMAGE)
    struct.pack_into("<" + form, data, at, value)
    return seal(data)


def within(slot: int, at: int, form: str, value: int) -> bytes:
    """The image with a number changed, so many bytes behind the beginning of an array."""
    return changed(number(IMAGE, RECORD + slot, "I") + at, form, value)


SIGN, FOLD, TABLES, SCALE, FEATURES = 16, 24, 28, 32, 36
LIES = {
    "MB_E_KIND": {
        "another input": changed(RECORD + 1, "B", 2),
        "a byte that means nothing": changed(RECORD + 40, "B", 1),
        "counter planes": changed(RECORD + 3, "B", 6),
        "a head that takes gates": changed(HEAD + 1, "B", 4),
    },
    "MB_E_LAYERS": {"levels first": seal(IMAGE[:RECORD] + bytes([9, 4]) + bytes(62) + IMAGE[HEAD:])},
    "MB_E_SHAPE": {
        "no features": changed(RECORD + 4, "H", 0),
        "more features than the input": changed(RECORD + 4, "H", 6),
        "features of a byte": changed(RECORD + 1, "B", 0),
        "an odd number of units": changed(RECORD + 6, "H", 5),
        "130 units": changed(RECORD + 6, "H", 130),
        "a head of fewer values": changed(HEAD + 4, "H", 4),
    },
    "MB_E_BITS": {"7 bits": changed(RECORD + 2, "B", 7)},
    "MB_E_OFFSET": {
        "an array behind the end": changed(RECORD + FEATURES, "I", len(IMAGE)),
        "arrays out of order": changed(RECORD + TABLES, "I", number(IMAGE, RECORD + SIGN, "I")),
        "an array of another kind": changed(RECORD + FOLD, "I", 0),
    },
    "MB_E_RULE": {
        "a weight of 3": within(SIGN, 0, "b", 3),
        "a weight of -3": within(SIGN, 17, "b", -3),
        "a feature beyond the last": within(TABLES, 34, "H", 5),
        "low of -128": within(SIGN, 18, "b", -128),
        "low above high": within(SIGN, 24, "b", -127),
        "a steep unit": within(FOLD, 0, "i", 2**17 + 1),
        "a unit as steep downwards": within(FOLD, 20, "i", -(2**17) - 1),
        "a large add": within(FOLD, 24, "i", 2**30 + 1),
        "a negative top": within(FOLD, 48, "i", -1),
        "a large top": within(FOLD, 56, "i", 2**30 + 1),
        "a large add of a feature": within(FEATURES, 16, "i", -(2**30) - 1),
        "a negative mul of a feature": within(FEATURES, 20, "h", -1),
        "a shift of 25": within(FEATURES, 34, "B", 25),
    },
}  # fmt: skip


def codes() -> dict[str, int]:
    """Name -> number of every error of metabit.h."""
    header = (include_dir() / "metabit.h").read_text()
    return {name: int(value) for name, value in re.findall(r"\bMB_E_(\w+) = (-\d+)", header)}


@pytest.mark.parametrize(("code", "name"), [(code, name) for code, lies in LIES.items() for name in lies])
def test_a_lie_is_refused_by_its_code(code: str, name: str) -> None:
    with pytest.raises(ModelError) as caught:
        Model(LIES[code][name])
    assert caught.value.code == codes()[code.removeprefix("MB_E_")]


@pytest.mark.parametrize("name", [name for lies in LIES.values() for name in lies])
def test_the_exporter_refuses_what_c_refuses(name: str) -> None:
    from metabit.export import ExportError

    image = next(lies[name] for lies in LIES.values() if name in lies)
    with pytest.raises(ExportError):
        read_image(image)


def test_what_is_at_the_limit_opens() -> None:
    for image in (
        within(SIGN, 0, "b", -2), within(FOLD, 0, "i", 2**17), within(FOLD, 24, "i", -(2**30)), within(FOLD, 48, "i", 0),
        within(FEATURES, 0, "i", 2**30), within(FEATURES, 20, "h", 32767), within(FEATURES, 34, "B", 24),
    ):  # fmt: skip
        Model(image)
        read_image(image)


def test_a_frozen_network_says_what_it_takes() -> None:
    raw: Frozen = fresh_network(2, features=5, takes="uint8")
    assert (raw.integers, raw.input_bytes, raw.features, raw.packed, raw.scale) == ("uint8", 5, 5, False, None)
    assert (SMALL.integers, SMALL.input_bytes, SMALL.features) == ("int16", 10, 5) and SMALL.scale is not None
