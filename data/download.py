"""Public files: from a folder, from the cache, or from their public homes, checked by their hashes.

``METABIT_DATA_DIR`` names a folder that holds ``mnist/``, ``fashion-mnist/`` ... with the files below: then nothing is
downloaded. Without it pooch fetches each file once into its cache (``~/.cache/metabit``, or ``METABIT_CACHE_DIR``) and
everything after that works offline.
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

from metabit.data.errors import DataError, extra

DIRECTORY = "METABIT_DATA_DIR"
CACHE = "METABIT_CACHE_DIR"

_CVDF = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_OSSCI = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_ZALANDO = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"
_LIBSVM = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/multiclass/"
_KRIZ = "https://www.cs.toronto.edu/~kriz/"

HOMES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "mnist": (
        (_OSSCI, _CVDF),
        {
            "train-images-idx3-ubyte.gz": "sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": (
        (_FASHION, _ZALANDO),
        {
            "train-images-idx3-ubyte.gz": "sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
    "usps": (
        (_LIBSVM,),
        {"usps.bz2": "md5:ec16c51db3855ca6c91edd34d0e9b197", "usps.t.bz2": "md5:8ea070ee2aca1ac39742fdd1ef5ed118"},
    ),
    "cifar10": ((_KRIZ,), {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"}),
}
"""Dataset -> (public homes, in the order they are tried; file -> hash)."""

OTHER_FORMS = {
    "usps/usps.npz": "sha256:024b81ec3b899ddcc83d510f3bac1963007f3b422931618eaeb2547614a64ced",
    "seglearn-watch/watch.npz": "sha256:f1fa8e6ada48d9840fe7329d13d25f380eacf0a146a6a1e16ef47be2039dcd27",
    "cifar10/labels.npz": "sha256:7fbd1f7e992d1ffb24d64a2961aa23a83834d4039b8da5d4ee7423e5c252d230",
    "cifar10/data_batch_1.webp": "sha256:300ffcf194c8f61c75b8c5953a174409b8330fab73d07248898f6ccada5e7cca",
    "cifar10/data_batch_2.webp": "sha256:4515f0ede7ffd142fddb4729acfdf1fb65d12870990ad8b1965ac4a373033807",
    "cifar10/data_batch_3.webp": "sha256:7aae7d19f0a73bff547175b943476119a8c8095bc79ac54aab0df64c8d71c719",
    "cifar10/data_batch_4.webp": "sha256:e1efb601e48cbadc2a04109457693df681bf3c45a20b535e0f0a94312fff80e5",
    "cifar10/data_batch_5.webp": "sha256:c8e9792848a0a5278c0b1a0061ed5a9075aba417cd48cc0fe9ba6f4d3da9cfa4",
    "cifar10/test_batch.webp": "sha256:b3c946666f1bd5f3d0836a282e2755dbb4192a4f7382116ee2a4139d456731b7",
}
"""Files that a METABIT_DATA_DIR may hold in place of the public ones -> hash."""


def file(folder: str, name: str) -> Path:
    """Path of a dataset's file: in METABIT_DATA_DIR if that is set, else in the cache, downloaded if need be.

    A file whose hash is known is checked by it, once for each size and time of change.

    Raises:
        DataError: no such file, a hash that does not match, or no network and nothing in the cache.
        MissingExtraError: a download without pooch.
    """
    homes, hashes = HOMES.get(folder, ((), {}))
    known = hashes.get(name) or OTHER_FORMS.get(f"{folder}/{name}")
    if os.environ.get(DIRECTORY):
        path = Path(os.environ[DIRECTORY]) / folder / name
        if not path.is_file():
            raise DataError(f"{path} does not exist: put the file there, or unset {DIRECTORY} to download it")
        about = path.stat()
        if known is not None and not _matches(path, known, about.st_size, about.st_mtime_ns):
            found = f"{path} is another file than the known one, its {known.replace(':', ' is not ')}"
            raise DataError(f"{found}: replace it, or unset {DIRECTORY} to download it")
        return path
    with extra("pooch"):
        import pooch
    cache = Path(os.environ.get(CACHE) or pooch.os_cache("metabit")) / folder
    reasons = []
    for home in homes:
        try:
            pooch.get_logger().setLevel("WARNING")
            return Path(pooch.retrieve(home + name, known_hash=known, fname=name, path=cache))
        except ValueError as error:  # pooch says so when the hash is not the known one, and keeps no file
            if "hash" not in str(error).lower():
                raise
            reasons.append(f"{home} sent another file than the known one (its hash differs)")
        except OSError as error:  # requests' errors are these too
            reasons.append(f"{home} cannot be reached ({_short(error)})")
    way_out = f"go online once, or set {DIRECTORY} to a folder with {folder}/{name}"
    raise DataError(f"{folder}/{name} cannot be downloaded: {'; '.join(reasons)}; {way_out}")


@functools.cache
def _matches(path: Path, known: str, size: int, changed: int) -> bool:
    """True if the file's digest is the known one, "sha256:..." or "md5:...". Size and time of change are keys of the cache."""
    algorithm, _, digest = known.partition(":")
    return hashlib.new(algorithm, path.read_bytes(), usedforsecurity=False).hexdigest() == digest


def _short(error: BaseException) -> str:
    """The innermost reason, on one line."""
    return _short(error.__context__) if error.__context__ is not None else " ".join(str(error).split())[:120]
