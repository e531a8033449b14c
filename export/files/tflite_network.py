"""Networks of sign units, with at most one graded layer above them."""

from __future__ import annotations

from metabit.export.files import tflite_graded
from metabit.export.files.tflite_layers import Layers
from metabit.export.frozen import ConvLayer, DenseLayer, Frozen, GradedLayer


def network(graph: Layers, frozen: Frozen, signal: int) -> tuple[int, int]:
    """Scores and label from the first signal."""
    for i, layer in enumerate(frozen.layers[:-1]):
        name = f"layer{i}"
        if isinstance(layer, ConvLayer):
            signal = graph.convolution(name, layer, signal)
        elif isinstance(layer, GradedLayer):
            signal = tflite_graded.grades(graph, name, layer, signal, signs=i > 0)
        else:
            assert isinstance(layer, DenseLayer)
            signal = graph.hidden_layer(name, layer, signal)
    return graph.output_layer(f"layer{len(frozen.layers) - 1}", frozen.layers[-1], signal)
