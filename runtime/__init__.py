"""The runtime room computes with integers only: image + input -> class; image + input + label -> changed image.

The C runtime (``src/``, C99, freestanding) does the work. This module gives it memory and checks what callers pass::

    model = Model.open("model.mbit")
    label = model.predict_one(x)       # x: the numbers of one sample, as in training
    model.learn_one(x, y)              # in place
    model.save("learned.mbit")

`sources`, `field_sources`, `include_dir` and `write_sources` are for people who compile the C themselves.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metabit.runtime import _core
from metabit.runtime.amalgamate import field_sources, include_dir, sources, write_sources
from metabit.runtime.c_header import guard_header, model_header
from metabit.runtime.guard import Guard, Report
from metabit.runtime.inputs import InputError, Inputs, as_uint8, learner
from metabit.runtime.parts import left_out
from metabit.runtime.states import Merged
from metabit.runtime.telling import ModelError
from metabit.runtime.tickets import Step, Steps, Tickets, step_error

__all__ = [
    "Guard", "InputError", "Merged", "Model", "ModelError", "Report", "Step", "Steps", "as_uint8", "field_sources", "guard_header",
    "include_dir", "left_out", "model_header", "sources", "write_sources",
]  # fmt: skip

_TAKEN_OUT = {"sse2": "words", "avx512vbmi2": "avx512"}
"""Removed vector sets, each with its replacement."""


class Model(Tickets):
    """A network on the host, with the same integers as on the device.

    An input is ``features`` numbers, the same as in training: floats of any scale where the image has a scale, else whole
    numbers in the range of its integers; or packed bits, uint8, where the first layer takes bits. One thread at a time predicts or
    learns; a second one gets RuntimeError. While it learns, other threads may call `image`, `state`, `snapshot`, `restore`, `steps`
    and `save`: each takes the state between two steps. A copy, and what was pickled, is the image with the state of that moment.
    """

    _core: _core.Model

    def __init__(self, image: bytes) -> None:
        """Opens an image. Raises ModelError if it is damaged, with the reason.

        It runs on the widest vectors that this processor has, or on those that METABIT_VECTORS names in the environment;
        the integers are the same. Raises ValueError if that is no name, or if this processor lacks them.
        """
        try:
            self._core = _core.Model(image, _wanted_vectors())
        except _core.Fault as fault:
            raise _model_error(fault) from None
        self._takes, self._learner = Inputs.of(image), learner(image)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Model:
        """Reads and opens an image file. Raises OSError if it cannot be read, ModelError if it is damaged."""
        data = Path(path).read_bytes()
        if len(data) >= 4 and data[:4] != b"MBIT":
            start = f"{os.fspath(path)}: not a metabit image: it starts with {data[:4]!r}, not b'MBIT'"
            raise ModelError(f"{start}: give a .mbit file", -4)
        try:
            return cls(data)
        except ModelError as wrong:
            remedy = ": copy the whole file again, or export it again" if wrong.code in _CHANGED else ""
            raise ModelError(f"{os.fspath(path)}: {wrong}{remedy}", wrong.code) from None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the learned image to a file, completely or not at all. Raises OSError, or ModelError as `image` does."""
        target = Path(path)
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            with open(part, "wb") as file:
                file.write(self.image())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, target)
        finally:
            part.unlink(missing_ok=True)

    def image(self) -> bytes:
        """Returns the learned image: the opened one with the present state.

        Raises ModelError if bits of the image or of the state have changed by accident, so that no image returned fails to open.
        """
        try:
            return self._core.export()
        except _core.Fault as fault:
            raise _model_error(fault) from None

    @property
    def input_size(self) -> int:
        """Bytes of one input."""
        return self._core.input_size

    @property
    def inputs(self) -> Inputs:
        """One input on the device: dtype, scale, names."""
        return self._takes

    @property
    def features(self) -> int:
        """Numbers of one input."""
        return self._takes.values

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The name of each feature, () where the image has none."""
        return self._takes.features

    @property
    def classes(self) -> int:
        return self._core.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """A name for each class, (classes,): the one in the image, or "class 3" where it has none, as for a spare class.

        `inputs.classes` has the names in the image alone. `metabit run --save` keeps the name of a class that was new.
        """
        known = self._takes.classes
        return (*known, *(f"class {label}" for label in range(len(known), self.classes)))

    @property
    def learner(self) -> str:
        """The learner: "head", "levels", "visits", "votes" or "none"."""
        return self._learner

    @property
    def steps(self) -> int:
        """Number of learning steps that this model ever made, modulo 2**32."""
        return int.from_bytes(self.state()[4:8], "little")

    @property
    def image_size(self) -> int:
        """Bytes of the whole image."""
        return self._core.image_size

    @property
    def state_size(self) -> int:
        """Bytes of state memory, which a device keeps in RAM between calls."""
        return self._core.state_size

    @property
    def vectors(self) -> str:
        """The vectors that it runs on here: "avx512", "avx2", "neon", "words" (64 bits), or "none", the device's code."""
        return self._core.vectors

    def arena_size(self, mode: str = "learn") -> int:
        """Returns the bytes of scratch memory; mode is "infer" or "learn"."""
        if mode not in ("infer", "learn"):
            raise ValueError(f"mode is {mode!r}: 'infer' or 'learn'")
        return self._core.arena_learn if mode == "learn" else self._core.arena_infer

    # Inputs

    def quantise(self, x: ArrayLike) -> NDArray[Any]:
        """Returns what the device takes, uint8 or int16 (n, features), for numbers (n, features).

        With a scale, values outside the range of their feature are limited to it. Raises InputError, which names sample
        and feature: NaN or infinity, or without a scale a number that is not whole or not in range. With a scale to int16 no model
        takes int16 arrays: they would be scaled a second time.
        """
        return self._takes.quantise(x)

    def clipped(self, x: ArrayLike) -> NDArray[np.int64]:
        """Returns how many values of each feature `quantise` limits, int64 (features,); 0 for one that never varied."""
        return self._takes.clipped(x)

    def device_bytes(self, x: ArrayLike) -> NDArray[np.uint8]:
        """Returns the input of `mb_predict` for numbers (n, features): `quantise` as bytes, uint8 (n, input_size)."""
        return self._takes.device(x)

    # Verbs

    def predict_one(self, x: ArrayLike) -> int:
        """Returns the class of one input, numbers (features,).

        It is fastest for an array of the device's integers, or of float32 or float64 where the image has a scale.
        """
        label = self._core.predict_one(x)
        return int(self.predict_many(np.asarray(x)[None])[0]) if label is None else label

    def predict_many(self, x: ArrayLike) -> NDArray[np.uint16]:
        """Returns classes, uint16 (n,), of inputs (n, features); uint8 (n, input_size) is taken as the device's bytes."""
        return self._predict(x)[1]

    def scores(self, x: ArrayLike) -> NDArray[np.int32]:
        """Returns scores, int32 (n, classes), of inputs (n, features)."""
        return self._predict(x)[0]

    def _predict(self, x: ArrayLike) -> tuple[NDArray[np.int32], NDArray[np.uint16]]:
        """Returns scores, int32 (n, classes), and labels, uint16 (n,)."""
        return self._predicted(self._core.predict_many, self._takes.device(x))

    def learn_one(self, x: ArrayLike, y: int) -> Step:
        """Makes one learning step in place on one input, numbers (features,), and its label."""
        try:
            told = self._core.learn_one(x, y)
        except _core.Fault as fault:
            raise step_error(fault) from None
        if told is not None:
            return tuple.__new__(Step, told)
        return self.learn_many(np.asarray(x)[None], [y]).first

    def learn_many(self, x: ArrayLike, y: ArrayLike) -> Steps:
        """Makes one learning step for each sample, in order: inputs (n, features), labels (n,) in 0..classes-1.

        All inputs and labels are checked before the first step. Ctrl-C raises KeyboardInterrupt between two steps, and
        the steps before it stay learned.
        """
        return self._learnt(self._core.learn_many, self._takes.device(x), y)


_CHANGED = (-3, -6, -7, -8)
"""MB_E_TRUNCATED and the three checksums: the file has lost or changed bytes since it was written."""


def _model_error(fault: _core.Fault) -> ModelError:
    code, sentence = fault.args
    return ModelError(str(sentence), int(code))


def _wanted_vectors() -> str | None:
    wanted = os.environ.get("METABIT_VECTORS", "").lower() or None
    if wanted in _TAKEN_OUT:
        raise InputError(
            f"METABIT_VECTORS={wanted}: these vectors were taken out; use {_TAKEN_OUT[wanted]}, or leave it unset"
        )
    if wanted is not None and wanted not in _core.VECTORS_HERE:
        wrong = "this processor lacks them" if wanted in _core.VECTORS else "there are none of this name"
        raise InputError(
            f"METABIT_VECTORS={wanted}: {wrong}; one of {', '.join(_core.VECTORS_HERE)}, or leave it unset"
        )
    return wanted
