"""Reader of a folder of pictures: one subfolder for each class, named after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metabit.data.arrays import Part, Raw
from metabit.data.errors import DataError, extra

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".pbm")


def read_folder(path: Path) -> Raw:
    """All pictures below ``path``, class by class in the order of the names: uint8 (n, H·W·C), C = 1 if all are grey, else 3.

    Raises:
        DataError: no subfolder with pictures, a picture that cannot be read, or pictures of different sizes.
        MissingExtraError: pillow is not installed.
    """
    folders = sorted((sub for sub in path.iterdir() if sub.is_dir() and not sub.name.startswith(".")), key=_order)
    found = [(file, sub.name) for sub in folders for file in sorted(sub.iterdir())]
    files = [(file, label) for file, label in found if file.is_file() and not file.name.startswith(".")]
    pictures = [(file, label) for file, label in files if file.suffix.lower() in SUFFIXES]
    if not pictures:
        parts = {"train", "test"} <= {sub.name for sub in folders}
        hint = f"{path}/train,{path}/test" if parts else "CLASS/picture.png"
        raise DataError(f"{path} has no pictures in subfolders named after their classes: give {hint}")
    notes = [f"{len(files) - len(pictures)} files that are no pictures were left out"] if files != pictures else []
    arrays = [_read(file) for file, _ in pictures]
    for (file, _), array in zip(pictures, arrays, strict=True):
        if array.shape[:2] != arrays[0].shape[:2]:
            sizes = [f"{a.shape[1]}x{a.shape[0]}" for a in (array, arrays[0])]
            raise DataError(f"{file} is {sizes[0]} pixels and {pictures[0][0]} is {sizes[1]}: make them one size")
    channels = max(array.shape[2] for array in arrays)
    x = np.stack([np.broadcast_to(array, (*array.shape[:2], channels)) for array in arrays])
    labels = np.array([label for _, label in pictures])
    return Raw(Part(x.reshape(len(x), -1), labels), shape=(x.shape[1], x.shape[2], channels), notes=notes)


def _order(folder: Path) -> tuple[bool, int, str]:
    """Numbers by value, then words."""
    number = int(folder.name) if folder.name.isdecimal() else 0
    return not folder.name.isdecimal(), number, folder.name


def _read(path: Path) -> NDArray[np.uint8]:
    """uint8 (H, W, 1) of a grey picture, (H, W, 3) of any other."""
    with extra("PIL"):
        from PIL import Image
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise ValueError(f"it has pixels of mode {picture.mode}, not of 8 bits")
            grey = picture.mode in ("1", "L")
            pixels = np.asarray(picture.convert("L" if grey else "RGB"), np.uint8)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is no readable picture ({error}): remove it or save it as PNG") from None
    return pixels.reshape(*pixels.shape[:2], -1)
