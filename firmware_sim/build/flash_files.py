"""Files that programmer tools write into flash: Intel HEX and UF2, with readers that check all of them."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

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


def read_hex(data: bytes) -> dict[int, int]:
    """Return address -> byte of an Intel HEX file. Raises BuildError for a wrong checksum, length, kind, or a missing end."""
    found: dict[int, int] = {}
    high, ended = 0, False
    for number, line in enumerate(data.decode("ascii").split(), 1):
        body = bytes.fromhex(line[1:])
        if line[0] != ":" or ended or len(body) != body[0] + 5 or sum(body) & 0xFF:
            raise BuildError(f"line {number} of the HEX file is damaged: {line}")
        address, kind, payload = int.from_bytes(body[1:3], "big"), body[3], body[4:-1]
        if kind == 0:
            found |= {high + address + i: value for i, value in enumerate(payload)}
        elif kind == 4:
            high = int.from_bytes(payload, "big") << 16
        elif kind == 1:
            ended = True
        else:
            raise BuildError(f"line {number} of the HEX file has the unknown kind {kind}")
    if not ended:
        raise BuildError("the HEX file has no end record: it is cut off")
    return found


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


def read_uf2(data: bytes, family: int) -> tuple[int, bytes]:
    """Return (address, bytes) of a UF2 file. Raises BuildError unless every block is whole, in order, and of this family."""
    if not data or len(data) % 512:
        raise BuildError(f"a UF2 file has blocks of 512 bytes, this one {len(data)} bytes")
    blocks: Sequence[tuple[int, ...]] = list(_UF2.iter_unpack(data))
    base, out = blocks[0][3], bytearray()
    for i, (start, second, flags, at, size, number, count, own, payload, end) in enumerate(blocks):
        if (start, second, end) != _UF2_MAGIC or size != _PAYLOAD or not flags & _FAMILY:
            raise BuildError(f"block {i} of the UF2 file is damaged")
        if own != family or number != i or count != len(blocks) or at != base + len(out):
            raise BuildError(f"block {i} of the UF2 file is out of order or of another family than {family:#x}")
        assert isinstance(payload, bytes)
        out += payload[:size]
    return base, bytes(out)
