"""Commands, errors and facts of the serial protocol (docs/serial.md)."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from metabit.firmware_sim.errors import FirmwareError

PROTOCOL = 1
INFO, PREDICT, LEARN, PULL, PUSH, CHUNK, APPLY, SAVE, RESTORE, RESET = range(1, 11)
HEAD = struct.Struct("<BbHH")
FACTS = struct.Struct("<BBBBIHHIIIIIII")
FRAME, ABSENT = -35, -29
_DAMAGED, _UNKNOWN, _LENGTH, SESSION, _ORDER, _LACKS, _CHECKSUM = range(7)
WHY = {
    _UNKNOWN: "the device does not know this command: flash a newer program, metabit firmware",
    _LENGTH: "the device refused the length of a request, or a value outside its range",
    _ORDER: "the device got the image in another order than it was sent: push it again",
    _LACKS: "its program has no memory for this: no store to save to, or too little RAM or spare flash for this image: flash a "
    "program with this image inside, metabit firmware",
    _CHECKSUM: "the image on the device is not the one that was sent: push it again",
}
LACKS_PART = (
    "the program there was built without a part of the library that this image needs ({}): flash a program with this image "
    "inside, or with all parts, metabit firmware --all-parts"
)
"""A refusal with ABSENT; the parts that the image needs and the one that runs there does not are filled in."""


class SerialError(FirmwareError):
    """A device did not do what it was sent. status: its mb_status, 0 if there was no answer."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class NoAnswer(SerialError):
    """No whole answer arrived. Whether a learning step was made is not known: `info.steps` of a new connection says it."""


class Restarted(SerialError):
    """The device has started anew since this connection began: what it had learnt since it was last saved is gone."""


class Predictions(NamedTuple):
    """labels uint16 (n,), scores int32 (n, classes)."""

    labels: NDArray[np.uint16]
    scores: NDArray[np.int32]


class Info(NamedTuple):
    """A device and its model. steps: learning steps ever made. state_sum: CRC-32 of the state. push_most: bytes of an image that
    it can take, 0 for none. damaged: frames that arrived damaged since it started."""

    protocol: int
    format: str
    learns: bool
    saves: bool
    identity: int
    input_size: int
    classes: int
    state_size: int
    steps: int
    image_size: int
    state_sum: int
    push_most: int
    chunk_most: int
    damaged: int
    core: str

    @classmethod
    def read(cls, payload: bytes) -> Info:
        """The payload of the answer to INFO. Raises SerialError if it is too short."""
        if len(payload) < FACTS.size:
            raise SerialError(
                f"the device's facts have {len(payload)} bytes, not {FACTS.size}: it speaks another protocol"
            )
        fields: tuple[Any, ...] = FACTS.unpack_from(payload)
        protocol, major, minor, flags = fields[:4]
        core = payload[FACTS.size :].decode("ascii", "replace")
        return cls(*(protocol, f"{major}.{minor}", bool(flags & 1), bool(flags & 2), *fields[4:], core))
