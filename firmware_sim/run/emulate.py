"""Device: runs a firmware ELF in an emulator process and exchanges samples and replies with it."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.export import child_process
from metabit.firmware_sim.board import Board
from metabit.firmware_sim.budgets import Budgets, load_budgets
from metabit.firmware_sim.build.native import hook_library
from metabit.firmware_sim.errors import DeviceLost, FirmwareError, FirmwareFault, require_installed
from metabit.firmware_sim.run.protocol import LEARN, PREDICT, REPLY, receive, send
from metabit.runtime import InputError, as_uint8


@dataclass(frozen=True)
class Reply:
    """Result of one library call.

    label: the predicted class; of a learning step, the class predicted before it. insns: instructions of the call and its argument
    passing, without the port, exact. cycles: an estimate of the same. visited, moved, flipped: synapses.
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
    """Totals of one phase of one layer over all calls of a batch."""

    phase: str
    layer: int
    calls: int
    insns: int
    cycles: int


@dataclass(frozen=True)
class Replies:
    """Results of a batch of n samples, as arrays of length n.

    scores: (n, classes), None after learning. states: (n, state bytes) after each step, None unless requested.
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
    """An emulated board that runs a firmware. The end of its `with` block ends the emulator process.

    Every call exchanges one message with that process, so prefer the `_many` forms for many samples.

    Raises:
        InputError: inputs or labels that this model does not take; nothing is sent.
        FirmwareFault: the firmware did something that stops a chip; every later call raises it as well.
        FirmwareError: the library refused a sample. DeviceLost: the emulator process ended.
        MissingExtra: a package of the `firmware` extra is not installed.
    """

    def __init__(self, elf: str | Path, board: Board, *, budgets: Budgets | None = None) -> None:
        require_installed("ziglang", "unicorn", "capstone", "elftools")
        self.elf, self.board = Path(elf), board
        self._errors = tempfile.TemporaryFile()
        # In a session of its own, Ctrl-C in the terminal reaches the parent only, which then ends the worker.
        self._process = subprocess.Popen(
            child_process.command("metabit.firmware_sim.run.worker"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        try:
            answer, _ = self._ask(
                {
                    "hook": str(hook_library()),
                    "unicorn_cpu": board.core.unicorn_cpu,
                    "dsp": board.core.dsp,
                    "cycle_model": board.cycle_model,
                    "flash": [board.flash.origin, board.flash.size],
                    "boot": board.flash.boot,
                    "ram": [board.ram.origin, board.ram.size],
                    "waits": asdict(board.waits) if board.waits else None,
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
        """Predict one input, uint8 (input_size,)."""
        return self.predict_many(np.asarray(x)[None])[0]

    def learn(self, x: ArrayLike, y: int) -> Reply:
        """Learn one input, uint8 (input_size,), with its label in 0..classes-1."""
        return self.learn_many(np.asarray(x)[None], [y])[0]

    def predict_many(self, x: ArrayLike) -> Replies:
        """Predict n inputs, uint8 (n, input_size), in order."""
        return self._run(PREDICT, x, None, states=False)

    def learn_many(self, x: ArrayLike, y: ArrayLike, *, states: bool = False) -> Replies:
        """Learn n samples in order: inputs uint8 (n, input_size), labels (n,) in 0..classes-1.

        states: also return the whole state memory after each step.
        """
        return self._run(LEARN, x, y, states=states)

    def state(self) -> bytes:
        """Return the current content of the state memory."""
        return self._ask({"op": "state"})[1]

    @property
    def pid(self) -> int:
        """Process id of the emulator."""
        return self._process.pid

    def close(self) -> None:
        """End the emulator process. A second call does nothing."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                try:
                    stream.close()
                except OSError:
                    pass  # the worker ended before it had read all bytes

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
        wrong = np.flatnonzero((labels < 0) | (labels >= self.classes))
        if wrong.size:
            raise InputError(
                f"label {labels[wrong[0]]} of sample {wrong[0]} is outside 0..{self.classes - 1}: "
                f"this model has {self.classes} classes"
            )
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
            raise DeviceLost(self._exit_reason()) from error
        except BaseException:
            self.close()  # interrupted inside a message: the next one could not be read
            raise
        if "fault" in answer:
            fault = answer["fault"]
            raise FirmwareFault(fault["reason"], pc=fault["pc"], function=fault["function"], address=fault["address"])
        if "error" in answer:
            raise FirmwareError(answer["error"])
        self.stack_high_water: int = answer["stack_high_water"]
        return answer, blob

    def _exit_reason(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip().splitlines()
        self.close()
        return f"the emulator process ended with exit code {code}" + (f": {words[-1]}" if words else "")
