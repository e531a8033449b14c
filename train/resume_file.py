"""The whole state of a run in one file, from which it can continue: tensors, one JSON text and a checksum of both.

The file serves `metabit.train.run` only; for exchange there is `checkpoint.safetensors`. It is written whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metabit.data.rows import write_whole
from metabit.train.errors import TrainError, extra

with extra("torch"):
    import torch
    from torch import Tensor

VERSION = 3
_KEY, _SUM = "metabit-run", "metabit-run-sum"


def write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors of any dtype and a JSON-ready header.

    Raises DataError: the folder does not exist or cannot be written.
    """
    with extra("safetensors"):
        from safetensors.torch import save
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"version": VERSION, **header})
    write_whole(path, save(plain, {_KEY: text, _SUM: _checksum(plain, text)}))


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors and the header that `write` wrote.

    Raises TrainError: there is no such file, or it is damaged, of another kind or of another version.
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
        version = header["version"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise TrainError(f"{path} is damaged or no saved run ({error}): start without resume") from None
    if version != VERSION:
        raise TrainError(f"{path} has version {version}: this metabit resumes {VERSION}, use the one that wrote it")
    if metadata.get(_SUM) != _checksum(tensors, metadata[_KEY]):
        raise TrainError(f"{path} is damaged (its checksum does not match its content): start without resume")
    return tensors, header


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """Return the hex digest of names, dtypes, shapes and bytes of all tensors, and of the JSON text."""
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def optimizer_state(optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state of any torch optimizer by ``index.key``: its tensors, and its other values."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            (tensors if isinstance(value, Tensor) else numbers)[f"{index}.{key}"] = value
    return tensors, numbers


def load_optimizer_state(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    """Restore what `optimizer_state` returned, in an optimizer of the same parameters and groups."""
    whole = optimizer.state_dict()
    state: dict[int, dict[str, Any]] = {}
    for name, value in (*tensors.items(), *numbers.items()):
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**whole, "state": state})


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors under a prefix, by their names without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
