"""Steps whose place or axis decides: the right order of features, and a refusal where a step would change the decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from metabit.export import ExportError, foreign
from metabit.export.foreign.thresholds import first_reaching
from metabit.export.oracle import Oracle

onnx = pytest.importorskip("onnx")

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (60, 3, 4, 3))
"""Pictures (channel, row, column), as many columns as channels."""
A, B = (np.where(RANDOM.normal(size=shape) < 0, -1, 1).astype(np.float32) for shape in ((36, 16), (16, 3)))
FILTERS = np.ones((3, 3, 2, 2), np.float32)
EACH = RANDOM.integers(40, 216, 36).astype(np.float32)
CHANNELS = np.array([60, 130, 190], np.float32)
PADS = np.array([0, 0, 1, 1, 0, 0, 1, 1])
ARRAYS = {"a": A, "b": B, "one": np.float32(1), "each": EACH, "c": CHANNELS, "chw": CHANNELS.reshape(1, 3, 1, 1),
          "filters": FILTERS, "pads": PADS, "ones": np.ones(3, np.float32), "zeros": np.zeros(3, np.float32),
          "thresholds": EACH[:, None]}  # fmt: skip
Step = tuple[str, tuple[str, ...], dict[str, Any]]


def step(kind: str, *others: str, **attributes: Any) -> Step:
    return kind, others, attributes


FLATTEN, SIGN = step("Flatten"), step("BipolarQuant", "one")
HEAD = (step("MatMul", "a"), SIGN, step("MatMul", "b"))
CONV, POOL = step("Conv", "filters"), step("MaxPool", kernel_shape=[2, 2], strides=[2, 2])


def read(*steps: Step) -> foreign.Foreign:
    """The network of a chain of operators on pictures (3, 4, 3)."""
    nodes, at = [], "x"
    for i, (kind, others, attributes) in enumerate(steps):
        nodes.append(onnx.helper.make_node(kind, [at, *others], [f"y{i}"], f"{i}: {kind}", **attributes))
        at = f"y{i}"
    sides = [onnx.helper.make_tensor_value_info(*side) for side in (("x", 1, [1, 3, 4, 3]), (at, 1, [1, 3]))]
    constants = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in ARRAYS.items()]
    graph = onnx.helper.make_graph(nodes, "g", sides[:1], sides[1:], constants)
    return foreign.read_bytes(onnx.helper.make_model(graph).SerializeToString())


def signs(numbers: np.ndarray) -> np.ndarray:
    return np.where(numbers >= 0, 1, -1)


BY_FEATURE = PIXELS.reshape(60, -1) - EACH
BATCH_NORM = step("BatchNormalization", "ones", "zeros", "c", "ones", epsilon=1e-9)
RIGHT: dict[str, tuple[tuple[Step, ...], np.ndarray]] = {
    "an offset of each feature": ((FLATTEN, step("Sub", "each"), SIGN), BY_FEATURE),
    "a threshold of each feature": (
        (FLATTEN, step("MultiThreshold", "thresholds", out_scale=2.0, out_bias=-1.0)), BY_FEATURE),
    "an offset of each channel": ((step("Sub", "chw"), SIGN, FLATTEN), PIXELS - CHANNELS[:, None, None]),
    "a mean of each channel": ((BATCH_NORM, SIGN, FLATTEN), PIXELS - CHANNELS[:, None, None]),
}  # fmt: skip


@pytest.mark.parametrize(("steps", "numbers"), RIGHT.values(), ids=RIGHT)
def test_constants_of_features_and_channels_keep_their_order(steps: tuple[Step, ...], numbers: np.ndarray) -> None:
    oracle = Oracle(foreign.build(read(*steps, *HEAD), numbers=foreign.Numbers.parse("0,255")))
    want = signs(signs(numbers).reshape(60, -1) @ A) @ B
    rows = PIXELS.transpose(0, 2, 3, 1).reshape(60, -1).astype(np.uint8)
    got = np.stack([oracle.forward(row)[2] for row in rows])
    np.testing.assert_array_equal(got - got.mean(1, keepdims=True), want - want.mean(1, keepdims=True))


PAD = step("Pad", "pads", "one")
UNCLEAR = "which has no counterpart in a metabit network"
WRONG: dict[str, tuple[tuple[Step, ...], str]] = {
    "columns": ((step("Sub", "c"), SIGN, FLATTEN, *HEAD), r"'0: Sub' has a constant of shape \(3,\) on values of 4 axes, "),
    "rows": ((step("Transpose", perm=[0, 2, 3, 1]), BATCH_NORM), "'1: BatchN.*' normalises an axis other than that of the"),
    "a layout": ((step("MultiThreshold", "c1", out_scale=2.0, out_bias=-1.0, data_layout="NHWC"), FLATTEN, *HEAD), "an axis other"),
    "softmax": ((FLATTEN, HEAD[0], step("Softmax"), *HEAD[1:]), f"'2: Softmax' is a softmax that other layers follow, {UNCLEAR}"),
    "softmax, offset": ((FLATTEN, *HEAD, step("LogSoftmax"), step("Sub", "c")), "'4: LogSoftmax' is a softmax that other layers"),
    "by zero": ((FLATTEN, HEAD[0], step("Div", "nil"), *HEAD[1:]), "'2: Div' holds NaN or infinity"),
    "smallest": ((FLATTEN, *HEAD, step("TopK", "one", largest=0)), "'4: TopK' gives the smallest numbers"),
    "pad, offset": ((SIGN, CONV, PAD, step("Add", "chw"), SIGN, CONV), f"'2: Pad' pads something other .* convolution, {UNCLEAR}"),
    "pad, sign": ((SIGN, CONV, PAD, SIGN, CONV), "'2: Pad' pads something other than the input of a convolution"),
    "pad, pool": ((SIGN, CONV, SIGN, PAD, POOL, CONV), "'3: Pad' pads something other than the input of a convolution"),
}  # fmt: skip
ARRAYS |= {"c1": CHANNELS[:, None], "nil": np.float32(0)}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("steps", "sentence"), WRONG.values(), ids=WRONG)
def test_a_step_that_would_decide_otherwise_is_refused(steps: tuple[Step, ...], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence):
        read(*steps)


@pytest.mark.parametrize("later", [lambda c: c.sign(), lambda c: c.affine("s", np.ones(1), np.ones(1))])
def test_softmax_in_the_middle_is_refused_by_every_reader(later: Callable[[foreign.Chain], None]) -> None:
    chain = foreign.Chain("a test", (3,))
    chain.dense("a", np.ones((2, 3), np.int8), np.ones(2))
    chain.softmax("b")
    with pytest.raises(ExportError, match="'b' is a softmax that other layers follow"):
        later(chain)


def test_a_threshold_holds_where_the_files_number_is_not_negative() -> None:
    gain, offset = (
        array.ravel() for array in np.meshgrid([-2.0, -1.0, -0.3, 0.0, 0.3, 1.0, 2.0], [-3.0, -1.0, 0.0, 0.5, 3.0])
    )
    theta, falling = first_reaching(gain, offset)
    for a in range(-20, 21):
        holds = np.where(falling, a < theta, a >= theta)
        np.testing.assert_array_equal(holds, gain * a + offset >= 0, err_msg=str(a))
