"""A checkpoint by the code of the paper's authors: equal decisions, it learns on, and nothing in the file is run."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_digits import DIGITS, FILES, OnDevice, learnt_on
from hypothesis import given, settings
from hypothesis import strategies as st

from metabit.export import ExportError, Frozen, VisitOptions, foreign, frozen_of, thaw, write_image
from metabit.export.foreign.torch_file import read_tensors
from metabit.runtime import Model

FILE = (FILES / "paper.pt").read_bytes()
NUMBERS = foreign.Numbers.parse("-1.125,2.875,16")


def built(hidden: foreign.Hidden | None = None) -> Frozen:
    return foreign.build(foreign.read(FILES / "paper.pt"), VisitOptions(bits=4), hidden, NUMBERS)


def test_decisions_are_those_of_the_authors_code() -> None:
    frozen, numbers = built(), np.load(FILES / "paper.npz")["numbers"].astype(np.float64)
    scores = Model(write_image(frozen)).scores(DIGITS)
    np.testing.assert_array_equal(scores.argmax(1), numbers.argmax(1))
    nats = scores * (frozen.temperature / 65536)
    np.testing.assert_allclose(nats - nats.mean(1, keepdims=True), numbers - numbers.mean(1, keepdims=True), atol=0.002)
    assert len(np.unique(frozen.layers[0].hidden)) == 16  # the levels follow the hidden weights
    assert write_image(frozen_of(thaw(frozen))) == write_image(frozen)


def test_it_learns_on() -> None:
    frozen = built("surest")
    before, after, _ = learnt_on(lambda: OnDevice(frozen))
    assert after > before + 2


def test_torch_writes_what_is_read_here(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    whole = torch.arange(24.0).reshape(4, 6)
    told = {
        "a": whole,
        "part": whole[1:3, ::2],
        "turned": whole.T,
        "half": whole.half(),
        "n": torch.tensor(7),
        "none": whole[:0],
    }
    told |= {
        "parameter": torch.nn.Parameter(whole),
        "inside": {"text": "x", "list": [1, 2.5, None, True], "big": 2**40},
    }
    torch.save(told, tmp_path / "a.pt")
    found = read_tensors((tmp_path / "a.pt").read_bytes())
    assert all(np.shares_memory(found["a"], found[name]) for name in ("part", "turned"))
    assert found.pop("inside") == told.pop("inside")
    for name, tensor in told.items():
        np.testing.assert_array_equal(found[name], tensor.detach().numpy())
        assert found[name].dtype == tensor.detach().numpy().dtype


def test_the_command_says_what_it_takes_for_granted(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import command_line

    assert command_line.run("import", FILES / "paper.pt", "-o", tmp_path, "--input=-1.125,2.875,16") == 0
    assert "names no activation: weights and activations are taken as signs" in " ".join(capfd.readouterr().out.split())
    assert (tmp_path / "model.mbit").read_bytes() == write_image(built())


# Refusals


def saved(change: Callable[[dict[str, Any]], object], tmp_path: Path) -> Path:
    torch = pytest.importorskip("torch")
    state = {name: torch.from_numpy(np.asarray(array)) for name, array in read_tensors(FILE).items()}
    torch.save(change(state), tmp_path / "a.pt")
    return tmp_path / "a.pt"


def without(*names: str) -> Callable[[dict[str, Any]], object]:
    return lambda state: {name: value for name, value in state.items() if not name.startswith(names)}


REFUSED: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "no running mean": (
        lambda state: {name.replace("running_mean", "weight"): value for name, value in state.items()},
        "'layers.bn1' normalises by the batch at hand and keeps no mean, .*: train with track_running_stats=True"),
    "no normalisation": (without("layers.bn1"), "'layers.fc1' has no normalisation in this file, .*: train with norm='bn'"),
    "a convolution": (lambda state: {**state, "layers.cv4.weight": state["layers.fc3.weight"].reshape(10, 1, 4, 4)},
                      r"'layers.cv4' has weights of shape \(10, 1, 4, 4\), and a state dict says neither strides"),
    "no weights": (without("layers.fc"), "has no weights of layers"),
    "variance": (lambda state: {**state, "layers.bn1.running_var": state["layers.bn1.running_mean"] * 0 - 1},
                 "'layers.bn1' divides by the root of -1, variance and epsilon"),
    "NaN": (lambda state: {name: value * float("nan") for name, value in state.items()}, "'layers.fc1' holds NaN or infinity"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_has_no_counterpart_is_named(
    change: Callable[[dict[str, Any]], object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match=sentence):
        foreign.read(saved(change, tmp_path))


class Hostile:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (print, ("it ran",))


def test_objects_are_refused_and_nothing_runs(capfd: pytest.CaptureFixture[str]) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a/data.pkl", pickle.dumps({"a": Hostile()}, 2))
    assert foreign.is_foreign(buffer.getvalue())
    with pytest.raises(ExportError, match=r"holds an object of \w+ print: save model.state_dict\(\) alone"):
        foreign.read_bytes(buffer.getvalue())
    assert capfd.readouterr().out == ""
    assert not foreign.is_foreign((FILES / "larq.npz").read_bytes())  # another zip archive


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2**14), st.integers(1, 255)), max_size=4), st.integers(0, 2**14))
def test_a_damaged_file_is_refused_or_read_but_never_a_traceback(hits: list[tuple[int, int]], end: int) -> None:
    data = bytearray(FILE)
    for at, flip in hits:
        data[at % len(data)] ^= flip
    for damaged in (data, data[: end % len(data)]):
        with suppress(ExportError):
            foreign.build(foreign.read_bytes(bytes(damaged)), numbers=NUMBERS)
    body = bytearray(zipfile.ZipFile(io.BytesIO(FILE)).read("paper/data.pkl"))  # behind the checksums of the archive
    for at, flip in hits:
        body[at % len(body)] ^= flip
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(FILE)) as old, zipfile.ZipFile(buffer, "w") as new:
        for info in old.infolist():
            new.writestr(info, bytes(body) if info.filename.endswith("data.pkl") else old.read(info))
    with suppress(ExportError):
        foreign.build(foreign.read_bytes(buffer.getvalue()), numbers=NUMBERS)
