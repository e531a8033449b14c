from __future__ import annotations

import functools
import gzip
import hashlib
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from metabit.data import download, image_sets
from metabit.data.download import HOMES, OTHER_FORMS
from metabit.data.errors import DataError
from metabit.data.image_sets import load, read_idx

RNG = np.random.default_rng(0)


def idx(values: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return gzip.compress(header + values.tobytes(), mtime=0)


def small_mnist(folder: Path) -> dict[str, np.ndarray]:
    """Four official-looking files with 6 and 4 images."""
    arrays = {}
    for part, n in (("train", 6), ("t10k", 4)):
        arrays[part] = RNG.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(arrays[part]))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx((np.arange(n) % 10).astype(np.uint8)))
    return arrays


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """METABIT_DATA_DIR, empty, in which any file passes for the known one."""
    monkeypatch.setenv("METABIT_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(download, "_matches", lambda *_: True)
    return tmp_path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder served as the only home of mnist, with a cache of its own."""
    served = tmp_path / "served"
    served.mkdir()
    small_mnist(served)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(served)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    hashes = {file.name: "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest() for file in served.iterdir()}
    monkeypatch.setitem(HOMES, "mnist", ((f"http://127.0.0.1:{server.server_port}/",), hashes))
    monkeypatch.delenv("METABIT_DATA_DIR", raising=False)
    monkeypatch.setenv("METABIT_CACHE_DIR", str(tmp_path / "cache"))
    image_sets._load.cache_clear()
    yield served
    server.shutdown()
    server.server_close()
    thread.join()
    image_sets._load.cache_clear()


def test_download_once_then_offline(home: Path) -> None:
    images = load("mnist")
    assert images.x_train.shape == (6, 28, 28, 1) and images.y_test.tolist() == [0, 1, 2, 3]
    for file in home.iterdir():
        file.unlink()
    image_sets._load.cache_clear()
    assert np.array_equal(load("mnist").x_train, images.x_train)


def test_a_wrong_hash_is_named_and_not_kept(home: Path, tmp_path: Path) -> None:
    (home / "train-images-idx3-ubyte.gz").write_bytes(b"something else")
    with pytest.raises(
        DataError, match=r"mnist/train-images-idx3-ubyte.gz cannot be downloaded: .* \(its hash differs\)"
    ):
        load("mnist")
    assert not list((tmp_path / "cache").rglob("train-images*"))


def test_no_network_is_one_sentence(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes = ("http://127.0.0.1:9/", "http://127.0.0.1:9/mirror/")
    monkeypatch.setitem(HOMES, "mnist", (homes, HOMES["mnist"][1]))
    with pytest.raises(
        DataError, match=r"127.0.0.1:9/mirror/ cannot be reached .* go online once, or set METABIT_DATA_DIR"
    ):
        load("mnist")


def test_the_second_home_is_tried(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    homes, hashes = HOMES["mnist"]
    monkeypatch.setitem(HOMES, "mnist", (("http://127.0.0.1:9/", *homes), hashes))
    assert len(load("mnist").x_train) == 6


def test_a_folder_of_ones_own(offline: Path) -> None:
    with pytest.raises(DataError, match=r"mnist/train-images-idx3-ubyte.gz does not exist: put the file there"):
        load("mnist")
    (offline / "mnist").mkdir()
    arrays = small_mnist(offline / "mnist")
    assert np.array_equal(load("mnist").x_test[..., 0], arrays["t10k"])


def test_a_file_in_the_folder_is_checked_by_its_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABIT_DATA_DIR", str(tmp_path))
    known = {"usps/usps.npz": "sha256:" + hashlib.sha256(b"as it was").hexdigest()}
    monkeypatch.setattr(download, "OTHER_FORMS", known)
    path = tmp_path / "usps" / "usps.npz"
    path.parent.mkdir()
    path.write_bytes(b"as it was")
    assert download.file("usps", "usps.npz") == path
    path.write_bytes(b"as it is now")
    with pytest.raises(DataError, match="usps.npz is another file than the known one, its sha256 is not .*replace it"):
        download.file("usps", "usps.npz")
    (tmp_path / "usps" / "mine.npz").write_bytes(b"no hash of this form is known")
    assert download.file("usps", "mine.npz").is_file()


def test_unknown_name() -> None:
    with pytest.raises(DataError, match="unknown dataset 'mnst': there are mnist, fashion-mnist"):
        load("mnst")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"", mtime=0),  # with the time in it two workers would name the test differently
        gzip.compress(b"\0\0\x08\x01\0\0\0\x09abc", mtime=0),
        idx(np.zeros(9, np.uint8))[:-9],
    ],
    ids=["empty", "no gzip", "gzip of nothing", "too short", "nine values cut"],
)
def test_damaged_idx(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.gz").write_bytes(data)
    with pytest.raises(DataError, match="a.gz is damaged"):
        read_idx(tmp_path / "a.gz")


def test_the_official_cifar_archive(offline: Path) -> None:
    images = RNG.integers(0, 256, (12, 32, 32, 3)).astype(np.uint8)
    (offline / "cifar10").mkdir()
    with tarfile.open(offline / "cifar10" / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for i, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
            part = images[2 * i : 2 * i + 2]
            rows = np.hstack([np.array([[i], [9]]), part.transpose(0, 3, 1, 2).reshape(2, -1)]).astype(np.uint8)
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            entry.size = rows.size
            archive.addfile(entry, io.BytesIO(rows.tobytes()))
    found = load("cifar10")
    assert np.array_equal(found.x_train, images[:10]) and np.array_equal(found.x_test, images[10:])
    assert found.y_train.tolist() == [0, 9, 1, 9, 2, 9, 3, 9, 4, 9] and found.y_test.tolist() == [5, 9]


def test_usps_in_both_formats_is_the_same(offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import bz2

    levels = RNG.integers(0, 2001, (3, 16, 16)).astype(np.uint16)
    y = np.array([0, 9, 4], np.uint8)
    (offline / "usps").mkdir()
    np.savez(offline / "usps" / "usps.npz", x_train=levels, y_train=y, x_test=levels[:1], y_test=y[:1])
    first = load("usps")
    lines = [
        f"{label + 1} " + " ".join(f"{i + 1}:{value / 1000 - 1:g}" for i, value in enumerate(image.ravel()))
        for image, label in zip(levels, y, strict=True)
    ]
    paths = {"usps.bz2": lines, "usps.t.bz2": lines[:1]}
    for name, rows in paths.items():
        (tmp_path / name).write_bytes(bz2.compress("\n".join(rows).encode()))
    monkeypatch.delenv("METABIT_DATA_DIR")
    monkeypatch.setattr(image_sets, "file", lambda folder, name: tmp_path / name)
    image_sets._load.cache_clear()
    second = load("usps")
    image_sets._load.cache_clear()
    assert np.array_equal(first.x_train, second.x_train) and np.array_equal(first.y_train, second.y_train)
    assert first.x_train.shape == (3, 16, 16, 1) and second.y_test.tolist() == [0]


@pytest.mark.skipif("METABIT_DATA_DIR" not in os.environ, reason="METABIT_DATA_DIR is not set: no real data here")
@pytest.mark.parametrize("name", sorted(OTHER_FORMS))
def test_the_hashes_of_other_forms_are_those_of_the_files(name: str) -> None:
    folder, _, file = name.partition("/")
    if not (Path(os.environ["METABIT_DATA_DIR"]) / name).is_file():
        pytest.skip(f"METABIT_DATA_DIR has no {name}")
    assert download.file(folder, file).name == file


@pytest.mark.skipif("METABIT_DATA_DIR" not in os.environ, reason="METABIT_DATA_DIR is not set: no real data here")
@pytest.mark.parametrize(
    ("name", "train", "test", "first"),
    [
        ("mnist", (60000, 28, 28, 1), 10000, [5, 0, 4]),
        ("fashion-mnist", (60000, 28, 28, 1), 10000, [9, 0, 0]),
        ("usps", (7291, 16, 16, 1), 2007, [6, 5, 4]),
        ("cifar10", (50000, 32, 32, 3), 10000, [6, 9, 9]),
    ],
)
def test_the_real_ones(name: str, train: tuple[int, ...], test: int, first: list[int]) -> None:
    images = load(name)
    assert images.x_train.shape == train and images.x_train.dtype == np.uint8 and images.x_train.max() == 255
    assert len(images.x_test) == len(images.y_test) == test and images.y_train[:3].tolist() == first
