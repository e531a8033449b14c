"""Makes the QONNX files in this folder, by Brevitas and by qonnx. Run by hand, never in CI: it needs other packages.

    python3.11 -m venv brevitas && brevitas/bin/pip install brevitas==0.13.4 qonnx==1.0.0 onnx onnxscript onnxoptimizer onnxruntime
    brevitas/bin/python tests/export/foreign/make_qonnx.py digits.csv.gz        (of scikit-learn)

Each network learns the 8 x 8 digits for a few passes and takes pixel / 8 - 1 of pixels 0..16. brevitas_dense.onnx and
brevitas_conv.onnx are what `export_qonnx` writes, as one file. finn_dense.onnx is the dense one in the form that FINN computes:
weights +1 and -1, and MultiThreshold in the place of normalisation and sign. qonnx.npz has the numbers of the classes for the last
256 digits, which are those of larq.npz, by Brevitas in PyTorch and by the executor of qonnx.
"""

import sys
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import onnx
import torch
from brevitas.export import export_qonnx
from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from onnx import helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes
from torch import nn

HERE = Path(__file__).parent
SAMPLES = 256
WEIGHT = {"bias": False, "weight_quant": SignedBinaryWeightPerTensorConst}


def sign() -> nn.Module:
    return qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)


def norm(kind: type[nn.Module], units: int) -> nn.Module:
    """Normalisation whose gains are negative for a third of the units."""
    made = kind(units)
    made.weight.data *= torch.where(torch.rand(units) < 1 / 3, -1.0, 1.0)
    return made


def dense() -> nn.Module:
    return nn.Sequential(
        qnn.QuantLinear(64, 33, **WEIGHT), norm(nn.BatchNorm1d, 33), sign(),
        qnn.QuantLinear(33, 21, **WEIGHT), norm(nn.BatchNorm1d, 21), sign(),
        qnn.QuantLinear(21, 10, **WEIGHT), nn.BatchNorm1d(10),
    )  # fmt: skip


def conv() -> nn.Module:
    """Signs of the picture, a pool between normalisation and sign, and a flattened picture of 14 channels."""
    return nn.Sequential(
        sign(), qnn.QuantConv2d(1, 9, 3, **WEIGHT), norm(nn.BatchNorm2d, 9), sign(), nn.MaxPool2d(2),
        qnn.QuantConv2d(9, 14, 2, **WEIGHT), nn.BatchNorm2d(14), sign(), nn.Flatten(),
        qnn.QuantLinear(56, 10, **WEIGHT), nn.BatchNorm1d(10),
    )  # fmt: skip


def finn(source: Path, path: Path) -> None:
    """The dense network with weights +1 and -1 and thresholds of the sums; a unit with a negative gain is negated."""
    graph = onnx.load(source).graph
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    arrays, nodes, value = {}, [], "global_in"
    gemms, norms = ([node for node in graph.node if node.op_type == kind] for kind in ("Gemm", "BatchNormalization"))
    quants = {node.output[0]: node.input for node in graph.node if node.op_type == "BipolarQuant"}
    for i, (gemm, bn) in enumerate(zip(gemms, norms, strict=True)):
        floats, scale = (found[name] for name in quants[gemm.input[1]])
        gamma, beta, mean, variance = (found[name].astype(np.float64) for name in bn.input[1:])
        slope = gamma / np.sqrt(variance + 1e-5)
        size = float(found[quants[gemm.input[0]][1]].reshape(-1)[0]) if i else 1.0  # of the signs that the layer takes
        weights, unit = np.where(floats >= 0, 1, -1).T, float(scale.reshape(-1)[0]) * size
        if i < len(gemms) - 1:
            arrays[f"w{i}"] = (weights * np.where(slope < 0, -1, 1)).astype(np.float32)
            arrays[f"t{i}"] = (((mean - beta / slope) / unit) * np.where(slope < 0, -1, 1))[:, None].astype(np.float32)
        else:
            arrays[f"w{i}"], arrays["mul"] = weights.astype(np.float32), (slope * unit).astype(np.float32)
            arrays["add"] = (beta - mean * slope).astype(np.float32)
        nodes.append(helper.make_node("MatMul", [value, f"w{i}"], [f"sums{i}"], f"MatMul_{i}"))
        if i < len(gemms) - 1:
            nodes.append(helper.make_node(
                "MultiThreshold", [f"sums{i}", f"t{i}"], [f"signs{i}"], f"MultiThreshold_{i}", domain="qonnx.custom_op.general",
                out_dtype="BIPOLAR", out_scale=2.0, out_bias=-1.0,
            ))  # fmt: skip
        value = f"signs{i}"
    nodes += [
        helper.make_node("Mul", [f"sums{len(gemms) - 1}", "mul"], ["scaled"], "Mul_0"),
        helper.make_node("Add", ["scaled", "add"], ["global_out"], "Add_0"),
    ]
    made = helper.make_graph(
        nodes, "finn",
        [helper.make_tensor_value_info("global_in", 1, [1, 64])], [helper.make_tensor_value_info("global_out", 1, [1, 10])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("qonnx.custom_op.general", 1)]
    onnx.save(helper.make_model(made, opset_imports=opsets, producer_name="finn-like", ir_version=8), path)


def alone(path: Path) -> None:
    """One file in the place of two, without the stack traces of PyTorch, which are four fifths of it."""
    model = onnx.load(path)
    for node in model.graph.node:
        del node.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    onnx.save(model, path)
    path.with_name(path.name + ".data").unlink()


def executed(path: Path, x: np.ndarray) -> np.ndarray:
    model = ModelWrapper(str(path)).transform(InferShapes())
    source, target = model.graph.input[0].name, model.graph.output[0].name
    return np.concatenate([execute_onnx(model, {source: one[None]})[target] for one in x])


def main(archive: Path) -> None:
    rows = np.loadtxt(archive, delimiter=",", dtype=np.int64)
    x, y = (rows[:, :64] / np.float32(8) - np.float32(1)).astype(np.float32), torch.from_numpy(rows[:, 64])
    arrays: dict[str, np.ndarray] = {}
    for seed, make in enumerate([dense, conv]):
        torch.manual_seed(seed)
        taken = torch.from_numpy(x if make is dense else x.reshape(-1, 1, 8, 8))
        model, name = make(), f"brevitas_{make.__name__}"
        adam = torch.optim.Adam(model.parameters(), 0.01)
        model.train()
        for _ in range(30):
            for part in torch.randperm(len(x) - SAMPLES).split(64):
                adam.zero_grad()
                nn.functional.cross_entropy(model(taken[part]), y[part]).backward()
                adam.step()
        model.eval()
        with torch.no_grad():
            arrays[name] = model(taken[-SAMPLES:]).numpy()
        print(name, (arrays[name].argmax(1) == y[-SAMPLES:].numpy()).mean())
        export_qonnx(model, taken[:1], export_path=str(HERE / f"{name}.onnx"))
        alone(HERE / f"{name}.onnx")
        arrays[f"{name}.qonnx"] = executed(HERE / f"{name}.onnx", taken[-SAMPLES:].numpy())
    finn(HERE / "brevitas_dense.onnx", HERE / "finn_dense.onnx")
    arrays["finn_dense.qonnx"] = executed(HERE / "finn_dense.onnx", x[-SAMPLES:])
    np.savez_compressed(HERE / "qonnx.npz", **{name: array.astype(np.float32) for name, array in arrays.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
