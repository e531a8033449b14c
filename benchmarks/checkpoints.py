"""Networks that are trained once and kept under build/, for benchmarks of what they learn after deployment."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from metabit.data import Scenario, Task
from metabit.train import Checkpoint
from metabit.train.checkpoint import load_network
from metabit.train.run import STATE as UNFINISHED
from metabit.train.run import run
from metabit.train.settings import Settings

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "checkpoints"


def digest(data: bytes) -> str:
    """16 hexadecimal digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def digest_of_vectors(*names: str) -> str:
    """A learning rule, identified by the states in its golden vectors: a row measured by another rule has another cell."""
    return digest(b"".join((ROOT / "tests" / "vectors" / f"{name}.vec").read_bytes() for name in names))


VOTE_RULE = digest_of_vectors("votes-3bit")
HEAD_RULE = digest_of_vectors("fresh-head", "fresh-head-uint8")


def trained(name: str, task: Task, settings: Settings) -> Checkpoint:
    """A network trained on one task alone, from build/ if it is there. An interrupted training is resumed.

    The digest of all source files of metabit.train is part of its name: other code trains anew.
    """
    code = b"".join(path.read_bytes() for path in sorted((ROOT / "train").rglob("*.py")))
    what = [name, len(task.x_train), settings.to_dict(), digest(code)]
    folder = STATE / digest(json.dumps(what).encode())
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        alone = Scenario(name, name, 1, task.classes, lambda i, seed: task)
        ran = run(alone, settings, folder, resume=(folder / UNFINISHED).exists())
        if ran.interrupted:
            raise KeyboardInterrupt
        ran.checkpoint().write(path)
    return load_network(path, "this benchmark")
