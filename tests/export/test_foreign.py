"""Networks of Larq: equal decisions, hidden levels that learn on, one sentence for each layer that has no counterpart."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import suppress
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_digits import DIGITS, FILES, LARQ, OnDevice, learnt_on
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from metabit.experiments.rivals import SLDA, Majority, NearestMean, Softmax
from metabit.export import ExportError, Frozen, MissingExtra, VisitOptions, foreign, frozen_of, thaw, write_image
from metabit.export.files.flatbuffer import View
from metabit.export.files.lce_file import write_lce
from metabit.export.files.lce_runtime import lce_interpreter
from metabit.export.files.tflite_schema import IDENTIFIER, read_constants
from metabit.runtime import Model

PAGE = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
RIVALS = {"majority class": Majority, "nearest class mean": NearestMean, "softmax SGD": Softmax, "SLDA": SLDA}
H5, TFLITE = (FILES / "larq_dense.h5").read_bytes(), (FILES / "larq_conv.tflite").read_bytes()
NUMBERS = {"dense": "-1,1,16", "conv": "-1,1", "pooled": "-1,1", "chain": "-1,1,16"}
ALL = [f"larq_{name}{end}" for name in NUMBERS for end in (".h5", ".tflite")] + ["larq_dense_weights.h5"]


def pictures(name: str) -> np.ndarray:
    """Inputs of a network of make_larq.py as bytes (256, F)."""
    if name in ("dense", "chain"):
        return DIGITS
    image = (DIGITS.astype(np.int64) * 255 // 16).reshape(-1, 8, 8).repeat(3, 1).repeat(3, 2)
    if name == "pooled":
        return image.reshape(len(image), -1).astype(np.uint8)
    out = np.zeros((len(image), 28, 28, 3), np.uint8)
    out[:, 2:26, 2:26] = np.stack([image, image.transpose(0, 2, 1), 255 - image], -1)
    return out.reshape(len(out), -1)


def name_of(file: str) -> str:
    return file.split("_")[1].partition(".")[0]


def built(file: str, hidden: foreign.Hidden | None = None, bits: int = 4) -> Frozen:
    if file.endswith(".h5"):
        pytest.importorskip("h5py")
    numbers = foreign.Numbers.parse(NUMBERS[name_of(file)])
    return foreign.build(foreign.read(FILES / file), VisitOptions(bits=bits), hidden, numbers)


@pytest.mark.parametrize("file", ALL)
def test_decisions_and_scores_are_those_of_keras_and_of_larqs_interpreter(file: str) -> None:
    frozen = built(file, "surest")
    scores = Model(write_image(frozen)).scores(pictures(name_of(file)))
    for engine in ("keras", "lce"):
        told = LARQ[f"larq_{name_of(file)}.{engine}"]
        np.testing.assert_array_equal(scores.argmax(1), told.argmax(1))
        nats = scores * (frozen.temperature / 65536)
        nats -= np.log(np.exp(nats - nats.max(1, keepdims=True)).sum(1, keepdims=True)) + nats.max(1, keepdims=True)
        near = told > 1e-6
        np.testing.assert_allclose(nats[near], np.log(told[near]), rtol=0.01, atol=0.02)


@pytest.mark.parametrize("name", NUMBERS)
def test_larqs_interpreter_decides_alike_now(name: str) -> None:
    data = (FILES / f"larq_{name}.tflite").read_bytes()
    try:
        engine = lce_interpreter(data)
    except MissingExtra as absent:
        pytest.skip(f"larq_compute_engine: {absent}")
    frozen, top = built(f"larq_{name}.tflite"), 16 if NUMBERS[name].endswith("16") else 255
    x = np.random.default_rng(0).integers(0, top + 1, (40, frozen.features)).astype(np.uint8)
    numbers = (x / np.float32(top / 2) - np.float32(1)).astype(np.float32)
    (shape,) = engine.input_shapes
    want = [engine.predict([one.reshape(shape)])[0].argmax() for one in numbers]
    assert Model(write_image(frozen)).predict_many(x).tolist() == want


def test_levels_start_where_hidden_says() -> None:
    """Both files have the same weights. Without --hidden the levels follow the file's hidden weights, where it has them."""
    layers = {hidden: built("larq_dense.h5", hidden).layers for hidden in (*foreign.HIDDEN, None)}
    for i in (1, 2):
        surest, least, file = (layers[hidden][i].hidden for hidden in foreign.HIDDEN)
        assert set(np.unique(surest)) == {-8, 7} and set(np.unique(least)) == {-1, 0} and len(np.unique(file)) > 12
        assert ((surest >= 0) == (least >= 0)).all() and ((surest >= 0) == (file >= 0)).all()
        np.testing.assert_array_equal(file, layers[None][i].hidden)
        np.testing.assert_array_equal(surest, built("larq_dense.tflite").layers[i].hidden)
    assert layers["surest"][0].bits == 1 and layers["surest"][0].rule is None  # it takes bytes


