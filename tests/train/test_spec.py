from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.train.errors import TrainError
from metabit.train.network.spec import Spec

GOOD: dict[str, Any] = {"features": 64, "hidden": (32, 16), "classes": 10, "encode": (2, 6, 10, 14)}


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    features, planes = draw(st.integers(1, 6)), draw(st.integers(0, 3))
    rows = np.array(
        draw(st.lists(st.integers(0, 255), min_size=planes * features, max_size=planes * features)), dtype=int
    )
    return Spec(
        features=features,
        hidden=tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))),
        classes=draw(st.integers(2, 5)),
        encode=rows.reshape(planes, features) if planes else None,
        norm=draw(st.sampled_from(["batch", "instance", "static"])),
        output=draw(st.sampled_from(["learned", "code"])),
        seed=draw(st.integers(0, 2**63 - 1)),
        input=draw(st.sampled_from(["bits"] if planes else ["bits", "uint8"])),
        image=draw(st.sampled_from([None, (1, features, 1)])),
        gamma_init=draw(st.sampled_from(["ones", "uniform"])),
        affine=draw(st.booleans()),
        statistics=draw(st.sampled_from(["running", "batch"])),
    )


@settings(deadline=None)
@given(specs())
def test_json_round_trip(spec: Spec) -> None:
    assert Spec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_shapes_and_names() -> None:
    spec = Spec(**GOOD, norm="batch", output="code")
    assert spec.input_bits == 256
    assert spec.shapes == ((32, 256), (16, 32), (10, 16))
    assert spec.trained == 2
    names = spec.tensors()
    assert names["encode.thresholds"] == (np.uint8, (4, 64))
    assert names["layers.1.hidden"] == (np.float32, (16, 32))
    assert names["layers.2.code"] == (np.int8, (10, 16))
    assert names["layers.1.norm.var"] == (np.float32, (16,))
    assert "layers.2.norm.var" not in names
    assert "layers.2.hidden" not in names
    assert list(Spec(5, (), 3, norm="static").tensors()) == ["layers.0.hidden"]


def test_shared_and_separate_thresholds() -> None:
    shared = np.repeat(np.array([[3], [9]]), 4, axis=1)
    assert Spec(4, (8,), 2, encode=shared) == Spec(4, (8,), 2, encode=[3, 9])
    separate = [[1, 2, 3], [4, 5, 6]]
    thresholds = Spec(3, (8,), 2, encode=separate).thresholds
    assert thresholds is not None and thresholds.dtype == np.uint8 and thresholds.tolist() == separate


def test_m_is_spread_over_the_trained_layers() -> None:
    spec = Spec(**GOOD, output="code")
    assert spec.per_layer(2) == (2.0, 2.0)
    assert spec.per_layer([0.5, 1]) == (0.5, 1.0)
    with pytest.raises(TrainError, match="m has 3 values"):
        spec.per_layer([1, 2, 3])
    with pytest.raises(TrainError, match="m=-1"):
        spec.per_layer(-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": 0}, "features=0: must be an integer from 1 to 16777216"),
        ({"features": 64.0}, r"features=64\.0"),
        ({"features": True}, "features=True"),
        ({"hidden": 512}, "hidden=512: must be a list"),
        ({"hidden": "512"}, "hidden='512': must be a list"),
        ({"hidden": (512, 0)}, r"hidden\[1\]=0: must be an integer from 1 to 16384"),
        ({"hidden": (4,) * 16}, "hidden has 16 layers: at most 15"),
        ({"hidden": (), "output": "code"}, "leaves nothing to train"),
        ({"classes": 1}, "classes=1: must be an integer from 2 to 16384"),
        ({"norm": "layer"}, "norm='layer': must be 'batch' or 'instance' or 'static'"),
        ({"output": "softmax"}, "output='softmax': must be 'learned' or 'code'"),
        ({"seed": -1}, "seed=-1"),
        ({"encode": 8}, r"encode has shape \(\)"),
        ({"encode": []}, r"encode has shape \(0,\)"),
        ({"encode": list(range(9))}, "1 to 8 thresholds"),
        ({"encode": [[1, 2, 3]]}, "encode has 3 columns: one for each of the 64 features"),
        ({"encode": [[1, 2], [3]]}, "rows of different lengths"),
        ({"encode": [0.5]}, "not an integer from 0 to 255"),
        ({"encode": [256]}, "not an integer from 0 to 255"),
        ({"features": 1 << 23, "encode": [1, 2, 3]}, "25165824 input bits"),
        ({"hiden": (4,)}, "unknown field 'hiden'"),
        ({"input": "float"}, "input='float': must be 'bits' or 'uint8'"),
        ({"input": "uint8"}, "input='uint8' with encode"),
        ({"gamma_init": "normal"}, "gamma_init='normal'"),
        ({"statistics": "none"}, "statistics='none'"),
        ({"affine": 1}, "affine=1: must be true or false"),
        ({"image": (8, 8)}, r"image=\(8, 8\): must be \(height, width, channels\)"),
        ({"image": (8, 8, 2)}, "has 128 values: there are 64 features"),
        ({"conv": ({"channels": 4},)}, "conv without image"),
        ({"conv": ({"kernel": 4},)}, r"conv\[0\] has no field 'channels'"),
        ({"conv": ({"channels": 4, "size": 3},)}, r"conv\[0\] has an unknown field 'size'"),
        ({"conv": (4,)}, r"conv\[0\]=4: must be an object"),
        ({"conv": ({"channels": 0},)}, "channels=0"),
        ({"conv": ({"channels": 1, "padding": "zero"},)}, "padding='zero': must be 'valid' or 'same'"),
        (
            {"image": (8, 8, 1), "conv": ({"channels": 2, "kernel": 5, "pool": 5},)},
            r"conv\[0\] leaves an image of 0 x 0",
        ),
        (
            {"features": 1 << 17, "encode": None, "input": "uint8"},
            "131072 uint8 inputs of a unit may sum to 33423360: beyond 16777216",
        ),
    ],
)
def test_wrong_values_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(TrainError, match=message):
        Spec.from_dict({**GOOD, **change})


def test_missing_fields_are_named() -> None:
    with pytest.raises(TrainError, match="no field 'classes'"):
        Spec.from_dict({"features": 3, "hidden": [4]})
