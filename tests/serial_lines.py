"""Lines that lose bytes, and a device in this process, for tests of the serial protocol.

As a program it is the long run: `python tests/serial_lines.py --machine mps2-an386 --steps 1000` predicts and learns over a line
that damages 1 % of the bytes, on a machine of QEMU, and compares the state with the host's.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import select
import socket
import threading
import time
from pathlib import Path

import numpy as np

from metabit.firmware_sim.serial.device import SerialDevice
from metabit.runtime import Model

ROOT = Path(__file__).parents[1]


class Damage:
    """Drops, changes or adds bytes at random; seed: of the choices. It counts the bytes that passed and those that it hit."""

    def __init__(self, share: float, seed: int) -> None:
        self.share, self._random = share, random.Random(seed)
        self.bytes = self.hits = 0

    def __call__(self, data: bytes) -> bytes:
        out = bytearray()
        for byte in data:
            self.bytes += 1
            if self._random.random() >= self.share:
                out.append(byte)
                continue
            self.hits += 1
            kind = self._random.randrange(5)  # two of five lose a byte, two change one, one adds one
            if kind >= 2:
                out.append(byte ^ self._random.randrange(1, 256) if kind < 4 else byte)
            if kind == 4:
                out.append(self._random.randrange(256))
        return bytes(out)


class LocalLine:
    """The C of runtime/field in this process, as tests/serial_device.c makes it, at the end of a line that may damage bytes."""

    name = "here"

    def __init__(
        self, library: ctypes.CDLL, image: bytes, *, there: Damage | None = None, back: Damage | None = None
    ) -> None:
        library.device_take.restype = ctypes.c_size_t
        self._library, self._there, self._back = library, there, back
        assert library.device_start(image, ctypes.c_size_t(len(image)), 1) == 0
        self._answer, self._out = b"", ctypes.create_string_buffer(1 << 16)

    def read(self, seconds: float) -> bytes:
        answer, self._answer = self._answer, b""
        return answer

    def write(self, data: bytes) -> None:
        sent = self._there(data) if self._there else data
        count = self._library.device_take(sent, ctypes.c_size_t(len(sent)), self._out, ctypes.c_size_t(1 << 16))
        answer = self._out.raw[:count]
        self._answer += self._back(answer) if self._back else answer

    def close(self) -> None:
        """There is nothing to close."""

    def cut(self) -> None:
        """Power fails."""
        self._answer = b""
        assert self._library.device_cut() == 0


class Proxy:
    """A TCP server in a thread that passes bytes on to another address and back, damaged. `url` is its address."""

    def __init__(self, url: str, there: Damage, back: Damage) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self._server.getsockname()[1]}"
        host, number = url.removeprefix("tcp://").split(":")
        self._far = socket.create_connection((host, int(number)))
        self._far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._damage = (there, back)
        self._thread = threading.Thread(target=self._pass_on, daemon=True)
        self._thread.start()

    def _pass_on(self) -> None:
        near, _ = self._server.accept()
        with near:
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while True:
                for ready in select.select([near, self._far], [], [])[0]:
                    data = ready.recv(1 << 16)
                    if not data:
                        return
                    there = ready is near
                    (self._far if there else near).sendall(self._damage[0 if there else 1](data))

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(10)
        self._server.close()
        self._far.close()


def image(seed: int = 5, learner: str = "votes") -> bytes:
    """A small network that learns: 12 bytes in, 3 classes."""
    import sys

    sys.path.insert(0, str(ROOT / "tests"))
    from networks import gates_network, network, voting

    from metabit.export.files.image import write_image

    makers = {
        "votes": lambda: voting(seed, inputs=12, units=32, classes=3, k=4),
        "head": lambda: gates_network(seed, features=12, units=33, classes=3),
        "large": lambda: network(seed, (12, 512, 3), k=5, planes=0),
        "visits": lambda: network(seed, (12, 32, 3), k=5, planes=0),
    }
    return write_image(makers[learner]())


def both(device: SerialDevice, model: Model, steps: int, seed: int) -> None:
    """So many predictions and learning steps by turns, here and there; every integer must agree."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (2 * steps, model.input_size)).astype(np.uint8)
    y = rng.integers(0, model.classes, 2 * steps)
    for i in range(steps):
        two = slice(2 * i, 2 * i + 2)
        assert (device.predict_many(x[two]).scores == model.scores(x[two])).all()
        here, there = model.learn_many(x[two], y[two]), device.learn_many(x[two], y[two])
        assert all((a == b).all() for a, b in zip(here, there, strict=True))


def main() -> None:
    from metabit.firmware_sim.serial.program import build_serial
    from metabit.firmware_sim.serial.qemu import Qemu
    from metabit.firmware_sim.serial.target import load_target

    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--machine", default="mps2-an386")
    words.add_argument("--steps", type=int, default=1000, help="predictions, and learning steps")
    words.add_argument("--damage", type=float, default=0.01, help="share of the bytes")
    words.add_argument("--image", type=Path, help="a .mbit file; else a small network that learns by votes")
    words.add_argument("--seed", type=int, default=0)
    told = words.parse_args()
    start = told.image.read_bytes() if told.image else image()
    target = load_target(told.machine)
    there, back = Damage(told.damage, told.seed), Damage(told.damage, told.seed + 1)
    began = time.monotonic()
    with Qemu(build_serial(start, target), target) as machine, Proxy(machine.url, there, back) as proxy:
        with SerialDevice(proxy.url, timeout=1.0, tries=20, chunk=64) as device:
            model = Model(start)
            rng = np.random.default_rng(told.seed)
            x = rng.integers(0, 256, (told.steps, model.input_size)).astype(np.uint8)
            y = rng.integers(0, model.classes, told.steps)
            labels = device.predict_many(x).labels
            assert (labels == model.predict_many(x)).all()
            steps = device.learn_many(x, y)
            assert all((a == b).all() for a, b in zip(steps, model.learn_many(x, y), strict=True))
            equal = device.state() == model.state()
            facts = {
                "machine": told.machine, "predictions": told.steps, "steps": device.refresh().steps, "equal": equal,
                "bytes": there.bytes + back.bytes, "bytes_damaged": there.hits + back.hits, "requests_resent": device.resent,
                "frames_damaged_on_arrival": device.info.damaged, "seed": told.seed,
                "seconds": round(time.monotonic() - began, 1),
            }  # fmt: skip
    print(json.dumps(facts))
    raise SystemExit(0 if equal else 1)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
