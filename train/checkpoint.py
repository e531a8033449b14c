"""The file `checkpoint.safetensors`: tensors, and one JSON text in the header. Reading it does not need torch.

It holds a network of a `Spec` (this file) or the default network (`gates_checkpoint.py`); `load` reads either.

The tensors have the names, dtypes and shapes of `Spec.tensors`. The metadata of the header has one key, ``metabit``, a
JSON object: ``version`` (int), ``spec``, ``rule`` (m of each trained layer, lr, weight_decay), ``history`` (a list of
finished epochs), ``provenance`` (any object). The JSON is sorted, so equal checkpoints are equal files. A network that
came back from a device also has the tensor ``device.image``, uint8 (bytes,): the image that it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from metabit.data.errors import DataError
from metabit.data.rows import write_whole
from metabit.train.errors import TrainError, extra
from metabit.train.gates_checkpoint import GatesCheckpoint, header_text, take_image, to_bytes, with_image
from metabit.train.network.spec import Spec

if TYPE_CHECKING:
    from metabit.train.network.module import Network
    from metabit.train.run import History

VERSION = 1
_KEY = "metabit"


@dataclass(frozen=True)
class Rule:
    """Numbers of the learning rule that trained the hidden weights.

    Args:
        m: metaplasticity of each trained layer, first to last.
        lr: step size.
        weight_decay: L2 term.

    Raises:
        TrainError: lr or weight_decay is not a finite number >= 0.
    """

    m: tuple[float, ...]
    lr: float
    weight_decay: float

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise TrainError(f"{name}={getattr(self, name)}: must be a finite number >= 0")

    @staticmethod
    def of(spec: Spec, m: float | Sequence[float], lr: float = 0.005, weight_decay: float = 1e-7) -> Rule:
        """Return a rule with `fit`'s defaults; one number for m holds for all trained layers of the spec."""
        return Rule(spec.per_layer(m), lr, weight_decay)


