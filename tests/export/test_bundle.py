"""One export: all files or none, each checked against the others before it is called done."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network, oracle_input

from metabit.export import bundle
from metabit.export.bundle import DEFAULT_FORMATS, FORMATS, Format, check_bundle, export_all
from metabit.export.errors import ExportError
from metabit.export.files.image import read_image, write_image
from metabit.export.frozen import Frozen
from metabit.export.oracle import Oracle
from metabit.export.vectors import write_vectors
from metabit.runtime import Model

NETWORK = network(1, (9, 20, 11, 4), k=4, planes=3)
PACKED = network(2, (21, 9, 3), k=3, planes=0)
FROZEN = network(3, (9, 8, 3), learns=(False, False))


def on_device(image: bytes, x: np.ndarray) -> np.ndarray:
    return Model(image).scores(x)


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.mark.parametrize("frozen", [NETWORK, PACKED, FROZEN], ids=["encoder", "packed bits", "frozen"])
def test_all_files_appear_and_all_engines_agree(frozen: Frozen, tmp_path: Path) -> None:
    for package in ("onnx", "onnxruntime", "flatbuffers"):
        pytest.importorskip(package)
    folder = tmp_path / "deep" / "out"
    written = export_all(frozen, folder, device=on_device, provenance={"seed": 5, "command": "metabit export"})
    files = ["manifest.json", "model.mbit", "model.onnx", "model.tflite", "vectors.npz"]
    assert names(folder) == sorted(written.files) == files
    assert {name: (folder / name).stat().st_size for name in files} == written.files
    assert written.engines == ("numpy", "onnx", "tflite", "runtime")
    assert written.inputs == 64
    for form in (FORMATS[name] for name in DEFAULT_FORMATS):
        assert write_image(form.read((folder / form.file).read_bytes())) == write_image(frozen)

    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["sha256"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files if name != "manifest.json"
    }
    assert manifest["checked"] == {"engines": list(written.engines), "inputs": 64}
    assert (manifest["seed"], manifest["command"]) == (5, "metabit export")
    assert manifest["versions"]["numpy"] == np.__version__
    assert manifest["metabit"]


def test_one_format_and_no_engine_but_numpy(tmp_path: Path) -> None:
    written = export_all(NETWORK, tmp_path, formats=["mbit"], inputs=5, steps=0)
    assert names(tmp_path) == ["manifest.json", "model.mbit", "vectors.npz"]
    assert (written.engines, written.inputs) == (("numpy",), 5)
    with np.load(tmp_path / "vectors.npz") as vectors:
        assert "learn_labels" not in vectors and len(vectors["features"]) == 5


def test_other_files_are_written_on_demand(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    written = export_all(NETWORK, tmp_path, formats=["onnx", "qonnx"], inline=True)
    assert written.engines == ("numpy", "onnx", "qonnx")
    assert not onnx.load(tmp_path / "model.onnx").functions
    with pytest.raises(ExportError, match="inline belongs to onnx: add onnx to the formats, or leave it out"):
        export_all(NETWORK, tmp_path / "out", formats=["mbit"], inline=True)


def test_a_second_export_replaces_the_first_and_spares_other_files(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    export_all(PACKED, tmp_path, formats=["mbit"])
    first = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    export_all(PACKED, tmp_path, formats=["mbit"])
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == first
    export_all(NETWORK, tmp_path, formats=["mbit"])
    assert (tmp_path / "model.mbit").read_bytes() == write_image(NETWORK)
    assert names(tmp_path) == sorted(first)


# Vectors


@pytest.mark.parametrize("frozen", [NETWORK, PACKED], ids=["encoder", "packed bits"])
def test_the_vectors_replay_on_the_runtime(frozen: Frozen, tmp_path: Path) -> None:
    export_all(frozen, tmp_path, formats=["mbit"], inputs=20, steps=45)
    model = Model.open(tmp_path / "model.mbit")
    with np.load(tmp_path / "vectors.npz", allow_pickle=False) as vectors:
        v = dict(vectors)
    np.testing.assert_array_equal(model.scores(v["features"]), v["scores"])
    np.testing.assert_array_equal(model.predict_many(v["features"]), v["labels"])
    states = np.bitwise_xor.accumulate(v["state_changes"])
    assert states.shape == (46, model.state_size)
    assert states[0].tobytes() == model.state()
    for step, label in enumerate(v["learn_labels"]):
        info = model.learn_one(v["features"][step % 20], int(label))
        assert tuple(info) == tuple(v["learn_info"][step])
        assert model.state() == states[step + 1].tobytes()
    assert v["learn_info"][:, 3].sum() > 0


@pytest.mark.parametrize("frozen", [NETWORK, PACKED, FROZEN], ids=["encoder", "packed bits", "frozen"])
def test_the_vectors_hold_every_layer(frozen: Frozen) -> None:
    with np.load(io.BytesIO(write_vectors(frozen, inputs=12, steps=3, seed=4))) as vectors:
        v = dict(vectors)
    hidden = {f"layer{i}": np.int8 for i in range(len(frozen.layers) - 1)}
    learn = (
        {"learn_labels": np.int64, "learn_info": np.int64, "state_changes": np.uint8} if frozen is not FROZEN else {}
    )
    always = {"features": np.uint8, "input_bits": np.uint8, "scores": np.int64, "labels": np.int64}
    v.pop("allow_pickle", None)  # see below
    assert {name: array.dtype for name, array in v.items()} == always | hidden | learn
    oracle = Oracle(frozen)
    for n, x in enumerate(v["features"]):
        inputs, _, scores = oracle.forward(oracle_input(frozen, x))
        np.testing.assert_array_equal(v["input_bits"][n], inputs[0])
        np.testing.assert_array_equal(v["scores"][n], scores)
        for i, activations in enumerate(inputs[1:]):
            np.testing.assert_array_equal(v[f"layer{i}"][n], activations)
    if frozen.encode is None:  # from no bit to all of them
        assert v["input_bits"][0].sum() == 0 and v["input_bits"][-1].all()


def test_the_vectors_hold_nothing_else() -> None:
    with np.load(io.BytesIO(write_vectors(NETWORK, inputs=2, steps=1))) as vectors:
        assert "allow_pickle" not in vectors.files


def test_the_same_network_and_seed_give_the_same_vectors() -> None:
    assert write_vectors(NETWORK, seed=1) == write_vectors(NETWORK, seed=1) != write_vectors(NETWORK, seed=2)


# Trouble


def test_a_lying_engine_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    def lying(image: bytes, x: np.ndarray) -> np.ndarray:
        scores = on_device(image, x).copy()
        scores[[3, 7], 1] += 1
        return scores

    with pytest.raises(ExportError) as caught:
        export_all(NETWORK, tmp_path / "out", formats=["mbit"], device=lying)
    assert str(caught.value).startswith(
        "the C runtime disagrees with the oracle on 2 of 64 inputs, first on number 3: ["
    )
    assert str(caught.value).endswith("; nothing was written")
    assert names(tmp_path) == []


def test_an_engine_with_too_few_scores_is_named_too(tmp_path: Path) -> None:
    with pytest.raises(ExportError):
        export_all(NETWORK, tmp_path / "out", formats=["mbit"], device=lambda image, x: on_device(image, x)[:, :3])
    assert names(tmp_path) == []


@pytest.mark.parametrize("fault", ["forgets a level", "computes something else"])
def test_a_lying_format_is_named_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fault: str
) -> None:
    def read(data: bytes) -> Frozen:
        frozen = read_image(data)
        if fault == "forgets a level":
            frozen.layers[1].hidden[2, 3] ^= 1
        return frozen

    def run(data: bytes, x: np.ndarray) -> np.ndarray:
        return on_device(data, x) + (fault == "computes something else")

    monkeypatch.setitem(bundle.FORMATS, "mine", Format("model.mine", write_image, read, run))
    sentence = (
        "model.mine does not read back" if fault == "forgets a level" else "model.mine disagrees with the oracle on 64"
    )
    with pytest.raises(ExportError, match=sentence):
        export_all(NETWORK, tmp_path / "out", formats=["mbit", "mine"])
    assert names(tmp_path) == []


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="^unknown format 'pt': choose from mbit, onnx, tflite, qonnx, micro, lce"):
        export_all(NETWORK, tmp_path / "out", formats=["mbit", "pt"])
    assert names(tmp_path) == []


def test_a_network_that_no_format_holds(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="a classifier needs at least 2"):
        export_all(network(1, (5, 4, 1)), tmp_path / "out", formats=["mbit"])
    assert names(tmp_path) == []


@pytest.mark.parametrize("inputs", [0, -1])
def test_vectors_need_an_input(tmp_path: Path, inputs: int) -> None:
    with pytest.raises(ExportError):
        export_all(NETWORK, tmp_path / "out", formats=["mbit"], inputs=inputs)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OSError):
            export_all(PACKED, folder, formats=["mbit"])
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            export_all(PACKED, tmp_path, formats=["mbit"])
    finally:
        tmp_path.chmod(0o700)
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    "trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["full", "ctrl-c"]
)
def test_trouble_while_writing_leaves_the_old_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, trouble: BaseException
) -> None:
    export_all(PACKED, tmp_path, formats=["mbit"])
    before = {name: (tmp_path / name).read_bytes() for name in names(tmp_path)}
    sync: Callable[[int], Any] = os.fsync
    calls = []

    def fail_on_the_third(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise trouble
        sync(descriptor)

    with monkeypatch.context() as patch, pytest.raises(type(trouble)):
        patch.setattr(os, "fsync", fail_on_the_third)
        export_all(NETWORK, tmp_path, formats=["mbit"])
    assert len(calls) == 3
    assert {name: (tmp_path / name).read_bytes() for name in names(tmp_path)} == before


def test_a_file_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(ExportError, match="manifest.json is a folder"):
        export_all(PACKED, tmp_path, formats=["mbit"])
    assert names(tmp_path) == ["manifest.json"]


# Several exports, and exports that are killed

EXPORT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from networks import network
from metabit.export import export_all
for _ in range(int(sys.argv[4])):
    export_all(network(int(sys.argv[3]), (9, 20, 11, 4)), sys.argv[2], formats=["mbit"], inputs=3, steps=2)
"""


