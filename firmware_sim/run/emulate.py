"""A device on the desk: runs a firmware ELF in an emulator process and talks to it as a host would over a wire."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.firmware_sim.board import Board
from metabit.firmware_sim.errors import DeviceLost, FirmwareError, FirmwareFault, require
from metabit.firmware_sim.report.budgets import Budgets, load_budgets
from metabit.firmware_sim.run.protocol import LEARN, PREDICT, REPLY, receive, send
from metabit.runtime import InputError, as_uint8


@dataclass(frozen=True)
class Reply:
    """What one library call did.

    insns are exact, cycles estimated; both cover the call and its argument passing, nothing of the port.
    label: the predicted class, before the step when learning.
    """

    label: int
    insns: int
    cycles: int
    scores: NDArray[np.int32] | None = None
    skipped: bool = False
    visited: int = 0
    moved: int = 0
    flipped: int = 0


@dataclass(frozen=True)
class ProfileRow:
    """Totals of one phase of one layer over a batch."""

    phase: str
    layer: int
    calls: int
    insns: int
    cycles: int


@dataclass(frozen=True)
class Replies:
    """The replies to a batch of n samples, as arrays of length n.

    scores: (n, classes), None after learning. states: (n, state bytes) after each step, None unless asked for.
    profile: empty unless the firmware was built with profile=True.
    """

    label: NDArray[np.uint32]
    insns: NDArray[np.uint64]
    cycles: NDArray[np.uint64]
    skipped: NDArray[np.uint32]
    visited: NDArray[np.uint32]
    moved: NDArray[np.uint32]
    flipped: NDArray[np.uint32]
    scores: NDArray[np.int32] | None
    states: NDArray[np.uint8] | None
    profile: tuple[ProfileRow, ...]

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, at: int) -> Reply:
        return Reply(
            label=int(self.label[at]),
            insns=int(self.insns[at]),
            cycles=int(self.cycles[at]),
            scores=self.scores[at] if self.scores is not None else None,
            skipped=bool(self.skipped[at]),
            visited=int(self.visited[at]),
            moved=int(self.moved[at]),
            flipped=int(self.flipped[at]),
        )

    def __iter__(self) -> Iterator[Reply]:
        return (self[at] for at in range(len(self)))


class Device:
    """One powered board. Use it in a `with` block: leaving it ends the emulator process.

    Every call is one round trip, so prefer the `_many` forms. A fault is final, as on a chip: later calls raise it too.
    """

    def __init__(self, elf: str | Path, board: Board, *, budgets: Budgets | None = None) -> None:
        for module in ("ziglang", "unicorn", "capstone", "elftools"):
            require(module)
        self.elf, self.board = Path(elf), board
        self._errors = tempfile.TemporaryFile()
        # A session of its own: Ctrl-C in the terminal reaches the parent only, which then ends the worker.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "metabit.firmware_sim.run.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        try:
            answer, _ = self._ask(
                {
                    "unicorn_cpu": board.core.unicorn_cpu,
                    "dsp": board.core.dsp,
                    "cycle_model": board.cycle_model,
                    "flash": [board.flash.origin, board.flash.size],
                    "boot": board.flash.boot,
                    "ram": [board.ram.origin, board.ram.size],
                    "patience": (budgets or load_budgets()).instructions_per_call,
                },
                self.elf.read_bytes(),
            )
        except BaseException:
            self.close()
            raise
        self.input_size: int = answer["input_size"]
        self.classes: int = answer["classes"]
        self.boot_insns: int = answer["boot"]["insns"]
        self.boot_cycles: int = answer["boot"]["cycles"]

    def predict(self, x: ArrayLike) -> Reply:
        """x: one input, uint8 (input_size,)."""
        return self.predict_many(np.asarray(x)[None])[0]

    def learn(self, x: ArrayLike, y: int) -> Reply:
        return self.learn_many(np.asarray(x)[None], [y])[0]

    def predict_many(self, x: ArrayLike) -> Replies:
        """x: uint8 (n, input_size)."""
        return self._run(PREDICT, x, None, states=False)

    def learn_many(self, x: ArrayLike, y: ArrayLike, *, states: bool = False) -> Replies:
        """Learn n samples in order. states: also return the state memory after each step, all of it."""
        return self._run(LEARN, x, y, states=states)

    def state(self) -> bytes:
        """The state memory as it is now."""
        return self._ask({"op": "state"})[1]

    @property
    def pid(self) -> int:
        """Process id of the emulator."""
        return self._process.pid

    def close(self) -> None:
        """End the emulator. Safe to call twice."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # bytes it never got to read

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self, command: int, x: ArrayLike, y: ArrayLike | None, *, states: bool) -> Replies:
        inputs = as_uint8(np.asarray(x))
        if inputs.ndim != 2 or inputs.shape[1] != self.input_size:
            raise InputError(f"inputs have shape {inputs.shape}, this device takes (n, {self.input_size})")
        count = len(inputs)
        labels = np.asarray(y) if y is not None else np.empty(0, np.uint16)
        if y is not None and (labels.shape != (count,) or labels.dtype.kind not in "iu"):
            raise InputError(f"labels are {labels.dtype} {labels.shape}, {count} inputs need integers ({count},)")
        request = {"op": "run", "command": command, "count": count, "width": self.input_size, "states": states}
        answer, blob = self._ask(request, labels.astype(np.uint16).tobytes() + inputs.tobytes())
        replies = np.frombuffer(blob, REPLY, count)
        rest = memoryview(blob)[replies.nbytes :]
        refused = np.flatnonzero(replies["status"])
        if refused.size:
            at = int(refused[0])
            raise FirmwareError(f"sample {at}: refused with mb_status {replies['status'][at]} (metabit.h)")
        scores = np.frombuffer(rest, np.int32).reshape(count, self.classes) if command == PREDICT else None
        names = ("insns", "cycles", "skipped", "visited", "moved", "flipped")
        return Replies(
            label=replies["predicted"],
            **{name: replies[name] for name in names},
            scores=scores,
            states=np.frombuffer(rest, np.uint8).reshape(count, -1) if states else None,
            profile=tuple(ProfileRow(*row) for row in answer["profile"]),
        )

    def _ask(self, request: dict[str, Any], payload: bytes = b"") -> tuple[dict[str, Any], bytes]:
        if self._process.stdin is None or self._process.stdout is None or self._process.stdin.closed:
            raise DeviceLost("this device is closed")
        try:
            send(self._process.stdin, request, payload)  # type: ignore[arg-type]
            answer, blob = receive(self._process.stdout)  # type: ignore[arg-type]
        except (EOFError, BrokenPipeError) as error:
            raise DeviceLost(self._last_words()) from error
        except BaseException:
            self.close()  # interrupted in mid-message: this process can no longer be understood
            raise
        if "fault" in answer:
            fault = answer["fault"]
            raise FirmwareFault(fault["reason"], pc=fault["pc"], function=fault["function"], address=fault["address"])
        if "error" in answer:
            raise FirmwareError(answer["error"])
        self.stack_high_water: int = answer["stack_high_water"]
        return answer, blob

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        self.close()
        return f"the emulator process ended with exit code {code}" + (f": {words[-1]}" if words else "")
