"""A run's whole state in one file, so that it can go on as if nothing had happened: tensors, and one JSON text.

The file is not for exchange (that is `checkpoint.safetensors`) but for `resume`; it is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabit.data.rows import write_whole
from metabit.train.errors import TrainError, extra

with extra("torch"):
    import torch
    from torch import Tensor

VERSION = 2
_KEY = "metabit-run"


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Tensors of any dtype and a JSON-ready header.

    Raises:
        TrainError: the folder does not exist or cannot be written.
    """
    with extra("safetensors"):
        from safetensors.torch import save
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_whole(path, save(plain, {_KEY: json.dumps({"version": VERSION, **header})}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The reverse of `write`.

    Raises:
        TrainError: there is no such file, or it is damaged, of another kind or of another version.
    """
    with extra("safetensors"):
        from safetensors import SafetensorError, safe_open
    if not path.is_file():
        raise TrainError(f"{path} does not exist: there is nothing to resume, start without resume")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        header = json.loads(metadata[_KEY])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise TrainError(f"{path} is damaged or no saved run ({error}): start without resume") from None
    if header["version"] != VERSION:
        raise TrainError(
            f"{path} has version {header['version']}: this metabit resumes {VERSION}, use the one that wrote it"
        )
    return tensors, header


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Moments and counters of any torch optimizer: tensors by ``index.key``, and everything else by the same names."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{key}"] = value
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """The reverse of `optimizer_state`, into an optimizer of the same parameters and groups."""
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for name, value in (*tensors.items(), *numbers.items()):
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**whole, "state": state})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
