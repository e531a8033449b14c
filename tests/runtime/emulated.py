"""Every set of vectors of a host's library on an emulated processor with AVX-512, for computers that lack it.

    python tests/runtime/emulated.py [IMAGE INPUTS ...]

Needs gcc for x86-64 and, from Debian 12: bochs bochsbios isolinux syslinux-common xorriso. Bochs, as the model corei7_icelake_u,
starts a program without an operating system (emulated.S, emulated.c) from a CD. The program compares scores, learning steps and
states of each set with those of none, for the golden images and networks of test_wide.py. It prints a line for each network with
the ticks of a prediction: Bochs counts one for each instruction. Then come the numbers of networks, predictions and differences;
the exit status is 1 if there is a difference. Takes about four minutes, and is not part of `make test`.

IMAGE INPUTS: files .mbit, each with a file of its inputs, as cases before all others.
"""

from __future__ import annotations

import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import test_wide as wide
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from networks import gates_network, network, voting
from numpy.typing import NDArray

from metabit.export.files.image import write_image
from metabit.export.frozen import Cuts, Frozen
from metabit.runtime import Model, include_dir, sources

HERE = Path(__file__).parent
HOST = sources()[0].parents[1] / "host"
LOADER, MODULES = Path("/usr/lib/ISOLINUX/isolinux.bin"), Path("/usr/lib/syslinux/modules/bios")
RANDOM = 100
"""Networks of each kind that are drawn at random."""
DENSITIES = list(np.linspace(0, 1, 24))
SHAPES = [(784, 96, "uint8"), (37, 5, "int16"), (300, 200, "uint8"), (70, 513, "int16")]
"""Features, units and kind of gates."""
OPTIONS = (
    "-std=gnu11",
    "-O3",
    "-fno-pie",
    "-fno-stack-protector",
    "-DNDEBUG",
    "-DMB_WIDE",
    "-include",
    str(HERE / "emulated.h"),
)

Case = tuple[str, bytes, NDArray[np.uint8]]


def some(networks: st.SearchStrategy[Frozen]) -> list[Frozen]:
    """As many networks as RANDOM, the same in every run."""
    found: list[Frozen] = []

    @settings(max_examples=RANDOM, derandomize=True, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(networks)
    def keep(frozen: Frozen) -> None:
        found.append(frozen)

    keep()
    return found


def inputs(frozen: Frozen) -> NDArray[np.uint8]:
    """Inputs of every density, inputs beside the cuts, and random ones."""
    x = wide.samples(frozen, DENSITIES)
    if isinstance(frozen.encode, Cuts):
        kind = frozen.encode.cuts.dtype
        near = np.resize(frozen.encode.cuts, (2, frozen.input_bytes // kind.itemsize)) + [[0], [1]]
        x = np.concatenate([x, near.astype(kind).view(np.uint8)])
    return np.concatenate([x, np.random.default_rng(0).integers(0, 256, (8, frozen.input_bytes)).astype(np.uint8)])


def cases(given: list[str]) -> Iterator[Case]:
    for file, kept in zip(given[::2], given[1::2], strict=True):
        image = Path(file).read_bytes()
        yield Path(file).stem, image, np.fromfile(kept, np.uint8).reshape(-1, Model(image).input_size)[:64]
    for path in wide.GOLDEN:
        image = path.read_bytes()
        x = np.random.default_rng(0).integers(0, 256, (80, Model(image).input_size)).astype(np.uint8)
        yield path.stem, image, x
    named = {f"gates-{last}-{planes}": gates_network(planes, 1030, planes, 60, 12, last, learns=last == "levels")
             for planes in (0, 1, 2) for last in ("levels", "head")}  # fmt: skip
    named |= {f"gates-{units}-of-{features}-{kind}": gates_network(units, features, 3, units, 10, "levels", kind, learns=True)
              for features, units, kind in SHAPES}  # fmt: skip
    named |= {"voting": voting(3, units=70), "dense": network(2, (300, 530, 270, 20), 4, dose=300_000)}
    for prefix, networks in (("gates", wide.any_gates()), ("dense", wide.any_width())):
        named |= {f"random-{prefix}-{i}": frozen for i, frozen in enumerate(some(networks))}
    for name, frozen in named.items():
        yield name, write_image(frozen), inputs(frozen)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 64)


def packed(name: str, image: bytes, x: NDArray[np.uint8]) -> bytes:
    labels = np.random.default_rng(1).integers(0, Model(image).classes, len(x)).astype("<u2")
    body = b"".join(map(padded, (image, np.ascontiguousarray(x).tobytes(), labels.tobytes())))
    return struct.pack("<32s4I16x", name.encode()[:31], len(image), len(x), len(x), 64 + len(body)) + body


def main(given: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        at, cd = Path(folder), Path(folder) / "cd"
        cd.mkdir()
        (at / "cases.bin").write_bytes(b"".join(packed(*case) for case in cases(given)) + bytes(64))
        (at / "link").write_text("SECTIONS { . = 0x100000; .text : { *(.start) *(.text*) *(.rodata*) } .data : { *(.data*) } "
                                 "end_of_file = .; .bss : { *(.bss*) *(COMMON) } end_of_memory = .; }")  # fmt: skip
        code = [HERE / "emulated.S", HERE / "emulated.c", *sources(), *sorted(HOST.glob("*.c"))]
        include = [f"-I{path}" for path in (include_dir(), sources()[0].parent, HOST)]
        link = ["-static", "-nostdlib", "-no-pie", "-Wl,--build-id=none,--no-warn-rwx-segments", "-T", "link", "-lgcc"]
        subprocess.run(["gcc", *OPTIONS, *include, *code, *link, "-o", "program"], cwd=at, check=True)
        subprocess.run(["objcopy", "-O", "binary", "program", "cd/program"], cwd=at, check=True)
        for file in (LOADER, *(MODULES / f"{module}.c32" for module in ("ldlinux", "libcom32", "mboot"))):
            (cd / file.name).write_bytes(file.read_bytes())
        (cd / "isolinux.cfg").write_text("DEFAULT p\nPROMPT 0\nLABEL p\n KERNEL mboot.c32\n APPEND program\n")
        boot = ["-b", "isolinux.bin", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"]
        subprocess.run(["xorriso", "-as", "mkisofs", "-quiet", "-o", "cd.iso", *boot, "cd"], cwd=at, check=True)
        (at / "settings").write_text(
            "cpu: model=corei7_icelake_u, reset_on_triple_fault=0\nmemory: guest=256, host=256\n"
            "romimage: file=/usr/share/bochs/BIOS-bochs-latest\nvgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest\n"
            "ata0-master: type=cdrom, path=cd.iso, status=inserted\nboot: cdrom\nport_e9_hack: enabled=1\n"
            'display_library: rfb, options="timeout=0"\nlog: log\npanic: action=fatal\n'
        )
        (at / "commands").write_text("continue\n")  # Debian's Bochs waits in its debugger
        bochs = ["bochs", "-q", "-f", "settings", "-rc", "commands"]
        done = subprocess.run(bochs, cwd=at, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        lines = done.stdout[done.stdout.find("processor: ") :]
        ended = "widest set: avx512\n" in lines and "\nend\n" in lines
        print(lines[: lines.find("\nend\n")] if ended else done.stdout + (at / "log").read_text()[-2000:])
        return 0 if ended and " different 0\nend\n" in lines else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
