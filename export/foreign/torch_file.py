"""Tensors of a file of torch.save, without torch and without unpickling.

The file is a zip archive: data.pkl says how tensors are made of the bytes in data/0, data/1 ... Only what a state dict needs is
followed, operation by operation, and nothing is called: names of classes and functions stay text.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metabit.export.errors import ExportError

MAGIC = b"PK\x03\x04"
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
MADE = ("torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter")
DICTS = ("collections OrderedDict", "collections defaultdict")
_MARK = object()


def is_torch(data: bytes) -> bool:
    """True for a file of torch.save, which is a zip archive like others."""
    return data.startswith(MAGIC) and b"/data.pkl" in data


@dataclass(frozen=True)
class _Name:
    """A class or function that the file names."""

    text: str


def read_tensors(data: bytes) -> dict[str, Any]:
    """The content of the file: a dictionary of NumPy arrays, numbers, texts, lists and further dictionaries.

    Raises ExportError for a damaged file, and for one that holds other objects.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = {info.filename.partition("/")[2]: info for info in archive.infolist()}
            if "data.pkl" not in names:
                raise ExportError("this zip archive has no data.pkl, as torch.save writes it: save model.state_dict()")
            if any(info.compress_type != zipfile.ZIP_STORED for info in names.values()):
                raise ExportError(
                    "this zip archive is compressed, which torch.save never does: save model.state_dict() again"
                )
            if sum(info.file_size for info in names.values()) > len(data):
                raise ValueError("its parts overlap")
            parts = {name: archive.read(info) for name, info in names.items()}
        found = _Machine(parts).run()
    except ExportError:
        raise
    except (zipfile.BadZipFile, ValueError, LookupError, TypeError, AttributeError, OSError, RuntimeError,
            OverflowError, EOFError) as damaged:  # fmt: skip
        raise ExportError(f"damaged file of PyTorch: {damaged!r}") from damaged
    if not isinstance(found, dict):
        raise ExportError("this file of PyTorch holds no state dict: save model.state_dict()")
    return found


class _Machine:
    """The stack of data.pkl's operations."""

    def __init__(self, parts: dict[str, bytes]) -> None:
        self.parts, self.stack, self.memo = parts, list[Any](), dict[int, Any]()
        if parts.get("byteorder", b"little").strip() != b"little":
            raise ExportError("this file of PyTorch was written on a big-endian machine: save it on another one")

    def run(self) -> Any:
        for operation, argument, _ in pickletools.genops(self.parts["data.pkl"]):
            if operation.name == "STOP":
                return self.stack.pop()
            self.step(operation.name, argument)
        raise ExportError("damaged file of PyTorch: data.pkl has no end")

    def step(self, name: str, argument: Any) -> None:
        stack = self.stack
        if name in ("BINUNICODE", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"):
            stack.append(argument)
        elif name in ("NEWTRUE", "NEWFALSE", "NONE"):
            stack.append({"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("EMPTY_TUPLE", "MARK"):
            stack.append(() if name == "EMPTY_TUPLE" else _MARK)
        elif name == "GLOBAL":
            stack.append(_Name(argument))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple(self.marked() if name == "TUPLE" else self.last(int(name[5:]))))
        elif name in ("SETITEM", "SETITEMS"):
            found = self.last(2) if name == "SETITEM" else self.marked()
            if not all(
                isinstance(key, str | int) for key in found[::2]
            ):  # a hash of tuples in tuples may take for ever
                raise ValueError("a key is neither text nor number")
            stack[-1].update(zip(found[::2], found[1::2], strict=True))
        elif name in ("APPEND", "APPENDS"):
            found = self.last(1) if name == "APPEND" else self.marked()
            stack[-1].extend(found)
        elif name == "BINPERSID":
            stack.append(self.storage(*stack.pop()))
        elif name == "REDUCE":
            function, given = self.last(2)
            stack.append(self.made(function, given))
        elif name == "BUILD":
            stack.pop()  # the version numbers that a state dict keeps beside its tensors
        elif name != "PROTO":
            raise ExportError(
                f"this file of PyTorch holds more than tensors (operation {name}): save model.state_dict()"
            )

    def last(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("too few values")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def marked(self) -> list[Any]:
        at = max(i for i, value in enumerate(self.stack) if value is _MARK)
        found = self.stack[at + 1 :]
        del self.stack[at:]
        return found

    def storage(self, kind: str, name: _Name, key: str, *_: Any) -> NDArray[Any]:
        dtype = DTYPES.get(name.text.rpartition(" ")[2])
        if kind != "storage" or dtype is None or not isinstance(key, str):
            raise ExportError(f"this file of PyTorch holds numbers of {name.text}: convert them with model.float()")
        return np.frombuffer(self.parts[f"data/{key}"], dtype)

    @staticmethod
    def made(function: _Name, given: tuple[Any, ...]) -> Any:
        if function.text in DICTS:
            return {}
        if function.text not in MADE:
            raise ExportError(f"this file of PyTorch holds an object of {function.text}: save model.state_dict() alone")
        if function.text == MADE[1]:
            return given[0]
        values, offset, shape, steps = given[:4]
        reach = offset + sum((side - 1) * step for side, step in zip(shape, steps, strict=True))
        if (
            min((offset, *shape, *steps)) < 0
            or math.prod(shape) > values.size
            or (math.prod(shape) and reach >= values.size)
        ):
            raise ValueError(f"a tensor of {len(shape)} axes does not lie in its {values.size} numbers")
        strides = [step * values.itemsize for step in steps]
        return np.lib.stride_tricks.as_strided(
            values[offset:], shape, strides
        )  # no copy: many tensors may share numbers
