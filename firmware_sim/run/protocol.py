"""Messages between the emulator process and its parent: a JSON object and a block of bytes, each with its length in front."""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

import numpy as np

PREDICT, LEARN = 1, 2
"""Values of port_command in port.h."""

REPLY = np.dtype(
    [("insns", "<u8"), ("cycles", "<u8"), ("status", "<i4")]
    + [(name, "<u4") for name in ("predicted", "skipped", "visited", "moved", "flipped")]
)
"""`reply` of hook.h."""

PHASES = {1: "forward", 2: "error", 3: "backward", 4: "update"}
"""Names of mb_phase in metabit.h."""

_PREFIX = struct.Struct("<IQ")


def send(stream: BinaryIO, message: dict[str, Any], payload: bytes = b"") -> None:
    """Write one message."""
    text = json.dumps(message).encode()
    stream.write(_PREFIX.pack(len(text), len(payload)) + text)
    stream.write(payload)
    stream.flush()


def receive(stream: BinaryIO) -> tuple[dict[str, Any], bytes]:
    """Read one message. Raises EOFError if the other process has ended."""
    text_size, payload_size = _PREFIX.unpack(_exactly(stream, _PREFIX.size))
    message: dict[str, Any] = json.loads(_exactly(stream, text_size))
    return message, _exactly(stream, payload_size)


def _exactly(stream: BinaryIO, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise EOFError(f"the other process ended after {len(data)} of {size} bytes")
    return data