@dataclass(frozen=True, eq=False)  # arrays have no single truth value for ==
class Checkpoint:
    """A trained network as arrays, with the record of its training.

    Args:
        spec: shape of the network.
        tensors: exactly those of ``spec.tensors()``.
        rule: of the training.
        history: one JSON object for each finished epoch.
        provenance: any JSON object: task, seed, command line, versions.
        device: the image (.mbit) that the network came from, None for one that was never on a device. Export takes from
            it what training does not have (`metabit.export.freeze`).

    Raises:
        TrainError: a tensor is missing, unknown, of another shape or dtype, or holds a forbidden value.
    """

    spec: Spec
    tensors: dict[str, NDArray[Any]]
    rule: Rule
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    device: bytes | None = None

    def __post_init__(self) -> None:
        _check_tensors(self.spec, self.tensors)
        self.spec.per_layer(self.rule.m)

    @property
    def m(self) -> tuple[float, ...]:
        """Metaplasticity of each trained layer, first to last."""
        return self.rule.m

    def to_network(self) -> Network:
        """Return the network in evaluation mode. Needs torch."""
        from metabit.train.network.module import Network

        network = Network(self.spec)
        network.load_tensors(self.tensors)
        return network.eval()

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all.

        Raises:
            DataError: the folder does not exist or cannot be written.
            TrainError: history or provenance is not JSON.
        """
        header = {
            "version": VERSION,
            "spec": self.spec.to_dict(),
            "rule": asdict(self.rule),
            "history": self.history,
            "provenance": self.provenance,
        }
        write_whole(path, to_bytes(with_image(self.tensors, self.device), {_KEY: header_text(header)}))


def save(
    path: str | Path,
    network: Network,
    *,
    rule: Rule,
    history: History | None = None,
    provenance: Mapping[str, Any] | None = None,
    start: Checkpoint | None = None,
) -> Checkpoint:
    """Write a network to ``checkpoint.safetensors``, and return what was written.

    Args:
        path: an existing file is replaced at once.
        rule: of the training; ``Rule.of(spec, m)`` has the defaults of `fit`.
        history: what `fit` returned.
        provenance: JSON-ready; nothing is added to it.
        start: the checkpoint that the training went on from; what a device had in it is kept.

    Raises:
        DataError, TrainError: as for `Checkpoint` and `Checkpoint.write`.
    """
    epochs = [asdict(epoch) for epoch in history.epochs] if history is not None else []
    device = None if start is None else start.device
    checkpoint = Checkpoint(network.spec, network.tensors(), rule, epochs, dict(provenance or {}), device)
    checkpoint.write(path)
    return checkpoint


def load_network(path: str | Path, taker: str) -> Checkpoint:
    """`load` for ``taker``, which takes a network of a `Spec` only.

    Raises:
        TrainError: as for `load`, or the file holds the default network.
    """
    found = load(path)
    if isinstance(found, GatesCheckpoint):
        way_out = "train one of the paper's networks, as by metabit train --preset wide-512"
        raise TrainError(f"{path} holds the default network, which {taker} does not take: {way_out}")
    return found


def load(path: str | Path) -> Checkpoint | GatesCheckpoint:
    """Read ``checkpoint.safetensors`` and check all of it. Needs NumPy and safetensors only.

    Raises:
        TrainError: the file is missing, truncated, of another kind, of an unknown version, or contradicts itself.
    """
    with extra("safetensors"):
        from safetensors import SafetensorError, safe_open
    path = Path(path)
    if not path.is_file():
        raise TrainError(f"{path} does not exist or is not a file: give the path of a checkpoint.safetensors")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise TrainError(f"{path} is truncated or not a safetensors file ({error}): train and save it again") from None
    if _KEY not in metadata:
        raise TrainError(f"{path} is a safetensors file but no metabit checkpoint: its header has no {_KEY!r} entry")
    try:
        header = json.loads(metadata[_KEY])
        version, device = header["version"], take_image(tensors)
        if version == GatesCheckpoint.VERSION:
            return GatesCheckpoint.of_header(header, tensors, device)
        if version != VERSION:
            known = f"{VERSION} and {GatesCheckpoint.VERSION}"
            raise TrainError(f"version {version!r} is unknown: this metabit reads {known}, use the one that wrote it")
        rule = Rule(tuple(header["rule"]["m"]), header["rule"]["lr"], header["rule"]["weight_decay"])
        spec = Spec.from_dict(header["spec"])
        return Checkpoint(spec, tensors, rule, header["history"], header["provenance"], device)
    except (TrainError, DataError) as error:
        raise TrainError(f"{path}: {error}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise TrainError(f"{path} has a damaged header ({error!r}): train and save it again") from None


def _check_tensors(spec: Spec, tensors: Mapping[str, NDArray[Any]]) -> None:
    wanted = spec.tensors()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise TrainError(f"tensor {name} is missing: the spec needs it")
        if name not in wanted:
            raise TrainError(f"tensor {name} is unknown: the spec has no such tensor")
        dtype, shape = wanted[name]
        tensor = tensors[name]
        if tensor.dtype != dtype or tensor.shape != shape:
            found = f"{tensor.dtype} {tensor.shape}"
            raise TrainError(f"tensor {name} is {found}: the spec needs {np.dtype(dtype)} {shape}")
        if not np.isfinite(tensor).all():
            raise TrainError(f"tensor {name} holds NaN or infinity: the training diverged, use a smaller lr")
        if name.endswith(".code") and not (np.abs(tensor) == 1).all():
            raise TrainError(f"tensor {name} holds a value other than -1 and +1")
        if name.endswith(".var") and (tensor < 0).any():
            raise TrainError(f"tensor {name} holds a negative variance")
    if spec.thresholds is not None and not np.array_equal(tensors["encode.thresholds"], spec.thresholds):
        raise TrainError("tensor encode.thresholds contradicts the spec's encode")
