"""Networks trained once and kept under build/, for benchmarks of what becomes of them on the device."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from metabit.data import Task
from metabit.data.scenarios import Scenario
from metabit.train import Checkpoint, load_checkpoint
from metabit.train.run import STATE as UNFINISHED
from metabit.train.run import run
from metabit.train.settings import Settings

ROOT = Path(__file__).parents[1]
STATE = ROOT / "build" / "lab"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


RULE = digest((ROOT / "tests" / "vectors" / "votes-3bit.vec").read_bytes())
"""The rule of graded layers, known by what it does: a run by another rule is another run."""


def trained(name: str, task: Task, settings: Settings) -> Checkpoint:
    """A network trained on one task alone. A training that was cut off goes on."""
    code = b"".join(path.read_bytes() for path in sorted((ROOT / "train").glob("*.py")))
    what = [name, len(task.x_train), settings.to_dict(), digest(code)]
    folder = STATE / digest(json.dumps(what).encode())
    path = folder / "checkpoint.safetensors"
    if not path.exists():
        alone = Scenario(name, name, 1, task.classes, lambda i, seed: task)
        ran = run(alone, settings, folder, resume=(folder / UNFINISHED).exists())
        if ran.interrupted:
            raise KeyboardInterrupt
        ran.checkpoint().write(path)
    return load_checkpoint(path)
