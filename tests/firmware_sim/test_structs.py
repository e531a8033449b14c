"""The structs of hook.h and their twins for ctypes: every field by name, offset and size."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import pytest

from metabit.firmware_sim import FirmwareError
from metabit.firmware_sim.build.native import hook_library
from metabit.firmware_sim.run import structs


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    return ctypes.CDLL(str(hook_library()))


def test_both_sides_agree(library: ctypes.CDLL) -> None:
    structs.check_layout(library)
    names = [name for name, _ in structs.layout()]
    assert len(names) == len(set(names)) == 76


@pytest.mark.parametrize(
    ("first", "second"),
    [("device.insns_here", "device.cycles_here"), ("block.taken", "block.entered"), ("reply.moved", "reply.flipped")],
)
def test_two_fields_of_one_size_in_the_wrong_order_are_found(
    library: ctypes.CDLL, first: str, second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The size of the struct stays the same."""
    fields = dict(structs.layout())
    swapped = {**fields, first: fields[second], second: fields[first]}

    def wrong() -> Iterator[tuple[str, tuple[int, int]]]:
        yield from swapped.items()

    monkeypatch.setattr(structs, "layout", wrong)
    with pytest.raises(FirmwareError, match=f"hook.h and structs.py disagree about ({first}|{second}): "):
        structs.check_layout(library)


def test_a_field_that_one_side_lacks_is_found(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    fields = dict(structs.layout())
    for name in ("device.score", "tally.calls"):
        monkeypatch.setattr(structs, "layout", lambda name=name: (f for f in fields.items() if f[0] != name))
        with pytest.raises(FirmwareError, match=f"{name}: .* in C, None here"):
            structs.check_layout(library)
    monkeypatch.setattr(structs, "layout", lambda: iter([*fields.items(), ("block.more", (0, 4))]))
    with pytest.raises(FirmwareError, match="block.more: .* None in C"):
        structs.check_layout(library)
