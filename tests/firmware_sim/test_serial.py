"""The serial protocol: the C of runtime/field in this process, damaged lines, hostile frames; and programs on machines of QEMU."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import random
import shutil
import socket
import struct
import subprocess
import threading
import tty
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import command_line
import numpy as np
import pytest
from compilers import shared
from hypothesis import given, settings
from hypothesis import strategies as st
from serial_lines import Damage, LocalLine, Proxy, both, image

from metabit.export.files.image import with_state
from metabit.firmware_sim.errors import FirmwareError
from metabit.firmware_sim.serial import frames
from metabit.firmware_sim.serial.device import SerialDevice
from metabit.firmware_sim.serial.line import LineError, open_line
from metabit.firmware_sim.serial.program import build_serial
from metabit.firmware_sim.serial.protocol import NoAnswer, Restarted, SerialError
from metabit.firmware_sim.serial.qemu import PACKAGES, Qemu
from metabit.firmware_sim.serial.target import load_target, machines
from metabit.runtime import InputError, Model, field_sources, include_dir, sources

ROOT = Path(__file__).parents[2]
PARTS = (*sources(), *field_sources(), ROOT / "tests" / "serial_device.c")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    options = ("-O0", f"-I{include_dir()}")
    return shared(tmp_path_factory.mktemp("serial") / "device.so", *PARTS, options=options)


# Frames


@given(st.binary(max_size=700), st.integers(0, 600), st.binary(max_size=3))
def test_a_frame_returns_what_it_was_given(raw: bytes, zeros: int, noise: bytes) -> None:
    for data in (raw, raw.replace(b"\0", b"\1"), raw + bytes(zeros % 5), b"\7" * zeros):
        sent = frames.encode(data)
        assert sent[0] == sent[-1] == 0 and 0 not in sent[1:-1] and len(sent) <= len(data) + 7 + len(data) // 254 + 1
        reader = frames.Reader()
        found = reader.feed(noise.replace(b"\0", b"\1") + sent[:5]) + reader.feed(sent[5:] + sent)
        assert found[-2:] == [data, data]


@settings(max_examples=100)
@given(st.binary(min_size=1, max_size=300), st.randoms(use_true_random=False))
def test_a_damaged_frame_is_no_frame_and_the_next_one_is_whole(raw: bytes, chance: random.Random) -> None:
    sent = bytearray(frames.encode(raw))
    at = chance.randrange(1, len(sent) - 1)
    sent[at : at + 1] = chance.choice(
        [b"", bytes([sent[at] ^ chance.randrange(1, 256)]), bytes([sent[at], chance.randrange(256)])]
    )
    found = frames.Reader().feed(bytes(sent) + frames.encode(raw))
    assert found[-1] == raw and all(one in (None, raw) for one in found)


# The device in this process


@pytest.mark.parametrize("learner", ["votes", "head", "visits"])
def test_the_device_does_what_the_host_does(library: ctypes.CDLL, learner: str) -> None:
    start = image(1, learner)
    model = Model(start)
    device = SerialDevice(LocalLine(library, start), chunk=64)
    told = device.info
    assert (told.input_size, told.classes, told.identity) == (model.input_size, model.classes, model.identity)
    assert (told.state_size, told.image_size, told.core) == (model.state_size, len(start), "this computer")
    assert told.learns and told.saves and told.push_most > len(start) and told.state_sum == zlib.crc32(model.state())
    both(device, model, 40, seed=2)
    assert device.state() == model.state() and device.refresh().steps == model.steps == 80
    assert device.image() == start and device.model().image() == model.image() == device.model(start).image()
    assert device.resent == 0


@pytest.mark.parametrize("share", [0.01, 0.03])
def test_a_line_that_damages_bytes_changes_nothing_but_the_time(library: ctypes.CDLL, share: float) -> None:
    start = image(2)
    model, there, back = Model(start), Damage(share, 3), Damage(share, 4)
    device = SerialDevice(LocalLine(library, start, there=there, back=back), chunk=32, timeout=0, tries=50)
    both(device, model, 150, seed=5)
    assert device.state() == model.state() and device.refresh().steps == 300
    assert there.hits + back.hits > 200 and device.resent > 100
    other = image(3)
    assert device.push(other).identity == Model(other).identity
    assert device.state() == Model(other).state()


def test_a_repeated_frame_is_not_learnt_twice(library: ctypes.CDLL) -> None:
    start = image(4)
    line = LocalLine(library, start)
    device, x = SerialDevice(line), bytes(12)
    frame = frames.encode(struct.pack("<BbHH", 3, 0, device._session, 77) + x + b"\1\0")
    answers = []
    for _ in range(3):
        line.write(frame)
        answers += frames.Reader().feed(line.read(0))
    assert len(answers) == 3 and len(set(answers)) == 1 and device.refresh().steps == 1


def test_a_device_that_restarted_says_so(library: ctypes.CDLL) -> None:
    start = image(5)
    line = LocalLine(library, start)
    device, x = SerialDevice(line), np.zeros((3, 12), np.uint8)
    device.learn_many(x, [0, 1, 2])
    line.cut()
    with pytest.raises(Restarted, match="has restarted: what it learnt since it was last saved is gone"):
        device.learn_many(x, [0, 1, 2])
    assert device.connect().steps == 0


def test_what_is_saved_survives_power_cuts(library: ctypes.CDLL) -> None:
    start = image(6)
    line, model = LocalLine(library, start), Model(start)
    device = SerialDevice(line)
    with pytest.raises(SerialError) as nothing:
        device.restore()
    assert nothing.value.status == -32
    both(device, model, 10, seed=1)
    assert device.save() == 20
    saved = model.state()
    both(device, model, 5, seed=2)
    line.cut()
    assert device.connect().steps == 20 and device.state() == saved
    assert device.reset() == 0 and device.state() == Model(start).state()
    assert device.restore() == 20 and device.state() == saved
    device.learn_many(np.zeros((1, 12), np.uint8), [0])
    device.save()
    assert device.restore(older=True) == 20 and device.state() == saved
    assert device.restart().steps == 21


def test_an_image_is_pushed_whole_or_not_at_all(library: ctypes.CDLL) -> None:
    start, other = image(7), image(8)
    line = LocalLine(library, start)
    device = SerialDevice(line)
    device.learn_many(np.zeros((4, 12), np.uint8), [0, 1, 2, 0])
    before = device.state()

    def pushing(data: bytes, said: int, upto: int | None = None) -> int:
        device._request(5, struct.pack("<II", len(data), said))
        for at in range(0, len(data) if upto is None else upto, 64):
            device._request(6, at.to_bytes(4, "little") + data[at : at + 64])
        with pytest.raises(SerialError) as wrong:
            device._request(7)
        return wrong.value.status

    damaged = bytearray(other)
    damaged[200] ^= 1
    assert pushing(other, zlib.crc32(other), 128) == -35  # not whole
    assert pushing(other, 1) == -35  # not the one that was announced
    assert pushing(bytes(damaged), zlib.crc32(damaged)) in (-6, -7, -8)  # mb_open refuses it
    with pytest.raises(SerialError, match="in another order"):
        device._request(6, (64).to_bytes(4, "little") + bytes(64))
    large = image(9, "large")
    with pytest.raises(SerialError) as room:
        device.push(large)
    assert room.value.status in (-20, -21, -29)
    assert device.state() == before and device.refresh().identity == Model(start).identity
    line.cut()
    assert device.connect().identity == Model(start).identity
    # two pushes one after the other, each found again after a cut; the second is a learned state of the same image
    for learned in (other, with_state(other, _learned(other))):
        assert device.push(learned).identity == Model(other).identity
        line.cut()
        device.connect()
        assert device.state() == Model(learned).state() and device.image() == learned


def test_a_chunk_longer_than_the_device_takes_is_refused(library: ctypes.CDLL) -> None:
    device = SerialDevice(LocalLine(library, image(16)))
    most = device.info.chunk_most
    device._request(5, struct.pack("<II", most + 33, 0))
    for count in (most + 1, most + 32, most + 33):
        with pytest.raises(SerialError, match="refused the length"):
            device._request(6, bytes(4 + count))
    device._request(6, bytes(4 + most))


def test_a_device_with_too_small_a_buffer_is_silent(library: ctypes.CDLL) -> None:
    start = image(16)
    line = LocalLine(library, start)
    size = (8 * 3 + 12 + 320) // 4 * 4  # MB_SERIAL_BYTES
    library.device_buffer(size)
    assert SerialDevice(line, timeout=0, tries=1).info.identity == Model(start).identity
    library.device_buffer(size - 1)
    with pytest.raises(NoAnswer):
        SerialDevice(line, timeout=0, tries=1)


def test_after_an_error_of_the_flash_a_push_begins_again(library: ctypes.CDLL) -> None:
    other = image(17)
    device = SerialDevice(LocalLine(library, image(16)))
    announced = struct.pack("<II", len(other), zlib.crc32(other))
    for requests in ([(5, announced)], [(5, announced), (6, bytes(4) + other[:64])]):
        *good, last = requests
        for command, payload in good:
            device._request(command, payload)
        library.device_flash(1)
        with pytest.raises(SerialError) as refused:
            device._request(*last)
        library.device_flash(0)
        assert refused.value.status == -30
        with pytest.raises(SerialError, match="in another order"):
            device._request(6, bytes(4) + other[:64])
    assert device.push(other).identity == Model(other).identity


def test_the_old_image_goes_on_where_the_new_one_cannot_be_saved(library: ctypes.CDLL) -> None:
    start, other = image(16), image(17)
    line, x = LocalLine(library, start), np.zeros((3, 12), np.uint8)
    device = SerialDevice(line)
    device.learn_many(x, [0, 1, 2])
    device.save()
    saved = device.state()
    device.learn_many(x, [0, 1, 2])
    for _ in range(2):
        library.device_flash(2)
        with pytest.raises(SerialError) as refused:
            device.push(other)
        library.device_flash(0)
        assert refused.value.status == -30
        assert device.refresh().identity == Model(start).identity and device.state() == saved
    line.cut()
    assert device.connect().identity == Model(start).identity and device.state() == saved
    assert device.push(other).identity == Model(other).identity and device.state() == Model(other).state()


def _learned(start: bytes) -> bytes:
    model = Model(start)
    model.learn_many(np.zeros((5, 12), np.uint8), [0, 1, 2, 1, 0])
    return model.state()


def test_a_line_that_was_opened_in_vain_is_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with pytest.raises(NoAnswer):
            SerialDevice(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout=0.01, tries=1)
        near, _ = server.accept()
        with near:
            near.settimeout(10)
            while near.recv(100):
                pass


def test_errors_are_one_sentence(library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch) -> None:
    device = SerialDevice(LocalLine(library, image(10)), timeout=0, tries=2)
    with pytest.raises(InputError, match=r"inputs are float64 \(2, 12\), the device takes uint8 \(n, 12\)"):
        device.predict_many(np.zeros((2, 12)))
    with pytest.raises(InputError, match=r"label 3 is outside 0\.\.2"):
        device.learn_many(np.zeros((2, 12), np.uint8), [1, 3])
    with pytest.raises(SerialError, match="does not know this command"):
        device._request(99)
    with pytest.raises(SerialError, match="refused the length"):
        device._request(2, bytes(11))
    with pytest.raises(SerialError, match="give the image that was flashed"):
        device.model(image(11))
    monkeypatch.setattr(device.line, "write", lambda data: None)
    with pytest.raises(NoAnswer, match="no answer in 2 tries of 0 s: check that the device"):
        device.refresh()
    for address in ("tcp://nowhere", "tcp://127.0.0.1:99999"):
        with pytest.raises(LineError, match="no address: write tcp://HOST:NUMBER"):
            open_line(address)
    with pytest.raises(FirmwareError, match=r"cannot open /dev/none|pip install 'metabit\[device\]'"):
        open_line("/dev/none")


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
def test_the_commands_over_a_serial_port(
    library: ctypes.CDLL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """pyserial at one end of a pseudo-terminal, the C at the other."""
    pytest.importorskip("serial", reason="no pyserial")
    monkeypatch.chdir(tmp_path)
    start = image(15, "head")
    Path("a.mbit").write_bytes(start)
    x = np.random.default_rng(0).integers(0, 256, (40, 12)).astype(np.uint8)
    np.savez("my.npz", x=x, y=np.arange(40) % 3)
    line = LocalLine(library, start)
    far, near = os.openpty()
    tty.setraw(near)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while data := os.read(far, 4096):
                line.write(data)
                os.write(far, line.read(0))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()

    def told(*words: str) -> dict[str, Any]:
        assert command_line.run("device", os.ttyname(near), *words, "--json") == 0, words
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    assert told("info")["core"] == "this computer"
    assert told("predict", "--data", "my.npz", "--model", "a.mbit")["samples"] > 0
    columns = told("watch", "--data", "my.npz", "--model", "a.mbit", "--limit", "15", "--window", "10")["columns"]
    assert [column["samples"] for column in columns] == [10, 5]
    assert told("verify", "--data", "my.npz", "--learn", "--limit", "3")["equal"]
    assert told("pull", "b.mbst", "--snapshot", "--model", "a.mbit")["steps"] == 18
    assert told("reset")["steps"] == 0 and told("push", "b.mbst")["steps"] == 18
    assert Model.open("a.mbit").identity == int(told("pull", "b.mbit")["identity"], 16)
    assert command_line.run("device", os.ttyname(near), "push", "my.npz") == 1
    assert "my.npz: not a metabit image" in capsys.readouterr().err
    pulled = Path("b.mbit").read_bytes()
    Path("learned.mbit").write_bytes(pulled)
    assert told("pull")["file"] == "learned.mbit"  # of equal content
    assert told("learn", "--data", "my.npz", "--limit", "2")["steps"] == 20
    for words, said in (((), "learned.mbit exists, and has other content: name another file"),
                        (("a.mbit", "--model", "a.mbit", "--force"), "a.mbit is an input of this command")):  # fmt: skip
        assert command_line.run("device", os.ttyname(near), "pull", *words) == 1
        assert said in capsys.readouterr().err
    assert (Path("a.mbit").read_bytes(), Path("learned.mbit").read_bytes()) == (start, pulled)
    assert told("pull", "--force")["steps"] == Model.open("learned.mbit").steps == 20
    assert told("pull", "b.mbit")["steps"] == Model.open("b.mbit").steps == 20  # a file that was named
    assert command_line.run("device", os.ttyname(near), "push", "b.mbit") == 0
    assert f"sending {len(pulled):,} bytes" in capsys.readouterr().err
    os.close(far)


def test_hostile_frames_under_sanitizers(tmp_path: Path) -> None:
    """libFuzzer where clang brings it, else gcc and a loop of its own."""
    (tmp_path / "a.mbit").write_bytes(image(12))
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    requests = [struct.pack("<HBBbHH", 6 + len(p), 3, c, 0, 0, i) + p for i, (c, p) in enumerate(
        [(1, b""), (2, bytes(12)), (3, bytes(14)), (4, struct.pack("<BIH", 0, 0, 64)), (5, struct.pack("<II", 64, 5)),
         (6, bytes(68)), (5, struct.pack("<II", 321, 5)), (6, bytes(325)),
         (7, b""), (8, b""), (9, b"\0"), (9, b"\1"), (10, b"\0"), (10, b"\1")])]  # fmt: skip
    (corpus / "all").write_bytes(b"".join(requests))
    ways = {
        "clang": (
            ["-fsanitize=fuzzer,address,undefined"],
            ["-max_total_time=2", "-max_len=2048", str(corpus)],
        ),
        "gcc": (["-fsanitize=address,undefined", "-DOWN_LOOP"], ["2"]),
    }
    flags = [
        "-std=gnu11",
        "-O0",
        "-g",
        "-fno-sanitize-recover=all",
        "-DFUZZ",
        f"-I{include_dir()}",
        "-Wall",
        "-Wextra",
        "-Werror",
    ]
    for compiler, (sanitize, words) in ways.items():
        if shutil.which(compiler) is None:
            continue
        program = str(tmp_path / "fuzz")
        built = subprocess.run(
            [compiler, *flags, *sanitize, *map(str, PARTS), "-o", program], capture_output=True, text=True
        )
        if built.returncode != 0 and "cannot find" in built.stderr:
            continue
        assert built.returncode == 0, built.stderr
        told = {**os.environ, "METABIT_IMAGE": str(tmp_path / "a.mbit")}
        done = subprocess.run([program, *words], cwd=tmp_path, env=told, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-4000:]
        counts = done.stderr.rpartition("fuzz: ")[2].split()
        assert int(counts[0]) > 1000 and int(counts[2]) > 100, done.stderr[-300:]
        return
    pytest.skip("no clang or gcc with AddressSanitizer")


# QEMU


QUICK = ("mps2-an386", "lm3s6965evb", "virt-riscv32")
"""One of each instruction set; METABIT_ALL_MACHINES=1 runs the others too."""


@pytest.fixture(params=machines() if "METABIT_ALL_MACHINES" in os.environ else QUICK)
def machine(request: pytest.FixtureRequest) -> Iterator[str]:
    program = load_target(request.param).qemu[0]
    if shutil.which(program) is None:
        pytest.skip(f"no {program} (apt-get install {PACKAGES[program]})")
    yield request.param


def test_every_machine_learns_is_cut_and_remembers(machine: str) -> None:
    start, target = image(13), load_target(machine)
    model = Model(start)
    with Qemu(build_serial(start, target), target) as running, SerialDevice(running.url, timeout=20) as device:
        assert machine in device.info.core
        both(device, model, 3, seed=7)
        assert device.save() == 6
        saved = model.state()
        both(device, model, 2, seed=8)
        assert device.state() == model.state()
        assert device.restart().steps == 6 and device.state() == saved
        with pytest.raises(
            SerialError, match=r"needs \((\w+ or )*MB_WITHOUT_HEAD( or \w+)*\): .* --all-parts"
        ) as refused:
            device.push(image(8, "head"))
        assert refused.value.status == -29 and device.refresh().identity == model.identity
        other = image(14)
        device.push(other)
        assert device.restart().identity == Model(other).identity and device.state() == Model(other).state()


def test_a_machine_behind_a_bad_line_ends_in_the_hosts_state() -> None:
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("no qemu-system-arm (apt-get install qemu-system-arm)")
    start, target = image(13), load_target("mps2-an386")
    model, there, back = Model(start), Damage(0.01, 1), Damage(0.01, 2)
    with Qemu(build_serial(start, target), target) as running, Proxy(running.url, there, back) as proxy:
        with SerialDevice(proxy.url, timeout=1.0, tries=20, chunk=64) as device:
            rng = np.random.default_rng(0)
            x, y = rng.integers(0, 256, (100, 12)).astype(np.uint8), rng.integers(0, 3, 100)
            assert (device.predict_many(x).scores == model.scores(x)).all()
            device.learn_many(x, y)
            model.learn_many(x, y)
            assert device.state() == model.state() and device.refresh().steps == 100 and device.resent > 20
