"""Files that programmer tools write into flash: Intel HEX and UF2."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from metabit.firmware_sim.errors import BuildError

_UF2 = struct.Struct("<IIIIIIII476sI")
_UF2_MAGIC = (0x0A32_4655, 0x9E5D_5157, 0x0AB1_6F30)
_FAMILY = 0x2000
_PAYLOAD = 256


def write_hex(segments: Iterable[tuple[int, bytes]]) -> bytes:
    """Return an Intel HEX file of (address, bytes), with records of 16 bytes."""
    lines, high = [], -1
    for at, blob in segments:
        done = 0
        while done < len(blob):
            address = at + done
            if address >> 16 != high:
                high = address >> 16
                lines.append(_record(0, 4, high.to_bytes(2, "big")))
            piece = blob[done : done + min(16, 0x10000 - (address & 0xFFFF))]
            lines.append(_record(address & 0xFFFF, 0, piece))
            done += len(piece)
    return "".join([*lines, _record(0, 1, b"")]).encode()


def _record(address: int, kind: int, data: bytes) -> str:
    body = bytes([len(data)]) + address.to_bytes(2, "big") + bytes([kind]) + data
    return f":{(body + bytes([-sum(body) & 0xFF])).hex().upper()}\r\n"


def write_uf2(base: int, data: bytes, family: int) -> bytes:
    """Return a UF2 file that writes `data` at address `base`, a multiple of 256, in blocks of 256 bytes."""
    if base % _PAYLOAD:
        raise BuildError(f"a UF2 file begins at a multiple of {_PAYLOAD}, not at {base:#x}")
    count = -(-len(data) // _PAYLOAD)
    start, second, end = _UF2_MAGIC
    return b"".join(
        _UF2.pack(start, second, _FAMILY, base + i * _PAYLOAD, _PAYLOAD, i, count, family,
                  data[i * _PAYLOAD : (i + 1) * _PAYLOAD].ljust(_PAYLOAD, b"\xff"), end)
        for i in range(count)
    )  # fmt: skip
