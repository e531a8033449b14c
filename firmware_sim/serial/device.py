"""A device at the other end of a serial line: the host's half of docs/serial.md.

with SerialDevice("/dev/ttyACM0") as device:          # or tcp://127.0.0.1:1234
    print(device.info.core, device.info.steps)
    model = device.model()                            # image and state as they are there
    label = device.predict_many(x).labels[0]          # x: uint8 (n, input_size), as Model.device_bytes returns it
    device.learn_many(x, y)
    device.save()
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable, Iterator
from time import monotonic
from types import TracebackType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.firmware_sim.serial import frames
from metabit.firmware_sim.serial.line import BAUD, Line, open_line
from metabit.firmware_sim.serial.protocol import (
    ABSENT,
    APPLY,
    CHUNK,
    FRAME,
    HEAD,
    INFO,
    LACKS_PART,
    LEARN,
    PREDICT,
    PROTOCOL,
    PULL,
    PUSH,
    RESET,
    RESTORE,
    SAVE,
    SESSION,
    WHY,
    Info,
    NoAnswer,
    Predictions,
    Restarted,
    SerialError,
)  # fmt: skip
from metabit.runtime import InputError, Model, Step, Steps, _core, left_out


class SerialDevice:
    """A connection to a device. Each request waits for its answer; a request or answer that was lost or damaged is sent again."""

    def __init__(
        self, port: str | Line, *, baud: int = BAUD, timeout: float = 2.0, tries: int = 5, chunk: int = 192
    ) -> None:
        """Open a line, or take an open one, and ask the device for its facts.

        Args:
            timeout: seconds to wait for one answer. A slow chip takes about one for a learning step of a large network.
            tries: requests without any answer before NoAnswer. A damaged answer is no answer, and counts for a hundredth of one.
            chunk: most bytes of state or image in one frame. Short ones pass a line that damages many bytes.

        Raises:
            LineError, MissingExtra: as `open_line`. NoAnswer: no device is there, or not this protocol.
        """
        self.line: Line = open_line(port, baud) if isinstance(port, str) else port
        self.name = port if isinstance(port, str) else getattr(port, "name", "the device")
        self.timeout, self.tries, self._chunk = timeout, tries, chunk
        self._reader, self._number = frames.Reader(), 0
        self._session = 0
        self.resent = 0
        try:
            self.connect()
        except BaseException:
            if isinstance(port, str):
                self.close()
            raise

    def __enter__(self) -> SerialDevice:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the line."""
        self.line.close()

    def connect(self) -> Info:
        """Begin a session, as after a restart of the device, and return its facts."""
        self._session = secrets.randbelow(0xFFFF) + 1
        self.info = self.refresh()
        if self.info.protocol != PROTOCOL:
            raise SerialError(
                f"{self.name}: the device speaks protocol {self.info.protocol}, this metabit {PROTOCOL}: "
                "flash it by this metabit, metabit firmware"
            )
        return self.info

    def refresh(self) -> Info:
        """Ask the device for its facts of now."""
        self.info = Info.read(self._request(INFO))
        return self.info

    # Samples

    def predict_many(self, x: ArrayLike) -> Predictions:
        """Return labels and scores of inputs, uint8 (n, input_size)."""
        inputs = self._inputs(x)
        labels = np.empty(len(inputs), np.uint16)
        scores = np.empty((len(inputs), self.info.classes), np.int32)
        for i, sample in enumerate(inputs):
            answer = self._request(PREDICT, sample.tobytes())
            labels[i] = int.from_bytes(answer[:2], "little")
            scores[i] = np.frombuffer(answer, "<i4", offset=2)
        return Predictions(labels, scores)

    def learn_many(self, x: ArrayLike, y: ArrayLike) -> Steps:
        """Make a learning step for each sample, in order: inputs uint8 (n, input_size), labels (n,). All are checked first."""
        inputs, labels = self._inputs(x), np.asarray(y)
        if labels.shape != (len(inputs),) or labels.dtype.kind not in "iu":
            raise InputError(
                f"labels are {labels.dtype} {labels.shape}, {len(inputs)} inputs need integers ({len(inputs)},)"
            )
        wrong = labels[(labels < 0) | (labels >= self.info.classes)]
        if len(wrong):
            raise InputError(
                f"label {wrong[0]} is outside 0..{self.info.classes - 1}: the device has {self.info.classes} classes"
            )
        made = [self._learn(sample, int(label)) for sample, label in zip(inputs, labels, strict=True)]
        columns = np.array(made, np.uint32).reshape(-1, 5).T
        return Steps(columns[0], columns[1].astype(np.bool_), *columns[2:])

    def _learn(self, sample: NDArray[np.uint8], label: int) -> Step:
        answer = self._request(LEARN, sample.tobytes() + label.to_bytes(2, "little"))
        predicted, skipped, visited, moved, flipped, _ = struct.unpack("<HHIIII", answer)
        return Step(predicted, bool(skipped), visited, moved, flipped)

    def _inputs(self, x: ArrayLike) -> NDArray[np.uint8]:
        inputs = np.asarray(x)
        if inputs.ndim != 2 or inputs.dtype != np.uint8 or inputs.shape[1] != self.info.input_size:
            raise InputError(
                f"inputs are {inputs.dtype} {inputs.shape}, the device takes uint8 (n, {self.info.input_size}): "
                "Model.device_bytes makes them of numbers"
            )
        return inputs

    # Memories

    def state(self, progress: Callable[[float], object] = lambda share: None) -> bytes:
        """Return the learned state, all of it of one moment: it begins again where the device learns meanwhile."""
        for _ in range(self.tries):
            data, steps = bytearray(), set()
            for answer in self._pull(0, self.info.state_size):
                steps.add(answer[:4])
                data += answer[4:]
                progress(len(data) / self.info.state_size)
            if len(steps) <= 1:
                return bytes(data)
        raise SerialError(
            f"{self.name}: the device learns faster than its state can be read: let its own learning pause"
        )

    def image(self, progress: Callable[[float], object] = lambda share: None) -> bytes:
        """Return the image that runs there, with the state that it began with."""
        data = bytearray()
        for answer in self._pull(1, self.info.image_size):
            data += answer[4:]
            progress(len(data) / self.info.image_size)
        return bytes(data)

    def model(self, image: bytes | None = None) -> Model:
        """Return the model as it is there. image: what runs there, if the caller has it; only the state is then transferred.

        Raises SerialError if the device runs another image, ModelError if the image given is damaged.
        """
        model = Model(self.image() if image is None else image)
        theirs = model.identity
        if theirs != self.info.identity:
            raise SerialError(
                f"{self.name}: the device runs image {self.info.identity:08x}, not {theirs:08x}: "
                "give the image that was flashed, or push this one"
            )
        model.restore(self.state())
        return model

    def _pull(self, what: int, size: int) -> Iterator[bytes]:
        step = min(self._chunk, self.info.chunk_most)
        for at in range(0, size, step):
            yield self._request(PULL, struct.pack("<BIH", what, at, min(step, size - at)))

    def push(self, image: bytes, progress: Callable[[float], object] = lambda share: None) -> Info:
        """Send an image, constants and state. The device checks it whole, saves its state, and runs it from then on.

        Raises ModelError here if it is damaged; SerialError with the device's status if that refuses it: nothing has changed then,
        but where its state could not be saved (-30) the old image begins again with its newest snapshot.
        """
        image = image[: Model(image).image_size]
        if len(image) > self.info.push_most:
            raise SerialError(f"{self.name}: the image has {len(image):,} bytes, the device's spare flash takes "
                              f"{self.info.push_most:,}: flash it with a new program, metabit firmware", FRAME)  # fmt: skip
        self._request(PUSH, struct.pack("<II", len(image), zlib.crc32(image)))
        step = min(self._chunk, self.info.chunk_most) // 32 * 32
        for at in range(0, len(image), step):
            self._request(CHUNK, at.to_bytes(4, "little") + image[at : at + step])
            progress(min(1.0, (at + step) / len(image)))
        try:
            self._request(APPLY)
        except SerialError as refused:
            if refused.status != ABSENT:
                raise
            here = left_out(image)
            parts = [macro for macro in left_out(self.image()) if macro not in here]
            raise SerialError(f"{self.name}: {LACKS_PART.format(' or '.join(parts))}", ABSENT) from None
        return self.refresh()

    def save(self) -> int:
        """Save the state in the device's flash and return its steps."""
        return int.from_bytes(self._request(SAVE), "little")

    def restore(self, older: bool = False) -> int:
        """Bring the newest snapshot back, or the one before, and return its steps."""
        return int.from_bytes(self._request(RESTORE, bytes([older])), "little")

    def reset(self) -> int:
        """Forget all that was learnt since the image was made, and return the steps. Snapshots stay."""
        return int.from_bytes(self._request(RESET, b"\0"), "little")

    def restart(self) -> Info:
        """Reset the chip, as a power cut does, and connect again: it starts with its newest snapshot."""
        try:
            self._request(RESET, b"\1")
        except Restarted:
            pass  # the answer was lost, and the request repeated after the start
        return self.connect()

    # Requests

    def _request(self, command: int, payload: bytes = b"") -> bytes:
        """Send a request until its answer is here, and return the payload of that. Raises NoAnswer, Restarted, SerialError."""
        self._number = (self._number + 1) & 0xFFFF
        frame = frames.encode(HEAD.pack(command, 0, self._session, self._number) + payload)
        silent = damaged = 0
        while silent + damaged / 100 < self.tries:
            self.line.write(frame)
            answer = self._answer(command)
            if answer is None:
                silent += 1
            elif answer == b"":
                damaged += 1
            else:
                return self._checked(answer)
            self.resent += 1
        noise = f" and {damaged} damaged ones" if damaged else ""
        raise NoAnswer(
            f"{self.name}: no answer in {silent} tries of {self.timeout:g} s{noise}: check that the device runs a program of "
            "metabit firmware and that no other program uses the port, or give more time by --timeout"
        )

    def _answer(self, command: int) -> bytes | None:
        """Return the frame that answers the present request; b"" if something arrived damaged, None if nothing came in time."""
        deadline = monotonic() + self.timeout
        while True:
            data = self.line.read(deadline - monotonic())
            hurt = False
            for frame in self._reader.feed(data):
                if frame is None or len(frame) < HEAD.size:
                    hurt = True
                    continue
                code, status, session, number = HEAD.unpack_from(frame)
                if (code, session, number) == (command | 0x80, self._session, self._number):
                    return frame
                # the device saw a damaged frame; any other answer is to an earlier copy of a request
                hurt = hurt or (code, session, number) == (0x80, 0, 0)
            if hurt:
                return b""
            if monotonic() >= deadline:
                return None

    def _checked(self, frame: bytes) -> bytes:
        """Return the payload of an answer. Raises SerialError for a status that is no success."""
        _, status, _, _ = HEAD.unpack_from(frame)
        payload = frame[HEAD.size :]
        if status == 0:
            return payload
        why = payload[0] if status == FRAME and payload else None
        if why == SESSION:
            raise Restarted(
                f"{self.name}: the device has restarted: what it learnt since it was last saved is gone; connect again",
                status,
            )
        told = WHY.get(why or 0, "it refused the request") if status == FRAME else _core.strerror(status)
        raise SerialError(f"{self.name}: {told}", status)
