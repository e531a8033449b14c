"""Lines to a device: a serial port by pyserial, or a TCP socket, as emulators have one."""

from __future__ import annotations

import importlib
import select
import socket
from typing import Any, Protocol
from urllib.parse import urlsplit

from metabit.firmware_sim.errors import FirmwareError, MissingExtra

BAUD = 115_200


class LineError(FirmwareError):
    """A line cannot be opened, or the other end closed it."""


class Line(Protocol):
    """Bytes in both directions."""

    def read(self, seconds: float) -> bytes:
        """Return the bytes that are there, after waiting for the first one; b"" after so many seconds. Raises LineError."""

    def write(self, data: bytes) -> None:
        """Send all bytes. Raises LineError."""

    def close(self) -> None:
        """Close the line."""


def open_line(port: str, baud: int = BAUD) -> Line:
    """Open tcp://HOST:NUMBER, or a serial port by its name, such as /dev/ttyACM0 or COM3.

    Raises:
        LineError: it cannot be opened. MissingExtra: a serial port needs pyserial, the extra `device`.
    """
    return TcpLine(port) if port.startswith("tcp://") else SerialLine(port, baud)


class TcpLine:
    """A TCP connection, tcp://HOST:NUMBER."""

    def __init__(self, url: str) -> None:
        self.name = url
        try:
            parts = urlsplit(url)
            host, number = parts.hostname, parts.port
        except ValueError:
            host = number = None
        if not host or number is None:
            raise LineError(f"{url} is no address: write tcp://HOST:NUMBER, such as tcp://127.0.0.1:1234")
        try:
            self._socket = socket.create_connection((host, number), timeout=10)
        except OSError as error:
            why = error.strerror or str(error)
            raise LineError(f"{url}: {why}: start the emulator first, with its serial port on this address") from error
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self, seconds: float) -> bytes:
        try:
            if not select.select([self._socket], [], [], max(0.0, seconds))[0]:
                return b""
            data = self._socket.recv(1 << 16)
        except OSError as error:
            raise self._lost() from error
        if not data:
            raise self._lost()
        return data

    def write(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        self._socket.close()

    def _lost(self) -> LineError:
        return LineError(f"{self.name}: the other end closed the connection: start the emulator again")


class SerialLine:
    """A serial port, by pyserial."""

    def __init__(self, port: str, baud: int = BAUD) -> None:
        self.name = port
        try:
            serial: Any = importlib.import_module("serial")
        except ImportError as error:
            raise MissingExtra(f"the serial port {port} needs pyserial: pip install 'metabit[device]'") from error
        try:
            self._port = serial.Serial(port, baud, timeout=0, write_timeout=10, exclusive=True)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or str(error)
            advice = "name the port of the board, which `python -m serial.tools.list_ports` lists, or tcp://HOST:NUMBER"
            raise LineError(f"cannot open {port} ({why}): {advice}") from error

    def read(self, seconds: float) -> bytes:
        try:
            self._port.timeout = max(0.0, seconds)
            first = bytes(self._port.read(1))
            return first + bytes(self._port.read(self._port.in_waiting)) if first else b""
        except OSError as error:
            raise self._lost() from error

    def write(self, data: bytes) -> None:
        try:
            self._port.write(data)
            self._port.flush()
        except OSError as error:
            raise self._lost() from error

    def close(self) -> None:
        self._port.close()

    def _lost(self) -> LineError:
        return LineError(f"{self.name}: the port went away: plug the board in again")