def test_bits_as_inputs() -> None:
    """The network of signs of pictures takes bits just as well, and then its first layer could learn."""
    chain = foreign.Chain("a test", (3,))
    chain.dense("a", np.array([[1, -1, 1], [1, 1, -1]], np.int8), np.ones(2))
    chain.affine("b", np.array([1.0, -2.0]), np.array([0.5, 1.0]))
    chain.sign()
    chain.dense("d", np.array([[1, -1], [-1, 1]], np.int8), np.ones(2))
    told, x = chain.finish(), np.array([[i >> 2 & 1, i >> 1 & 1, i & 1] for i in range(8)], np.uint8)
    for text, low, step in (("bits", 0, 1), ("signs", -1, 2)):
        frozen = foreign.build(told, VisitOptions(bits=3), "least", foreign.Numbers.parse(text))
        sums = (low + step * x.astype(int)) @ [[1, 1], [-1, 1], [1, -1]]
        signs = np.where(sums * [1, -2] + [0.5, 1] >= 0, 1, -1)
        want = signs @ [[1, -1], [-1, 1]]
        scores = Model(write_image(frozen)).scores(np.packbits(x, axis=1, bitorder="little"))
        assert (np.sign(scores[:, 0] - scores[:, 1]) == np.sign(want[:, 0] - want[:, 1])).all()
        assert [layer.rule is not None for layer in frozen.layers] == [True, True]


@cache
def first_digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits on which Larq trained the networks: all of scikit-learn's but the last 256."""
    x, y = load_digits(return_X_y=True)
    np.testing.assert_array_equal(x[-256:], DIGITS)
    return x[:-256].astype(np.uint8), y[:-256]


@pytest.mark.parametrize("name", [*(f"metabit, `{hidden}`" for hidden in foreign.HIDDEN), *RIVALS])
def test_it_learns_on_beside_its_rivals_as_the_page_says(name: str) -> None:
    x, y = first_digits()
    if name in RIVALS:
        rival = RIVALS[name](64, 10)
        rival.fit(x, y)
        before, after, learners = learnt_on(lambda: deepcopy(rival))
        first, size = rival.predict(x), rival.bytes()
    else:
        frozen = built("larq_dense.h5", next(hidden for hidden in foreign.HIDDEN if hidden in name))
        before, after, learners = learnt_on(lambda: OnDevice(frozen))
        first, size = OnDevice(frozen).predict(x), learners[0].model.state_size
    old = 100 * np.mean([learner.predict(x) == y for learner in learners])
    row = f"| {name} | {before:.1f} | {after:.1f} | {100 * np.mean(first == y):.1f} | {old:.1f} | {size:,} B |"
    assert row in PAGE.splitlines()


@pytest.mark.parametrize("file", ALL)
def test_a_checkpoint_gives_the_network_back(file: str) -> None:
    frozen = built(file)
    assert write_image(frozen_of(thaw(frozen))) == write_image(frozen)


# The converter of Larq and the writer of metabit


def binary_convolutions(data: bytes) -> list[tuple[list[np.ndarray | None], bytes]]:
    """The constants (filter, multiplier, addend, limits) and the options of each LceBconv2d of a file's first subgraph."""
    model, found = View.root(data, IDENTIFIER), []
    codes, graph, buffers = [code.string(1) for code in model.tables(1)], model.tables(2)[0], model.tables(4)
    tensors = graph.tables(0)

    def constant(index: int) -> np.ndarray | None:
        if index < 0:
            return None
        dtype = np.float32 if tensors[index].number(1, np.int8) == 0 else np.int32
        content = buffers[tensors[index].number(2, np.uint32)].array(0, np.uint8).tobytes()
        return np.frombuffer(content, dtype).reshape(tensors[index].array(0, np.int32))

    for operator in graph.tables(3):
        if codes[operator.number(0, np.uint32)] == "LceBconv2d":
            constants = [constant(index) for index in operator.array(1, np.int32).tolist()[1:]]
            found.append((constants, operator.array(5, np.uint8).tobytes()))
    return found


