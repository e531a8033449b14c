"""Readers of Intel HEX and UF2 that check all of a file."""

from __future__ import annotations

from collections.abc import Sequence

from metabit.firmware_sim.build.flash_files import _FAMILY, _PAYLOAD, _UF2, _UF2_MAGIC
from metabit.firmware_sim.errors import BuildError


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
