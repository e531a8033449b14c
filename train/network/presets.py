"""Networks by name: sizes that fit a microcontroller, and the paper's networks. A row adds one.

The numbers of synapses hold for 28x28 inputs of one plane (conv-cifar and paper-vgg: 32x32x3) and ten classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metabit.train.errors import TrainError
from metabit.train.network.spec import Conv, Units


@dataclass(frozen=True)
class Preset:
    """Convolutions and hidden layers of a `Spec`, with a summary of one line.

    Args:
        units: "graded" also sets norm "static", output "code" and, if the settings have none, two planes.
        settings: training settings that suit this network; `Settings.of` uses them where the preset is chosen by name
            and they are not given.
    """

    name: str
    summary: str
    hidden: tuple[int, ...] = ()
    conv: tuple[Conv, ...] = ()
    units: Units = "sign"
    settings: Mapping[str, Any] = field(default_factory=dict)


PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset("mlp-tiny", "100 units, 79 k synapses: 10 KiB of bits", (100,)),
        Preset("mlp-256", "256-256, 269 k synapses: 131 KiB at 4 bits a synapse", (256, 256)),
        Preset("wide-512", "one layer of 512, what the demo puts on a board", (512,)),
        Preset(
            "gates-192", "192 graded units, 151 k synapses: learn by votes on the device", (192,), units="graded",
            settings={"m": 20.0, "lr": 0.3, "eps": 0.01, "epochs": 20},
        ),
        Preset("mlp-512", "512-512, 669 k synapses", (512, 512)),
        Preset("mlp-1024", "1024-1024, 1.9 M synapses: the paper's stream", (1024, 1024)),
        Preset(
            "conv-mnist",
            "12-20-30 channels, 14,832 synapses: as many as the paper's MNIST-USPS network",
            conv=(Conv(12, 4, pool=2), Conv(20, 4, pool=2), Conv(30, 4, padding="same", pool=2)),
        ),
        Preset(
            "conv-cifar",
            "32-64-128 channels, 114 k synapses: 55 KiB at 4 bits a synapse, 10 M products an image",
            conv=tuple(Conv(channels, 3, padding="same", pool=2) for channels in (32, 64, 128)),
        ),
        Preset("paper-4096", "4096-4096, 20 M synapses: the paper's permuted MNIST", (4096, 4096)),
        Preset(
            "paper-vgg",
            "128-128-256-256-512-512 channels and two layers of 2048, 18 M synapses: the paper's CIFAR-10 stream",
            (2048, 2048),
            (Conv(128, 3), *(Conv(128 << (i + 1) // 2, 3, padding="same", pool=2 - i % 2) for i in range(5))),
        ),
    )
}  # fmt: skip
"""Name -> row."""


NORMED: dict[str, int] = {"normed-32": 32, "normed-64": 64, "normed-128": 128, "normed-256": 256}
"""Name -> units of the default network (`metabit.train.recipe`). With 32 or 64 a head learns on the device."""


def preset(name: str) -> Preset:
    """Return a row by name. Raises TrainError, which names all rows, if there is none."""
    if name in NORMED:
        raise TrainError(f"preset {name!r} is the default network: it takes no setting of the paper's networks")
    if name not in PRESETS:
        raise TrainError(f"unknown preset {name!r}: there are {', '.join([*NORMED, *PRESETS])}")
    return PRESETS[name]