@pytest.mark.parametrize(("name", "first", "limits"), [("chain", 0, 3), ("conv", 1, 1), ("pooled", 0, 0)])
def test_filters_thresholds_and_options_are_the_bytes_of_larqs_converter(name: str, first: int, limits: int) -> None:
    """From the float .h5, metabit's own way to the integers, against the file that Larq's converter made of the same network.

    first: the first layer that the converter writes as LceBconv2d. limits: how many of them have thresholds there; the rest give
    floats, and keep a negative gain in the multiplier, where metabit negates the filter.
    """
    ours = write_lce(built(f"larq_{name}.h5"))
    theirs, arrays = binary_convolutions((FILES / f"larq_{name}.tflite").read_bytes()), read_constants(ours)[1]
    if name == "chain":
        theirs.pop()  # its window is the whole picture: a dense layer of metabit
    assert len(theirs) == {"chain": 3, "conv": 2, "pooled": 2}[name]
    assert sum(constants[3] is not None for constants, _ in theirs) == limits
    for i, ((want, options), (got, found)) in enumerate(
        zip(theirs, binary_convolutions(ours)[first:], strict=False), first
    ):
        assert found == options and got[0] is not None and want[0] is not None
        np.testing.assert_array_equal(got[0], arrays[f"layer{i}.filter"])
        if want[3] is not None:
            assert got[0].tobytes() == want[0].tobytes()
            assert arrays[f"layer{i}.most_unlike"].tobytes() == want[3].tobytes()
        elif name != "pooled":  # where a pool lies between sum and sign, other layers take the sign of a gain
            assert want[1] is not None
            falls = want[1] < 0
            assert (
                got[0][~falls].tobytes() == want[0][~falls].tobytes()
                and (got[0] != want[0])[falls].any((1, 2, 3)).all()
            )


# Refusals


Change = Callable[[list[dict[str, Any]]], object]


def changed(change: Change, data: bytes = H5) -> bytes:
    """The .h5 file with other settings of its layers, input_1, quant_dense, batch_normalization, quant_dense_1 ..."""
    h5py = pytest.importorskip("h5py")
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        change(model["config"]["layers"])
        file.attrs["model_config"] = json.dumps(model)
    return buffer.getvalue()


def layer(kind: str, **config: Any) -> Change:
    """A further layer, before the second dense one."""
    return lambda layers: layers.insert(3, {"class_name": kind, "config": {"name": "extra", **config}})


def setting(at: int, **config: Any) -> Change:
    return lambda layers: layers[at]["config"].update(config)


NO_COUNTERPART = {
    **{kind: (layer(kind), rf"'extra' is a {kind}, which has no counterpart in a metabit network: metabit has dense") for kind in (
        "Dense", "Conv2D", "Conv1D", "Conv3D", "DepthwiseConv2D", "AveragePooling2D", "GlobalAveragePooling2D", "Add", "LSTM",
        "Concatenate", "Embedding", "LayerNormalization", "PReLU", "ReLU", "UpSampling2D", "Lambda", "QuantConv1D", "QuantConv3D",
        "QuantSeparableConv2D", "QuantDepthwiseConv2D", "QuantConv2DTranspose", "QuantLocallyConnected2D",
    )},
    "activation": (layer("Activation", activation="relu"), "'extra' has activation relu, .*: use a sign"),
    "an inner activation": (setting(1, activation="tanh"), "'quant_dense' has activation tanh"),
    "float weights": (setting(1, kernel_quantizer=None), "'quant_dense' has kernel_quantizer None, .*: train it with ste_sign"),
    "ternary weights": (setting(3, kernel_quantizer="ste_tern"), "'quant_dense_1' has kernel_quantizer SteTern"),
    "DoReFa inputs": (
        setting(3, input_quantizer={"class_name": "Larq>DoReFa", "config": {}}), "'quant_dense_1' has input_quantizer DoReFa"),
    "no signs between": (setting(3, input_quantizer=None), "'quant_dense_1' takes numbers of layer 'quant_dense'"),
    "a pool": (layer("MaxPooling2D", pool_size=[2, 2], strides=None, padding="valid"), "'extra' pools something other"),
    "another axis": (setting(2, axis=[0]), r"'batch_normalization' normalises axis \[0\]"),
    "channels first": (setting(1, data_format="channels_first"), "'quant_dense' has data_format='channels_first'"),
    "softmax inside": (layer("Softmax"), "'extra' is a softmax that other layers follow, .*: take a sign there"),
    "an inner softmax": (setting(1, activation="softmax"), "'quant_dense' is a softmax that other layers follow"),
    "no classes": (lambda layers: layers[-1].update(class_name="SteSign"),
                   "ends behind 'quant_dense_2' without a dense layer that gives a number for each class"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), NO_COUNTERPART.values(), ids=NO_COUNTERPART)
