"""Keras and Larq .h5: a whole model (`model.save`), or the weights alone of a dense network (`save_weights`, layer by layer).

The hidden weights are in the file: Larq keeps the numbers whose signs the network uses. A whole model brings its layers in
`model_config`. Weights alone say nothing of strides, pools and quantizers: dense layers with the usual signs between them are
assumed, and convolutions are refused.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

from metabit.export.errors import ExportError, MissingExtra, require
from metabit.export.foreign.chain import Chain, refuse, signs_of
from metabit.export.foreign.h5_arrays import Arrays, read_arrays
from metabit.export.foreign.network import Foreign
from metabit.export.foreign.thresholds import normalisation

MAGIC = b"\x89HDF\r\n\x1a\n"
TOOL = "Larq"
EPSILON = 1e-3
"""Added to a variance by Keras' BatchNormalization, where the file does not say it."""
KERNELS = ("SteSign", "ApproxSign", "SwishSign", "MagnitudeAwareSign")
INPUTS = ("SteSign", "ApproxSign", "SwishSign")
SIGNS = (*INPUTS, "ste_sign", "approx_sign", "swish_sign")
NOTHING = (
    "Dropout", "SpatialDropout2D", "AlphaDropout", "GaussianNoise", "GaussianDropout", "ActivityRegularization",
)  # fmt: skip
"""Layers that change nothing at inference."""


