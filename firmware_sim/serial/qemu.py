"""A device program on a machine that QEMU emulates, its serial port on a TCP socket."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from metabit.firmware_sim.errors import FirmwareError
from metabit.firmware_sim.serial.target import Target


class Qemu:
    """Runs a program; its serial port is at `url`, tcp://127.0.0.1:NUMBER, from the first moment on.

    The listening socket is opened here and inherited by QEMU: no other program can take its number, and a connection waits until
    the machine runs. flash: a file that keeps what the program writes to flash; without one that ends with the machine.
    Raises FirmwareError where QEMU is not installed, or where no file can keep the flash of this target.
    """

    def __init__(self, elf: Path, target: Target, flash: Path | None = None) -> None:
        if not target.qemu:
            raise FirmwareError(f"{target.name} is a chip, not a machine of QEMU: flash the program instead")
        if shutil.which(target.qemu[0]) is None:
            package = PACKAGES.get(target.qemu[0], target.qemu[0])
            raise FirmwareError(f"no {target.qemu[0]}: install it, on Debian and Ubuntu by apt-get install {package}")
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.url = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            line = f"socket,id=line,fd={server.fileno()},server=on,wait=off,nodelay=on"
            words = (
                *target.machine(flash),
                "-display",
                "none",
                "-monitor",
                "none",
                "-chardev",
                line,
                "-serial",
                "chardev:line",
            )
            self._process = subprocess.Popen(
                (*words, "-kernel", str(elf)), pass_fds=[server.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            )  # fmt: skip

    def __enter__(self) -> Qemu:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def kill(self) -> None:
        """End the machine at once, in the middle of whatever it does, as a power cut does."""
        self._process.kill()
        self._process.wait()

    def close(self) -> str:
        """End the machine and return what QEMU wrote to standard error."""
        self._process.terminate()
        return self._process.communicate()[1].decode(errors="replace")


PACKAGES = {"qemu-system-arm": "qemu-system-arm", "qemu-system-riscv32": "qemu-system-misc"}
"""Program -> Debian's package that has it."""