def test_a_layer_without_counterpart_is_named(change: Change, sentence: str) -> None:
    with pytest.raises(ExportError, match=sentence) as caught:
        foreign.read_bytes(changed(change))
    assert "\n" not in str(caught.value) and (
        "no counterpart" in str(caught.value) or "ends behind" in str(caught.value)
    )


CONVOLUTIONS = {
    "zeros around": (
        dict(pad_values=0.0),
        "'.*' pads with 0, metabit with 1, the highest input: train with padding 'valid'",
    ),
    "strides": (dict(strides=[1, 2]), r"kernel of 3 x 3 and strides \(1, 2\), .*: use a square kernel and one stride"),
    "dilation": (dict(dilation_rate=[2, 2]), "has dilation or groups, .*: use one group without dilation"),
    "groups": (dict(groups=2), "has dilation or groups"),
    "causal": (dict(padding="causal"), "has padding 'causal', .*: use 'same' or 'valid'"),
}


@pytest.mark.parametrize(("config", "sentence"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_a_convolution_without_counterpart_is_named(config: dict[str, Any], sentence: str) -> None:
    data = changed(setting(1, **config), (FILES / "larq_conv.h5").read_bytes())
    with pytest.raises(ExportError, match=sentence):
        foreign.build(foreign.read_bytes(data), numbers=foreign.Numbers.parse("-1,1"))


@pytest.mark.parametrize(
    ("was", "now", "sentence"),
    [
        (b"LceQuantize", b"LceQuantizf", "is the operator LceQuantizf, .*: larq-compute-engine 0.16 has LceQuantize"),
        (b"LceBMaxPool2d", b"LceBAvgPool2d", "is the operator LceBAvgPool2d"),
    ],
)  # fmt: skip
def test_an_operator_without_counterpart_is_named(was: bytes, now: bytes, sentence: str) -> None:
    assert was in TFLITE
    with pytest.raises(ExportError, match=sentence):
        foreign.read_bytes(TFLITE.replace(was, now))


def test_an_ordinary_float_network_is_refused_by_its_layer() -> None:
    data = (FILES / "tensorflow.tflite").read_bytes()
    assert foreign.is_foreign(data)
    with pytest.raises(
        ExportError, match=r"tensorflow.tflite: layer 'sequential/dense/.*' has real weights, .*: train it with"
    ):
        foreign.read(FILES / "tensorflow.tflite")
    with pytest.raises(ExportError, match="not a network that metabit can import, it starts with b'GGUF"):
        foreign.read_bytes(b"GGUF0000000000")


def test_numbers_of_the_inputs_are_needed_and_checked() -> None:
    told = foreign.read(FILES / "larq_conv.tflite")
    with pytest.raises(ExportError, match="does not say which numbers its 2352 inputs are: add numbers=LOW,HIGH"):
        foreign.build(told)
    for text in ("1,-1", "0", "a,b", "0,1,0", "0,nan", "0,1,2,3"):
        with pytest.raises(
            ExportError, match=r"numbers='.*': give LOW,HIGH, the numbers that bytes 0 and 255 stand for"
        ):
            foreign.Numbers.parse(text)


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(["larq_dense_weights.h5", "larq_conv.tflite", "larq_dense.tflite"]),
    st.lists(st.tuples(st.integers(0, 2**16), st.integers(1, 255)), min_size=0, max_size=4),
    st.integers(0, 2**16),
)
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(
    file: str, hits: list[tuple[int, int]], end: int
) -> None:
    if file.endswith(".h5"):
        pytest.importorskip("h5py")
    data = bytearray((FILES / file).read_bytes())
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: end % len(data)]):
        with suppress(ExportError):
            foreign.is_foreign(bytes(damaged))
            foreign.build(foreign.read_bytes(bytes(damaged)), numbers=foreign.Numbers.parse("-1,1"))


def test_h5py_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(MissingExtra, match=r"needs h5py: pip install 'metabit\[keras\]'"):
        foreign.read_bytes(H5)
