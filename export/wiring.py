"""Whether the layers of a network fit together. Every writer and every reader asks here, before what its own file can hold.

Layers that did not fit would give a file that computes something else, not one that fails.
"""

from __future__ import annotations

from metabit.export.errors import ExportError
from metabit.export.frozen import Encode, Frozen, Graded, Layer, Window


def need(ok: bool, sentence: str) -> None:
    """Raises ExportError with the sentence unless ok."""
    if not ok:
        raise ExportError(sentence)


def check_wiring(frozen: Frozen) -> None:
    """Raises ExportError if the kinds, sizes or inputs of the layers do not follow from one another."""
    kinds = [layer.kind for layer in frozen.layers]
    ordered = [kind for known in ("conv", "dense", "graded", "output") for kind in kinds if kind == known]
    need("graded" not in kinds[:-2] + kinds[-1:], f"a graded layer is the last before the output, not {kinds}")
    need(kinds == ordered and kinds.count("output") == 1,
         f"a network is convolutions, dense layers and one output layer, in this order, not {kinds}")  # fmt: skip
    for i, layer in enumerate(frozen.layers):
        need((layer.kind == "conv") == (layer.conv is not None), f"layer {i}: a convolution, and only it, has a window")
        need(
            (layer.kind == "graded") == (layer.graded is not None),
            f"layer {i}: a graded layer, and only it, has a ramp",
        )
        if layer.conv is not None:
            _check_window(i, layer, layer.conv)
        if layer.graded is not None:
            _check_graded(i, frozen, layer, layer.graded)
        if i > 0:
            _check_step(i, frozen.layers[i - 1], layer)
        need(layer.graded_input == ("graded" in kinds[max(0, i - 1) : i]), f"layer {i}: an output after a graded layer, and only "
             "it, has graded_input")  # fmt: skip
        need(layer.rule is None or (layer.rule.votes is not None) == (layer.kind == "graded"), f"layer {i}: a graded layer, and "
             "only it, learns by votes")  # fmt: skip
        takes_bytes = i == 0 and frozen.encode is None and layer.on_off and layer.kind in ("conv", "dense")
        need(not layer.uint8 or takes_bytes, f"layer {i} takes uint8, which only a hidden first layer without an encoder can, "
             "with on_off")  # fmt: skip
    if frozen.encode is not None:
        _check_encode(frozen.encode, frozen.layers[0])


def _check_window(i: int, layer: Layer, c: Window) -> None:
    for name, side in (("kernel", c.kernel), ("stride", c.stride), ("pool", c.pool)):
        need(1 <= side <= 31, f"layer {i} has {name} {side}, outside 1..31")
    fits = min(c.height, c.width, c.channels) >= 1 and (c.same or c.kernel <= min(c.height, c.width))
    need(fits and min(c.pooled) >= 1, f"layer {i}: nothing is left of {c.height} x {c.width} x {c.channels} after {c}")
    need(layer.inputs == c.kernel**2 * c.channels, f"layer {i} has {layer.inputs} weights a unit, its window {c.kernel} x "
         f"{c.kernel} x {c.channels}")  # fmt: skip


def _check_graded(i: int, frozen: Frozen, layer: Layer, graded: Graded) -> None:
    need(1 <= graded.planes <= 8, f"layer {i} has {graded.planes} planes, outside 1..8")
    need(layer.on_off, f"layer {i} is graded: its inputs are on/off, whatever comes before")
    for other, beside in enumerate(frozen.layers):
        need(beside is layer or not beside.learns, f"layer {other} learns, but nothing is trained above or below the graded "
             f"layer {i}: leave its rule out")  # fmt: skip


def _check_step(i: int, below: Layer, layer: Layer) -> None:
    if below.conv is not None and layer.conv is not None:
        here, there = (layer.conv.height, layer.conv.width), below.conv.pooled
        need(here == there, f"layer {i} takes an image of {here}, layer {i - 1} gives {there}")
    need(layer.values == below.outputs, f"layer {i} takes {layer.values} inputs, layer {i - 1} gives {below.outputs}")
    gives = "-8..8" if below.kind == "graded" else "+1/-1"
    need(
        not layer.on_off or layer.kind == "graded",
        f"layer {i} has on/off inputs, but the layer before it gives {gives}",
    )


def _check_encode(encode: Encode, first: Layer) -> None:
    bits, features, channels = encode.planes * encode.features, encode.features, encode.channels
    need(bits == first.values, f"the encoder makes {bits} bits, the first layer takes {first.values}")
    need(first.on_off, "layer 0 has +1/-1 inputs, but the encoder gives on/off")
    need(0 <= channels <= features and features % (channels or 1) == 0,
         f"the encoder has {channels} channels, not a divisor of {features} features")  # fmt: skip
    need(channels == 0 or first.kind == "conv",
         f"the encoder has {channels} channels, but layer 0 is no convolution: leave channels at 0")  # fmt: skip
