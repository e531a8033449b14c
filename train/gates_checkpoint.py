"""The default network as arrays: what `checkpoint.safetensors` holds after `metabit.train.recipe`. It does not need torch.

Letters: F features, K bits of the encoder, N units, C classes, n kept samples. No feature of the training data is in it;
a head and its two values of each unit follow from the integer sums of the kept samples, which are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metabit.data.encoder import Encoder
from metabit.data.rows import write_whole
from metabit.train.errors import TrainError, extra

if TYPE_CHECKING:
    from metabit.train.network.normed_gates import NormedGates
    from metabit.train.recipe import Trained

KEPT = 20_000
"""Most samples whose sums are kept."""
MAX_VALUES, MAX_ROWS = 128, 128
"""Limits of a head: two values of each unit, and rows."""
NORM_EPS = 1e-5
"""Added to the variance by the normalisation."""
RANGE = 1.5
"""Output weights of this magnitude and more have the largest level."""

_DTYPES: dict[str, type[np.generic]] = {
    "hidden": np.float32, "norm.weight": np.float32, "norm.bias": np.float32, "norm.mean": np.float32,
    "norm.var": np.float32, "output.weight": np.float32, "output.offset": np.float32, "kept.sums": np.int16,
    "kept.labels": np.uint16,
}  # fmt: skip


@dataclass(frozen=True, eq=False)  # arrays have no single truth value for ==
class GatesCheckpoint:
    """An encoder and a trained network of normed gates.

    Args:
        encoder: fitted on the training part.
        bits: k of the output's levels, 2..8.
        tensors: float32 ``hidden`` (N, K), ``norm.weight``, ``norm.bias``, ``norm.mean``, ``norm.var`` (N,),
            ``output.weight`` (C, N), ``output.offset`` (C,); int16 ``kept.sums`` (n, N) and uint16 ``kept.labels`` (n,)
            of at most `KEPT` training samples, in the order of the data; n = 0 only with `device`.
        class_names: (C,), the name of each class; its number where the data has no name.
        feature_names: (F,), or () without names.
        settings: JSON-ready, of the training.
        history: one JSON object for each report of the training.
        provenance: any JSON object: data, seed, command line.
        device: the image (.mbit) that the network came from, as in `metabit.train.Checkpoint`.

    Raises:
        TrainError: a tensor is missing, unknown, of another shape or dtype, or holds a forbidden value; names that are
            too few or too many.
    """

    VERSION: ClassVar[int] = 2

    encoder: Encoder
    bits: int
    tensors: dict[str, NDArray[Any]]
    class_names: tuple[str, ...]
    feature_names: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    provenance: dict[str, Any] = field(default_factory=dict)
    device: bytes | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.bits, int) or not 2 <= self.bits <= 8:
            raise TrainError(f"an output of {self.bits} bits: must be from 2 to 8")
        if len(self.class_names) < 2 or len(self.feature_names) not in (0, self.encoder.features):
            found = f"{len(self.class_names)} class names and {len(self.feature_names)} feature names"
            raise TrainError(f"{found}: there must be 2 or more, and one for each of {self.encoder.features} features")
        units = len(self.tensors.get("hidden", ()))
        kept = len(self.tensors.get("kept.labels", ()))
        shapes = {
            "hidden": (units, self.encoder.bits), "output.weight": (self.classes, units), "output.offset": (self.classes,),
            "kept.sums": (kept, units), "kept.labels": (kept,),
        }  # fmt: skip
        for name in sorted(_DTYPES.keys() | self.tensors.keys()):
            if name not in _DTYPES or name not in self.tensors:
                raise TrainError(f"tensor {name} is {'unknown' if name in self.tensors else 'missing'}: train again")
            tensor, dtype, shape = self.tensors[name], np.dtype(_DTYPES[name]), shapes.get(name, (units,))
            empty = not tensor.size and not (self.device is not None and name.startswith("kept."))
            if tensor.dtype != dtype or tensor.shape != shape or empty:
                found = f"tensor {name} is {tensor.dtype} {tensor.shape}"
                raise TrainError(f"{found}: must be {dtype} {shape}, and not empty")
            if not np.isfinite(tensor).all():
                raise TrainError(f"tensor {name} holds NaN or infinity: the training diverged, use a smaller rate")
        if self.tensors["norm.var"].min() < 0 or self.labels.max(initial=0) >= self.classes:
            raise TrainError("a variance is negative, or a kept label is no class: train again")

    @staticmethod
    def of(
        trained: Trained,
        y: NDArray[Any],
        class_names: tuple[str, ...],
        feature_names: tuple[str, ...] = (),
        *,
        seed: int = 0,
        **more: Any,
    ) -> GatesCheckpoint:
        """The arrays of a training on labels y (n,), with the sums of at most `KEPT` samples, drawn with the seed.

        Each class keeps the share of its samples that the whole keeps, rounded up.

        Args:
            more: settings, history and provenance.
        """
        rows = _drawn(y, seed)
        network = trained.network
        tensors = {
            "hidden": network.linear.hidden,
            "norm.weight": network.norm.weight,
            "norm.bias": network.norm.bias,
            "norm.mean": network.norm.running_mean,
            "norm.var": network.norm.running_var,
            "output.weight": network.output.weight,
            "output.offset": network.output.offset,
        }
        arrays = {name: tensor.detach().numpy().copy() for name, tensor in tensors.items() if tensor is not None}
        kept = {"kept.sums": trained.sums[rows], "kept.labels": y[rows].astype(np.uint16)}
        return GatesCheckpoint(
            trained.encoder, network.output.bits, arrays | kept, class_names, feature_names, **more
        )  # fmt: skip

    # For export: integers, and the numbers of the normalisation in float64

    @property
    def units(self) -> int:
        """N."""
        return len(self.tensors["hidden"])

    @property
    def classes(self) -> int:
        """C."""
        return len(self.class_names)

    def head_fits(self, spare: int = 0) -> bool:
        """True if a head can learn on the device: it takes two values of each unit and has one row for each class."""
        return 2 * self.units <= MAX_VALUES and self.classes + spare <= MAX_ROWS

    @property
    def weights(self) -> NDArray[np.int8]:
        """int8 (N, K), +1 where the hidden weight is >= 0, else -1."""
        return np.where(self.tensors["hidden"] >= 0, 1, -1).astype(np.int8)

    @property
    def gamma(self) -> NDArray[np.float64]:
        return self._double("norm.weight")

    @property
    def beta(self) -> NDArray[np.float64]:
        return self._double("norm.bias")

    @property
    def mean(self) -> NDArray[np.float64]:
        return self._double("norm.mean")

    @property
    def deviation(self) -> NDArray[np.float64]:
        """float64 (N,), above 0: the root of the variance with the constant that the normalisation adds."""
        deviation: NDArray[np.float64] = np.sqrt(self._double("norm.var") + NORM_EPS)
        return deviation

    @property
    def levels(self) -> NDArray[np.int8]:
        """int8 (C, N + 1), the output's levels of ±(2^(k-1) - 1), the offset's level last."""
        largest = np.float32(2 ** (self.bits - 1) - 1)
        w = np.concatenate([self.tensors["output.weight"], self.tensors["output.offset"][:, None]], axis=1)
        levels: NDArray[np.int8] = np.rint(np.clip(w / np.float32(RANGE), -1, 1) * largest).astype(np.int8)
        return levels

    @property
    def sums(self) -> NDArray[np.int16]:
        """int16 (n, N), of the kept samples."""
        return self.tensors["kept.sums"]

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (n,), of the kept samples."""
        return self.tensors["kept.labels"].astype(np.int64)

    def to_network(self) -> NormedGates:
        """Return the network in evaluation mode. Needs torch."""
        from metabit.train.recipe import network_of

        return network_of(self)

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all.

        Raises:
            DataError: the folder does not exist or cannot be written.
            TrainError: settings, history or provenance is not JSON.
        """
        header = {
            "version": self.VERSION, "kind": "gates", "encoder": self.encoder.to_dict(), "bits": self.bits,
            "class_names": list(self.class_names), "feature_names": list(self.feature_names), "settings": self.settings,
            "history": self.history, "provenance": self.provenance,
        }  # fmt: skip
        write_whole(path, to_bytes(with_image(self.tensors, self.device), {"metabit": header_text(header)}))

    @staticmethod
    def of_header(
        header: Mapping[str, Any], tensors: dict[str, NDArray[Any]], device: bytes | None = None
    ) -> GatesCheckpoint:
        """Inverse of `write`. Raises TrainError or DataError: a field is out of range; KeyError, TypeError: it is damaged."""
        if header["kind"] != "gates":
            raise TrainError(
                f"a network of kind {header['kind']!r}: this metabit reads gates, use the one that wrote it"
            )
        classes, features = (tuple(map(str, header[name])) for name in ("class_names", "feature_names"))
        more = {name: header[name] for name in ("settings", "history", "provenance")} | {"device": device}
        return GatesCheckpoint(Encoder.from_dict(header["encoder"]), header["bits"], tensors, classes, features, **more)

    def _double(self, name: str) -> NDArray[np.float64]:
        return self.tensors[name].astype(np.float64)


def header_text(header: Mapping[str, Any]) -> str:
    """JSON, sorted, so that equal checkpoints are equal files. Raises TrainError: it is not plain JSON."""
    try:
        return json.dumps(header, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TrainError(f"history and provenance must be plain JSON: {error}") from None


_IMAGE = "device.image"


def with_image(tensors: Mapping[str, NDArray[Any]], device: bytes | None) -> dict[str, NDArray[Any]]:
    """The tensors of a file: those of the network, and the image as one more."""
    return {**tensors} if device is None else {**tensors, _IMAGE: np.frombuffer(device, np.uint8)}


def take_image(tensors: dict[str, NDArray[Any]]) -> bytes | None:
    """Takes the image out of a file's tensors. Raises TrainError: it is no row of bytes."""
    image = tensors.pop(_IMAGE, None)
    if image is None:
        return None
    if image.dtype != np.uint8 or image.ndim != 1:
        raise TrainError(f"tensor {_IMAGE} is {image.dtype} {image.shape}: must be a row of uint8, import it again")
    return image.tobytes()


def to_bytes(tensors: Mapping[str, NDArray[Any]], metadata: dict[str, str]) -> bytes:
    """The bytes of a safetensors file."""
    with extra("safetensors"):
        from safetensors.numpy import save
    return save({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, metadata)


def _drawn(y: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Indices of the kept samples, rising."""
    share = min(1.0, KEPT / len(y))
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(y):
        members = np.flatnonzero(y == label)
        chosen.append(rng.permutation(members)[: math.ceil(share * len(members))])
    return np.sort(np.concatenate(chosen))
