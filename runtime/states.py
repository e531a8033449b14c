"""A state leaves its model as bytes, and comes back."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, Protocol

from metabit.runtime.telling import ModelError, Telling

HEAD = struct.Struct("<4sHHIIII")
"""Magic, version, 0, identity, bytes of the state, steps, checksum (runtime/FORMAT.md, "Snapshot")."""
VERSION = 1
_TRUNCATED, _VERSION, _DAMAGED, _SIZE, _IDENTITY = -3, -5, -8, -20, -33


class Merged(NamedTuple):
    """The result of `Model.merge`."""

    what: str
    """"all", "classes", or "nothing"."""
    reason: str
    """One sentence."""
    kept: int
    """Classes of the new model whose learnt part was taken over."""
    fresh: int
    """Classes of the new model that are as its image has them."""
    gone: int
    """Classes of the learned model that the new one lacks; all if nothing was taken over."""


class Core(Protocol):
    """The part of `metabit.runtime._core.Model` that is used here. Its functions raise Fault(code, sentence), a ValueError."""

    identity: int
    state_size: int
    state: bytes

    def snapshot(self) -> bytes: ...
    def adopt(self, state: bytes) -> None: ...
    def merge(self, learned: Any) -> tuple[int, str, int, int, int]: ...


class States(Telling):
    """Base of `Model`: its state leaves and comes back as bytes."""

    _core: Core

    @property
    def identity(self) -> int:
        """Which image this is, apart from what was learnt, 1..2^32 - 1: images with equal identity can take one another's state."""
        return self._core.identity

    def state(self) -> bytes:
        """Returns the state memory (runtime/FORMAT.md, "State section")."""
        return self._core.state

    def snapshot(self) -> bytes:
        """Returns the state with a head that names its image (runtime/FORMAT.md, "Snapshot"): 24 bytes more than `state`."""
        return self._core.snapshot()

    def restore(self, state: bytes) -> None:
        """Makes a `snapshot`, or a `state` alone, the state of this model, as if it had learnt it.

        All of it is checked first, and nothing changes if it is refused. A state alone does not say which image it grew from. While
        another thread learns or predicts, this happens between two steps. Raises ModelError: a state of another image (code -33), a
        damaged (-8) or truncated (-3) snapshot, one of another version (-5), another number of bytes (-20), or bytes that are no
        state of this image.
        """
        try:
            self._core.adopt(state)
        except ValueError as fault:
            raise ModelError(self._refused(bytes(state), *fault.args), int(fault.args[0])) from None

    def merge(self, learned: States) -> Merged:
        """Takes over what fits of what another model learnt, and says what: `runtime/include/metabit_merge.h` has the rules.

        This model is of the new image, which makes all that does not learn. Classes are equal by name, without names by number.
        Nothing changes if nothing fits. Raises ModelError if bits of the learned model have changed by accident.
        """
        try:
            result, reason, kept, fresh, gone = self._core.merge(learned._core)
        except ValueError as fault:
            raise ModelError(str(fault.args[1]), int(fault.args[0])) from None
        return Merged(("all", "classes")[result] if result < 2 else "nothing", reason, kept, fresh, gone)

    def __reduce__(self) -> tuple[type[Any], tuple[bytes]]:
        """Copies and pickles are the image with the present state, opened again."""
        return type(self), (self.image(),)

    def _refused(self, given: bytes, code: int, sentence: str) -> str:
        """Why a state was refused, in one sentence."""
        head = HEAD.unpack(given[: HEAD.size].ljust(HEAD.size, b"\0"))
        if code == _IDENTITY:
            return (
                f"the state grew from image {head[3]:08x}, this model is image {self.identity:08x}: restore it into its own "
                "image, or let metabit merge take over what fits"
            )
        if code == _DAMAGED:
            return "the snapshot is damaged (checksum mismatch): copy it again, or restore an older one"
        if code == _TRUNCATED:
            whole = f"of {HEAD.size + head[4]:,}" if len(given) >= HEAD.size else f"and its head alone has {HEAD.size}"
            return f"the snapshot is truncated: {len(given):,} bytes {whole}: copy the whole file"
        if code == _VERSION:
            version = head[1] | head[2] << 16  # as the C reads it: a damaged byte shows
            return f"snapshot version {version}, this metabit reads {VERSION}: restore it with the metabit that made it"
        if code == _SIZE:
            size = self._core.state_size
            return f"{len(given):,} bytes are no state of this model: its state has {size:,}, its snapshot {size + HEAD.size:,}"
        return f"these bytes are no state of this image: {sentence}"