def read_larq_h5(data: bytes) -> Foreign:
    """The network of a Keras or Larq .h5 file. Needs h5py.

    Raises ExportError, which names the layer and the way out, for a damaged file or a layer without a counterpart.
    """
    try:
        require("h5py")
    except MissingExtra:
        raise MissingExtra("h5py", "pip install 'metabit[keras]'") from None
    config, arrays = read_arrays(data)
    try:
        return _weights_alone(arrays) if config is None else _whole(_parsed(config), arrays)
    except ExportError:
        raise
    except (StopIteration, LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as damaged:
        raise ExportError(
            f"this HDF5 file is no whole {TOOL} model, a layer lacks a setting or an array: {damaged!r}"
        ) from damaged


def _parsed(config: str) -> list[dict[str, Any]]:
    """The layers of a chain, in their order, from Keras' JSON."""
    try:
        model = json.loads(config)
        layers: list[dict[str, Any]] = model["config"]["layers"]
        if model["class_name"] != "Sequential":
            layers = _in_order(layers, model["config"])
        for layer in layers:
            layer["class_name"], layer["config"]["name"]
    except ExportError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as damaged:
        raise ExportError(f"model_config of this HDF5 file is no model of Keras 2: {damaged!r}") from damaged
    return layers


def _in_order(layers: list[dict[str, Any]], model: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a functional model that is a chain."""
    for what in ("input_layers", "output_layers"):
        if len(model[what]) != 1:
            raise ExportError(
                f"this {TOOL} network has {len(model[what])} {what.replace('_', ' ')}: a metabit network has one"
            )
    by_input: dict[str, dict[str, Any]] = {}
    for layer in layers:
        incoming = [node for call in layer.get("inbound_nodes", []) for node in call]
        sources = [node[0] for node in incoming]
        if len(sources) > 1 or sources and sources[0] in by_input:
            refuse(layer["config"]["name"], f"joins or shares branches ({', '.join(map(str, sources))})",
                   "a metabit network is a chain of layers, train one without shortcuts")  # fmt: skip
        if sources:
            by_input[sources[0]] = layer
    (first,) = (layer for layer in layers if not layer.get("inbound_nodes"))
    chain = [first]
    while chain[-1]["config"]["name"] in by_input:
        chain.append(by_input[chain[-1]["config"]["name"]])
    return chain


def _whole(layers: list[dict[str, Any]], arrays: dict[str, Arrays]) -> Foreign:
    shape = next(
        layer["config"][key][1:]
        for layer in layers
        for key in ("batch_input_shape", "batch_shape")
        if layer["config"].get(key)
    )
    chain = Chain(TOOL, tuple(int(side) for side in shape))
    for layer in layers:
        config = layer["config"]
        _step(chain, layer["class_name"].rpartition(">")[2], config, arrays.get(config["name"], {}))
    return chain.finish()


def _step(chain: Chain, kind: str, config: dict[str, Any], arrays: Arrays) -> None:
    """One layer of the model."""
    name = config["name"]
    if config.get("data_format", "channels_last") not in ("channels_last", None):
        refuse(name, f"has data_format={config['data_format']!r}", "train with channels_last")
    if kind in ("QuantDense", "QuantConv2D"):
        quantizer = _quantizer(config.get("input_quantizer"))
        if quantizer is not None:
            if quantizer not in INPUTS:
                refuse(name, f"has input_quantizer {quantizer}", "use ste_sign, approx_sign or swish_sign")
            chain.sign()
        _weights(chain, kind, name, config, arrays)
        if config.get("use_bias"):
            chain.affine(name, np.ones(1), arrays["bias"])
        _activation(chain, name, config.get("activation"))
    elif kind == "BatchNormalization":
        if config.get("axis", -1) not in (-1, len(chain.shape), [len(chain.shape)]):
            refuse(name, f"normalises axis {config['axis']}", "normalise the last axis")
        _normalise(chain, name, arrays, float(config.get("epsilon", EPSILON)))
    elif kind == "MaxPooling2D":
        size = tuple(config["pool_size"])
        chain.pool(name, size, tuple(config["strides"] or size), config["padding"] == "same")
    elif kind == "GlobalMaxPooling2D":
        chain.pool(name, chain.shape[:2], chain.shape[:2])  # type: ignore[arg-type]
        chain.flatten(name)
    elif kind == "Flatten" or (kind == "Reshape" and len(config["target_shape"]) == 1):
        chain.flatten(name)
    elif kind == "Rescaling":
        chain.affine(name, np.asarray(config["scale"]), np.asarray(config["offset"]))
    elif kind == "Activation":
        _activation(chain, name, config["activation"])
    elif kind in INPUTS:
        chain.sign()
    elif kind == "Softmax":
        chain.softmax(name)
    elif kind not in ("InputLayer", *NOTHING):
        refuse(name, f"is a {kind}", "metabit has dense and convolutional layers of binary weights (QuantDense, QuantConv2D), "
               "BatchNormalization, sign, MaxPooling2D and Flatten")  # fmt: skip


def _quantizer(config: Any) -> str | None:
    """Class name of a quantizer as Keras writes it: null, a name, or a dictionary."""
    if config is None:
        return None
    name = str(config["class_name"] if isinstance(config, dict) else config).rpartition(">")[2]
    return "".join(part.capitalize() for part in name.split("_")) if "_" in name else name


def _activation(chain: Chain, name: str, activation: Any) -> None:
    kind = str(activation["class_name"] if isinstance(activation, dict) else activation or "linear").rpartition(">")[2]
    if kind in SIGNS:
        chain.sign()
    elif kind == "softmax":
        chain.softmax(name)
    elif kind != "linear":
        refuse(name, f"has activation {kind}", "use a sign ('ste_sign'), or none before it")


def _weights(chain: Chain, kind: str, name: str, config: dict[str, Any], arrays: Arrays) -> None:
    quantizer = _quantizer(config.get("kernel_quantizer"))
    if quantizer not in KERNELS:
        refuse(
            name,
            f"has kernel_quantizer {quantizer}",
            "train it with ste_sign, approx_sign, swish_sign or magnitude_aware_sign",
        )
    kernel = np.asarray(arrays["kernel"], np.float64)
    hidden = np.moveaxis(kernel, -1, 0)  # (K, N) or (rows, columns, channels, N): units first
    gain = (
        np.abs(hidden).reshape(len(hidden), -1).mean(1) if quantizer == "MagnitudeAwareSign" else np.ones(len(hidden))
    )
    signs = signs_of(name, hidden)
    if kind == "QuantDense":
        if kernel.ndim != 2:
            raise ExportError(f"damaged HDF5 file: the kernel of dense layer {name!r} has shape {kernel.shape}")
        chain.dense(name, signs, gain, hidden)
        return
    if kernel.ndim != 4:
        raise ExportError(f"damaged HDF5 file: the kernel of convolution {name!r} has shape {kernel.shape}")
    if [*config.get("dilation_rate", [1, 1])] != [1, 1] or config.get("groups", 1) != 1:
        refuse(name, "has dilation or groups", "use one group without dilation")
    same, padding = config["padding"] == "same", float(config.get("pad_values", 0))
    if config["padding"] not in ("same", "valid"):
        refuse(name, f"has padding {config['padding']!r}", "use 'same' or 'valid'")
    rows, columns = config["strides"]
    chain.conv(name, signs, gain, (rows, columns), same, padding, hidden)


def _normalise(chain: Chain, name: str, arrays: Arrays, epsilon: float) -> None:
    mean, variance = arrays["moving_mean"], arrays["moving_variance"]
    chain.affine(name, *normalisation(name, mean, variance, epsilon, arrays.get("gamma"), arrays.get("beta")))


def _weights_alone(arrays: dict[str, Arrays]) -> Foreign:
    """Dense layers with signs between them, by the names of their arrays."""
    weighty = {name: found for name, found in arrays.items() if found}
    kernels = [found["kernel"] for found in weighty.values() if "kernel" in found]
    if not kernels or any(kernel.ndim != 2 for kernel in kernels):
        raise ExportError(
            "this HDF5 file has weights alone, which do not say the strides, padding and pools of convolutions: save the whole "
            "model, model.save('model.h5')"
        )
    chain = Chain(TOOL, kernels[0].shape[:1])
    for i, (name, found) in enumerate(weighty.items()):
        if "kernel" in found:
            if name.startswith("dense"):
                refuse(name, "has the name of a Dense layer, of real weights", "save the whole model, if it is "
                       "a QuantDense")  # fmt: skip
            if i:
                chain.sign()
            assumed = {"kernel_quantizer": "SteSign", "use_bias": "bias" in found}
            _step(chain, "QuantDense", assumed | {"name": name}, found)
        elif "moving_mean" in found and "moving_variance" in found:
            _normalise(chain, name, found, EPSILON)
        else:
            refuse(name, f"has the arrays {', '.join(found)}", "save a network of QuantDense and BatchNormalization")
    return replace(chain.finish(), assumed="weights alone name no quantizers: weights, and the inputs of all layers but the first, "
                   "are taken as signs")  # fmt: skip
