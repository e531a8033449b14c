"""Networks of Brevitas and FINN: equal decisions, levels from the file's floats, one sentence for what has no counterpart."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_digits import DIGITS, FILES, OnDevice, learnt_on
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.export import ExportError, Frozen, VisitOptions, foreign, frozen_of, read_file, thaw, write_image
from metabit.runtime import Model

onnx = pytest.importorskip("onnx")

GOLDEN = dict(np.load(FILES / "qonnx.npz"))
NAMES = ["brevitas_dense", "brevitas_conv", "finn_dense"]
NUMBERS = foreign.Numbers.parse("-1,1,16")


def built(name: str, hidden: foreign.Hidden | None = None) -> Frozen:
    return foreign.build(foreign.read(FILES / f"{name}.onnx"), VisitOptions(bits=4), hidden, NUMBERS)


@pytest.mark.parametrize(("name", "told"), [(name, told) for name in NAMES for told in GOLDEN if told.startswith(name)])
def test_numbers_and_decisions_are_those_of_brevitas_and_of_qonnx(name: str, told: str) -> None:
    """A score is the number of the class, rounded: two classes nearer than the rounding may change places."""
    frozen, numbers = built(name), GOLDEN[told].astype(np.float64)
    scores = Model(write_image(frozen)).scores(DIGITS) * (frozen.temperature / 65536)
    centred = [values - values.mean(1, keepdims=True) for values in (scores, numbers)]
    np.testing.assert_allclose(*centred, atol=0.004)
    ordered = np.sort(numbers, 1)
    clear = ordered[:, -1] - ordered[:, -2] > 0.008
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(scores[clear].argmax(1), numbers[clear].argmax(1))


def test_floats_before_the_quantizer_are_hidden_weights() -> None:
    assert len(np.unique(built("brevitas_dense").layers[1].hidden)) > 12
    assert set(np.unique(built("finn_dense").layers[1].hidden)) == {-8, 7}  # it has signs only
    finn, brevitas = (built(name, "surest") for name in ("finn_dense", "brevitas_dense"))
    for a, b in zip(finn.layers[:2], brevitas.layers[:2], strict=True):  # negated units are the same ones
        np.testing.assert_array_equal(a.hidden, b.hidden)
        np.testing.assert_array_equal(a.theta, b.theta)


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_gives_the_network_back(name: str) -> None:
    frozen = built(name)
    assert write_image(frozen_of(thaw(frozen))) == write_image(frozen)


@pytest.mark.parametrize(("signed", "narrow", "lowest"), [(1, 0, -128), (1, 1, -127), (0, 0, 0)])
def test_integers_of_a_quantizer_of_the_inputs_are_the_bytes(signed: int, narrow: int, lowest: int) -> None:
    """Quant rounds and limits the inputs: its integers, from the lowest on, are what the device takes."""
    random = np.random.default_rng(0)
    first, second = (random.choice([-0.5, 0.5], shape).astype(np.float32) for shape in ((6, 5), (5, 3)))
    arrays = {
        "scale": 2.0**-7,
        "zero": 0,
        "bits": 8,
        "first": first,
        "limits": random.normal(0, 0.5, (5, 1)),
        "second": second,
    }
    quant = {"domain": "qonnx.custom_op.general"}
    nodes = [
        onnx.helper.make_node(
            "Quant", ["x", "scale", "zero", "bits"], ["q"], "q", signed=signed, narrow=narrow, **quant
        ),
        onnx.helper.make_node("MatMul", ["q", "first"], ["sums"]),
        onnx.helper.make_node("MultiThreshold", ["sums", "limits"], ["signs"], out_scale=2.0, out_bias=-1.0, **quant),
        onnx.helper.make_node("MatMul", ["signs", "second"], ["y"]),
    ]
    values = [onnx.helper.make_tensor_value_info(name, 1, [1, n]) for name, n in (("x", 6), ("y", 3))]
    constants = [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()]
    told = foreign.read_bytes(
        onnx.helper.make_model(
            onnx.helper.make_graph(nodes, "g", values[:1], values[1:], constants)
        ).SerializeToString()
    )
    q = random.integers(0, 256 - narrow, (50, 6)).astype(np.uint8)
    signs = np.where((q.astype(int) + lowest) / 128 @ first >= arrays["limits"][:, 0].astype(np.float32), 1, -1)
    found = Model(write_image(foreign.build(told))).scores(q)
    want = signs @ second * 2
    np.testing.assert_array_equal(found - found.mean(1, keepdims=True), want - want.mean(1, keepdims=True))
    with pytest.raises(ExportError, match="says which numbers its inputs are: leave out numbers="):
        foreign.build(told, numbers=NUMBERS)


def test_it_learns_on() -> None:
    frozen = built("brevitas_conv")
    before, after, _ = learnt_on(lambda: OnDevice(frozen))
    assert after > before + 2


def test_the_command_takes_them(tmp_path: Path) -> None:
    import command_line

    given = ("-o", tmp_path, "--input=-1,1,16", "--hidden", "least", "--bits", 2)
    assert command_line.run("import", FILES / "brevitas_conv.onnx", *given) == 0
    frozen = read_file(tmp_path / "model.mbit").frozen
    assert set(np.unique(frozen.layers[-1].hidden)) == {-1, 0}


# Refusals


def changed(change: Callable[[Any], object], name: str = "brevitas_dense") -> bytes:
    model = onnx.load(FILES / f"{name}.onnx")
    change(model.graph)
    return bytes(model.SerializeToString())


def node(graph: Any, kind: str, at: int = 0) -> Any:
    return [one for one in graph.node if one.op_type == kind][at]


def instead(kind: str, by: str, **attributes: Any) -> Callable[[Any], object]:
    """The first operator of a kind is another one."""

    def change(graph: Any) -> None:
        one = node(graph, kind)
        one.op_type, one.name = by, "it"
        one.attribute.extend(onnx.helper.make_attribute(name, value) for name, value in attributes.items())

    return change


def constant(kind: str, at: int, value: Any) -> Callable[[Any], object]:
    """The input of the first operator of a kind is another constant."""

    def change(graph: Any) -> None:
        one = node(graph, kind)
        one.name, one.input[at] = "it", "other"
        graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(value, np.float32), "other"))

    return change


def shortcut(graph: Any) -> None:
    one = node(graph, "BatchNormalization", 1)
    one.name, one.input[0] = "it", node(graph, "BatchNormalization").output[0]


def outside(graph: Any) -> None:
    graph.initializer[0].data_location = 1


def free_shape(graph: Any) -> None:
    graph.input[0].type.tensor_type.shape.dim[1].dim_param = "n"


def quantised(graph: Any, at: int = 1) -> None:
    one = node(graph, "BipolarQuant", at)
    one.op_type, one.name = "Quant", "it"
    for name, value in (("zero", 0), ("bits", 8)):
        graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), name))
        one.input.append(name)


NO_COUNTERPART = {
    **{kind: ("brevitas_dense", instead("BatchNormalization", kind), rf"'it' is a {kind}, which has no counterpart in a metabit "
              "network: metabit has dense") for kind in ("Relu", "Tanh", "InstanceNormalization", "LSTM", "Clip", "Sign")},
    **{kind: ("brevitas_conv", instead("MaxPool", kind), rf"'it' is a {kind}, which has") for kind in ("AveragePool", "Resize")},
    "float weights": ("finn_dense", constant("MatMul", 1, np.arange(64 * 33).reshape(64, 33)), "'it' has real weights, .*: train"),
    "2 bits": ("finn_dense", constant("MultiThreshold", 1, np.zeros((33, 3))), r"has thresholds \[33, 3\] .*activations of 1 bit"),
    "activations of 8 bits": ("brevitas_dense", quantised, "'it' quantises to 256 levels, .*: train with activations of 1 bit"),
    "weights of 8 bits": ("brevitas_dense", lambda graph: quantised(graph, 0), "'it' has weights of several bits, .*: train"),
    "a negative scale": ("brevitas_dense", constant("BipolarQuant", 1, [-1.0]), "'it' has a scale of -1, .*: use scales above 0"),
    "dilation": ("brevitas_conv", instead("Conv", "Conv", dilations=[2, 2]), "'it' has dilation, groups or channels at the end"),
    "a pool": ("brevitas_conv", instead("MaxPool", "MaxPool", ceil_mode=1), "'it' pools with padding or dilation"),
    "transposed": ("brevitas_conv", instead("MaxPool", "Transpose", perm=[0, 1, 3, 2]), r"'it' exchanges the axes \(0, 1, 3, 2\)"),
    "a shortcut": ("brevitas_dense", shortcut, r"'it' \(BatchNormalization\) does not take the tensor before it, .*without sh"),
    "a free shape": ("brevitas_dense", free_shape, r"has the shape \[0\]: export it with a fixed shape"),
    "two files": ("brevitas_dense", outside, r"lies in another file: make one of both, onnx.save"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "change", "sentence"), NO_COUNTERPART.values(), ids=NO_COUNTERPART)
def test_what_has_no_counterpart_is_named(name: str, change: Callable[[Any], object], sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        foreign.build(foreign.read_bytes(changed(change, name)), numbers=NUMBERS)
    assert "\n" not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(NAMES), st.lists(st.tuples(st.integers(0, 2**15), st.integers(1, 255)), max_size=4), st.integers(0, 2**15)
)  # fmt: skip
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(
    name: str, hits: list[tuple[int, int]], end: int
) -> None:
    data = bytearray((FILES / f"{name}.onnx").read_bytes())
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: end % len(data)]):
        with suppress(ExportError):
            foreign.is_foreign(bytes(damaged))
            foreign.build(foreign.read_bytes(bytes(damaged)), numbers=NUMBERS)
