"""The cost of saves on a device: the bytes that a store programs, and how long its flash lasts (metabit_store.h)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

WINDOW, BLOCK, HEADER, SEAL, SLOTS = 512, 16, 16, 8, 3
"""Words compared at once, and with one head in an entry; bytes of a header and of a seal; slots at least. As in field/store.h."""


@dataclass(frozen=True)
class Store:
    """The pages of a store: bytes of the state that it keeps, bytes of a page, number of pages, bytes of one program.

    Raises ValueError for sizes that mb_save refuses with MB_E_STORE_SIZE.
    """

    state_size: int
    page_size: int = 4096
    pages: int = 12
    program_size: int = 8

    def __post_init__(self) -> None:
        if self.program_size not in (1, 2, 4, 8, 16, 32):
            raise ValueError(f"programs of {self.program_size} bytes: 1, 2, 4, 8, 16 or 32")
        if not 32 <= self.page_size <= 1 << 24 or self.page_size % self.program_size:
            raise ValueError(
                f"pages of {self.page_size} bytes: 32 to {1 << 24}, a multiple of a program's {self.program_size}"
            )
        if self.pages < self.least_pages:
            raise ValueError(
                f"{self.pages} pages of {self.page_size} bytes: a state of {self.state_size:,} bytes needs {self.least_pages}"
            )
        if self.pages * self.page_size > 0x7FFF_FFFF:
            most = 0x7FFF_FFFF // self.page_size
            raise ValueError(
                f"{self.pages} pages of {self.page_size} bytes: a store has less than 2^31 bytes, at most {most} pages"
            )

    def _units(self, count: int) -> int:
        return -(-count // self.program_size) * self.program_size

    @property
    def snapshot(self) -> int:
        """Bytes of a whole state with header and seal."""
        return self._units(HEADER) + self._units(self.state_size) + self._units(SEAL)

    @property
    def least_pages(self) -> int:
        """Fewest pages: mb_store_size divided by the size of a page."""
        return SLOTS * -(-self.snapshot // self.page_size)

    @property
    def slot(self) -> int:
        """Bytes of a slot: one snapshot and its log."""
        return min(self.pages // SLOTS, 2 * self.least_pages // SLOTS + 1) * self.page_size

    @property
    def slots(self) -> int:
        return self.pages * self.page_size // self.slot

    def entry(self, before: bytes, after: bytes) -> int:
        """Bytes that a save appends to the log where the state was `before` at the last save; 0 if nothing changed."""
        changed = np.frombuffer(before, "<u4") != np.frombuffer(after, "<u4")
        words = 1
        for first in range(0, changed.size, WINDOW):
            window = changed[first : first + WINDOW]
            blocks = np.add.reduceat(window, np.arange(0, window.size, BLOCK))
            words += int(window.sum()) + int((blocks > 0).sum())
            words = self._units(4 * words) // 4
        return 4 * words + self._units(SEAL) if changed.any() else 0

    def worst_entry(self) -> int:
        """Bytes that a save appends where every word changed."""
        words = bytes(self.state_size)
        return self.entry(words, bytes(byte ^ 1 for byte in words))


@dataclass(frozen=True)
class Cost:
    """The cost of saves: those that share one erase of a slot's pages (a snapshot and the entries that fit behind it), the bytes
    programmed in a save on average, and the saves until the first page was erased `endurance` times."""

    saves_a_slot: int
    bytes_a_save: float
    saves: int

    @classmethod
    def of(cls, store: Store, entries: Iterable[int], endurance: int) -> Cost:
        """entries: bytes of entries as they come, at least one; their mean stands for all that follow."""
        sizes = [size for size in entries if size]
        mean = sum(sizes) / len(sizes) if sizes else 0.0
        fit = int((store.slot - store.snapshot) // mean) if mean else 0
        return cls(1 + fit, (store.snapshot + fit * mean) / (1 + fit), endurance * store.slots * (1 + fit))
