"""What the emulator process and its parent say: a JSON message and a block of bytes, both length-prefixed."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

import numpy as np

PREDICT, LEARN = 1, 2
"""Commands, as in firmware/port.h."""

REPLY = np.dtype(
    [("insns", "<u8"), ("cycles", "<u8"), ("status", "<i4")]
    + [(name, "<u4") for name in ("predicted", "skipped", "visited", "moved", "flipped")]
)
"""`reply` of hook.c."""

PHASES = {1: "forward", 2: "error", 3: "backward", 4: "update"}
"""mb_phase of metabit.h."""

_PREFIX = struct.Struct("<IQ")


def send(stream: BinaryIO, message: dict[str, Any], payload: bytes = b"") -> None:
    text = json.dumps(message).encode()
    stream.write(_PREFIX.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Raises EOFError when the other side is gone."""
    text_size, payload_size = _PREFIX.unpack(_exactly(stream, _PREFIX.size))
    message: dict[str, Any] = json.loads(_exactly(stream, text_size))
    return message, _exactly(stream, payload_size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"the other side ended after {len(data)} of {size} bytes")
    return data
