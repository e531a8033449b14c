"""The guard of a learning device: docs/learning-rule.md, "Guard"."""

from __future__ import annotations

import copy
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.guard import HEAD, checksum
from metabit.export.oracle.tickets import predict
from metabit.export.oracle.votes import Oracle

WATCHING, STOPPED, ROLLED_BACK = range(3)
FORGOT, LABELS = 1, 2


class Guard:
    """A network that learns with a guard, and keeps its last good state if ``keep``.

    Counts and settings have the names of `metabit.runtime.Report` and of `metabit.export.guard.HEAD`.
    """

    def __init__(self, network: Oracle, data: bytes, keep: bool = True) -> None:
        _, _, _, self.count, size, *settings = HEAD.unpack_from(data)
        self.allowed, self.spared, self.least, self.good, self.patience, self.apart, self.per_step, *most = settings
        self.most = most
        places = range(HEAD.size, len(data), size + 2)
        self.samples = [(struct.unpack_from("<H", data, at)[0], data[at + 2 : at + 2 + size]) for at in places]
        self.network, self.kept = network, copy.deepcopy(network) if keep else None
        self.same, self.last = [0, 0], [0, -1]
        self.learnt = self.refused = self.tests = self.right = self.saves = self.ends = self.since = 0
        self.begin(self.good, WATCHING, 0)

    def begin(self, accuracy: int, status: int, reason: int) -> None:
        """Begins a test, and the running accuracy at this one."""
        self.slow = self.fast = accuracy
        self.status, self.reason = status, reason
        self.low = self.next = self.right_now = 0

    def learn(self, device_input: NDArray[np.uint8], label: int) -> None:
        """One sample: bytes of an input, and its label."""
        seen = [checksum(device_input.tobytes()), label]
        self.same = [n + 1 if now == last else 0 for n, now, last in zip(self.same, seen, self.last, strict=True)]
        self.last = seen
        refuse = any(most and n >= most for n, most in zip(self.same, self.most, strict=True))
        features: NDArray[Any] = self.network.net.unpack(device_input[None])[0]
        learns = not refuse and self.status == WATCHING
        predicted = self.network.learn(features, label).predicted if learns else self.network.predict(features)
        if refuse:
            self.refused += 1
        else:
            self.slow += (512 if predicted == label else 0) - self.slow // 128
            self.fast += (2048 if predicted == label else 0) - self.fast // 32
        if learns:
            self.learnt += 1
            self.since += 1
            self.judge(self.test())
        elif self.status != WATCHING and self.slow >= self.good:
            self.begin(self.good, WATCHING, 0)

    def test(self) -> bool:
        """Tests the next samples; True after the last one."""
        for label, kept in self.samples[self.next : self.next + self.per_step]:
            self.right_now += predict(self.network, kept) == label
            self.next += 1
        if self.next < self.count:
            return False
        self.right, self.next, self.right_now = self.right_now, 0, 0
        self.tests += 1
        return True

    def judge(self, whole: bool) -> None:
        """Ends learning, or keeps the state."""
        wrong = self.count - self.right if whole else 0
        self.low = self.low + 1 if self.slow < self.least else 0
        if self.low > self.patience or wrong > self.allowed:
            self.ends += 1
            if self.kept is not None:
                self.network = copy.deepcopy(self.kept)
            ended = STOPPED if self.kept is None else ROLLED_BACK
            self.begin(0, ended, LABELS if self.low > self.patience else FORGOT)
        elif (
            whole
            and self.kept is not None
            and wrong <= self.spared
            and self.slow >= self.good
            and self.fast + 4096 >= self.slow
            and self.since >= self.apart
        ):
            self.kept = copy.deepcopy(self.network)
            self.saves += 1
            self.since = 0