def exporting(folder: Path, seed: int, times: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-c", EXPORT, str(Path(__file__).parents[1]), str(folder), str(seed), str(times)]
    return subprocess.Popen(words)


@pytest.mark.skipif(os.name != "posix", reason="the lock is one of POSIX systems")
def test_four_exports_into_one_folder_at_once_leave_one_of_them_whole(tmp_path: Path) -> None:
    children = [exporting(tmp_path, seed, 8) for seed in range(4)]
    assert [child.wait(120) for child in children] == [0] * 4
    check_bundle(tmp_path)
    images = {write_image(network(seed, (9, 20, 11, 4))) for seed in range(4)}
    assert (tmp_path / "model.mbit").read_bytes() in images
    assert names(tmp_path) == ["manifest.json", "model.mbit", "vectors.npz"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_export_leaves_a_folder_that_is_whole_or_named(tmp_path: Path) -> None:
    """Killed at every move of a file: old files before the first, a mixture that `check_bundle` names, new files after the last."""
    whole = []
    for kill_at in range(4):
        folder = tmp_path / str(kill_at)
        export_all(PACKED, folder, formats=["mbit"])
        child = os.fork()
        if child == 0:  # dies without any clean-up, as by SIGKILL
            moves, move = [], os.replace

            def replace(*where: Any) -> None:
                if len(moves) == kill_at:  # noqa: B023
                    os.kill(os.getpid(), signal.SIGKILL)
                moves.append(where)  # noqa: B023
                move(*where)  # noqa: B023

            os.replace = replace
            with contextlib.suppress(BaseException):
                export_all(NETWORK, folder, formats=["mbit"])
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == (-signal.SIGKILL if kill_at < 3 else 0)
        try:
            whole.append(check_bundle(folder)["model.mbit"])
        except ExportError as mixture:
            assert "is not the file that manifest.json lists" in str(mixture) and "export again" in str(mixture)
            whole.append(0)
        export_all(NETWORK, folder, formats=["mbit"])  # the folder serves again, and what the dead process left is gone
        assert check_bundle(folder)["model.mbit"] == len(write_image(NETWORK))
        assert names(folder) == ["manifest.json", "model.mbit", "vectors.npz"]
    assert whole == [len(write_image(PACKED)), 0, 0, len(write_image(NETWORK))]


def test_a_bundle_that_was_changed_is_named(tmp_path: Path) -> None:
    export_all(PACKED, tmp_path, formats=["mbit"])
    assert check_bundle(tmp_path) == {name: (tmp_path / name).stat().st_size for name in ("model.mbit", "vectors.npz")}
    (tmp_path / "model.onnx").write_bytes(b"of another export")
    with pytest.raises(ExportError, match="model.onnx is not listed in manifest.json: it is of another export"):
        check_bundle(tmp_path)
    (tmp_path / "model.onnx").unlink()
    (tmp_path / "model.mbit").write_bytes(write_image(NETWORK))
    with pytest.raises(ExportError, match="model.mbit is not the file that manifest.json lists"):
        check_bundle(tmp_path)
    (tmp_path / "model.mbit").unlink()
    with pytest.raises(ExportError, match="model.mbit is missing, manifest.json lists it: export again"):
        check_bundle(tmp_path)
    for text in ("", "[]", '{"sha256": {"../x": "0"}}', '{"sha256": 3}'):
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(ExportError, match="manifest.json is not a manifest of metabit export"):
            check_bundle(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(
        ExportError, match="has no manifest.json: give a .mbit image, or a folder that metabit export wrote"
    ):
        check_bundle(tmp_path)
