"""The head that learns in place, behind one class: today the C reference of the tests, called by ctypes."""

from __future__ import annotations

import ctypes
import functools
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.oracle.head import UNKNOWN, Head, triangle

REFERENCE = Path(__file__).resolve().parents[1] / "tests" / "reference" / "head.c"
_POINTERS = ("covariance", "means", "offsets", "priors", "counts", "weights", "counters")
_NUMBERS = ("values", "rows", "memory", "covariance_memory", "ridge", "prior")
Ints = NDArray[np.int64]
Values = NDArray[np.int8]


class _CHead(ctypes.Structure):
    """mb_head of tests/reference/head.h."""

    _fields_ = [*[(name, ctypes.c_uint16) for name in _NUMBERS], *[(name, ctypes.c_void_p) for name in _POINTERS]]


@functools.cache
def _library() -> ctypes.CDLL:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "head.so"
        subprocess.run(["gcc", "-std=c99", "-O3", "-march=native", "-shared", "-fPIC", str(REFERENCE), "-o", str(target)], check=True)
        return ctypes.CDLL(str(target))


class HeadEngine:
    def __init__(self, head: Head, rows_per_class: int = 1, far: int = 5, limit: int = 3, rise: int = 1, fall: int = 1) -> None:
        self.c = _library()
        rows, values = head.means.shape
        self.a: dict[str, NDArray[Any]] = {
            "covariance": head.covariance[triangle(values)].astype(np.int16), "means": head.means.astype(np.int16),
            "offsets": np.zeros(rows, np.int32), "priors": np.zeros(rows, np.int32),
            "counts": head.counts.astype(np.uint16), "weights": head.weights.astype(np.int8),
            "counters": np.array([head.seen, head.dither, head.turn], np.uint16),
        }  # fmt: skip
        s = head.settings
        self.head = _CHead(values, rows, s.memory, s.covariance_memory, s.ridge, int(s.prior), *(self.a[n].ctypes.data for n in _POINTERS))
        self.ref = ctypes.byref(self.head)
        self.s, self.residual = np.zeros(rows, np.int32), np.zeros(values, np.int16)
        self.ps, self.pr = self.s.ctypes.data_as(ctypes.c_void_p), self.residual.ctypes.data_as(ctypes.c_void_p)
        self.c.mb_head_derive(self.ref)
        self.owner = np.where(head.counts > 0, np.arange(rows), 255)
        self.per = rows_per_class

    def scores(self, x: Values) -> Ints:
        a = self.a
        product = np.rint(x.astype(np.float32) @ a["weights"].T.astype(np.float32)).astype(np.int64)
        s = a["offsets"].astype(np.int64) + a["priors"] + 32 * product
        s[:, a["counts"] == 0] = UNKNOWN
        return s

    def predict(self, x: Values) -> Ints:
        return self.owner[self.scores(x).argmax(1)]

    def step(self, x: Values, row: int) -> None:
        self.c.mb_head_learn(self.ref, x.ctypes.data_as(ctypes.c_void_p), ctypes.c_uint16(row), self.pr)

    def learn(self, x: Values, y: Ints) -> None:
        for one, t in zip(np.ascontiguousarray(x), y.tolist(), strict=True):
            self.owner[t] = t
            self.step(one, t)
