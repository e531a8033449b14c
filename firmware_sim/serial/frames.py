"""Frames of the serial protocol (docs/serial.md): COBS between zeros, with a CRC-32 at the end."""

from __future__ import annotations

import zlib

MOST = 1 << 20
"""Bytes without a zero after which a frame is given up: longer than any frame of a device."""


def encode(raw: bytes) -> bytes:
    """Return a frame as it goes over the line: a zero, `raw` with its CRC-32 in COBS, a zero."""
    data, out, at = raw + zlib.crc32(raw).to_bytes(4, "little"), bytearray(1), 0
    while True:
        zero = data.find(0, at, at + 254)
        run = data[at : zero if zero >= 0 else at + 254]
        out += bytes([len(run) + 1]) + run
        at += len(run)
        if at == len(data):
            return bytes(out + b"\0")
        at += len(run) < 254  # the zero, which the code byte says


def decode(body: bytes) -> bytes | None:
    """Return what `encode` was given, from the bytes between two zeros; None where they are damaged."""
    out, at = bytearray(), 0
    while at < len(body):
        code = body[at]
        piece = body[at + 1 : at + code]
        if len(piece) != code - 1:
            return None
        out += piece
        at += code
        if code < 255 and at < len(body):
            out.append(0)
    if len(out) < 4 or zlib.crc32(out[:-4]) != int.from_bytes(out[-4:], "little"):
        return None
    return bytes(out[:-4])


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._body = bytearray()

    def feed(self, data: bytes) -> list[bytes | None]:
        """Return the frames that end in `data`, None for a damaged one."""
        *ended, rest = (bytes(self._body) + data).split(b"\0")
        self._body = bytearray(rest if len(rest) <= MOST else b"")
        return [decode(body) for body in ended if body]
