"""The commands on small input: tables for people, JSON for programs, help that teaches."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metabit.cli import COMMANDS, MODULES, commands
from metabit.data import load


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "analyse"])
def test_every_help_has_an_example_that_parses(metabit: Any, name: str) -> None:
    ran = metabit(name, "--help")
    assert ran.code == 0
    example = next(line for line in ran.out.splitlines() if "Example:" in line)
    words = example.split("Example:")[1].split()
    assert words[:2] == ["metabit", name]
    for word in words:
        if word.startswith("--"):
            assert word.split("=")[0] in ran.out.replace(example, ""), f"{word} in the example of {name} is no option"


def test_help_lists_every_command(metabit: Any) -> None:
    ran = metabit("--help")
    assert ran.code == 0 and all(f"\n  {name} " in ran.out for name in COMMANDS)


def test_every_command_module_is_in_the_table() -> None:
    folder = Path(commands.__file__).parent
    assert {path.stem for path in folder.glob("*.py")} - {"__init__"} == {MODULES.get(name, name) for name in COMMANDS}


def test_help_imports_no_command_and_no_numpy() -> None:
    code = "import sys; sys.argv = ['metabit', '--help']; from metabit.cli import main; import atexit; " + (
        "atexit.register(lambda: sys.stderr.write(' '.join(sys.modules))); main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stderr.split())
    assert "metabit.cli" in loaded and "Commands:" in ran.stdout
    heavy = {"numpy", "torch", "rich.table", "metabit.data", "metabit.train", "metabit.runtime", "metabit.experiments"}
    assert not loaded & heavy and not [name for name in loaded if name.startswith("metabit.cli.commands.")]


def test_an_unknown_command_names_the_nearest(metabit: Any) -> None:
    ran = metabit("simulat")
    assert ran.code == 2 and "there is no command 'simulat': did you mean 'simulate'?" in ran.err
    assert "see metabit --help" in metabit("xyzzy").err


def test_inspect(metabit: Any, image: Path) -> None:
    table, data = metabit("inspect", image), metabit("inspect", image, "--json").json()
    assert table.code == 0 and "RAM: state" in table.out
    assert data["memory"]["flash: image"] == image.stat().st_size
    assert [layer["kind"] for layer in data["layers"]] == ["encode", "dense", "output"]
    assert sum(data["layers"][1]["levels"].values()) == data["layers"][1]["synapses"] == 128 * 40


def test_inspect_checks_the_folder_of_an_export(metabit: Any, image: Path, tmp_path: Path) -> None:
    assert metabit("export", image, "-o", "out", "--formats", "mbit").code == 0
    assert metabit("inspect", "out", "--json").json()["image"] == str(Path("out/model.mbit"))
    Path("out/vectors.npz").write_bytes(b"of another export")
    ran = metabit("inspect", "out")
    ran.fails("vectors.npz is not the file that manifest.json lists")


def test_sources_with_an_image(metabit: Any, image: Path, tmp_path: Path) -> None:
    table = metabit("sources", "port", "--single-file", "--image", image)
    assert table.code == 0 and "metabit.c" in table.out
    told = metabit("sources", "port", "--single-file", "--json").json()
    names = {file["name"] for file in told["files"]}
    assert (
        names >= {"metabit.c", "metabit.h", "metabit_float.h", "metabit_store.h", "field/store.c"}
        and "head.c" not in names
    )
    for file in told["files"]:
        text = (tmp_path / "port" / file["name"]).read_text()
        assert (file["bytes"], file["lines"]) == (len(text.encode()), len(text.splitlines()))
    memory = metabit("inspect", image, "--json").json()["memory"]
    header = (tmp_path / "port" / "model_image.h").read_text()
    parts = {"STATE_WORDS": "state", "ARENA_WORDS": "arena, learn", "ARENA_WORDS_PREDICT": "arena, predict only"}
    for name, part in parts.items():
        assert f"#define MODEL_{name} {memory[f'RAM: {part}'] // 4} " in header


def test_features_were_removed_and_the_error_names_the_replacement(metabit: Any) -> None:
    ran = metabit("fresh", "digits", "--features", "model.mbit", "-o", "x.mbit")
    ran.fails("--features was removed", "metabit export")
    assert not Path("x.mbit").exists()


def test_graded_units_refuse_options_of_other_networks(metabit: Any) -> None:
    metabit("train", "digits", "-o", "lab", "--preset", "gates-192", "--epochs", 1)
    words = ("export", "lab/checkpoint.safetensors", "--formats", "mbit")
    for wrong in ("--margin 0.4", "--visits 0.01", "--strengthen same", "--backward ternary", "--bits 1"):
        metabit(*words, *wrong.split()).fails("graded units learn by votes")
    assert not Path("lab/model.mbit").exists()
    assert metabit(*words, "--bits", 4, "--m", 2).code == 0


def test_a_ternary_network_stays_one(metabit: Any) -> None:
    metabit("train", "digits", "-o", "lab", "--preset", "mlp-256", "--epochs", 1)
    assert metabit("export", "lab/checkpoint.safetensors", "--backward", "ternary", "--formats", "mbit").code == 0
    assert metabit("export", "lab/model.mbit", "-o", "again", "--formats", "mbit").code == 0
    for image in ("lab/model.mbit", "again/model.mbit"):
        layers = metabit("inspect", image, "--json").json()["layers"]
        assert [bool(layer.get("ternary")) for layer in layers[-3:]] == [False, True, False]
        assert metabit("inspect", image).out.count("dense, ternary") == 1


def test_a_convolutional_checkpoint_goes_all_the_way(metabit: Any) -> None:
    from metabit import train

    task = load("digits").whole()
    conv = (train.Conv(6, 3, padding="same", pool=2), train.Conv(9, 3, stride=2))
    spec = train.Spec(64, (20,), 10, image=(8, 8, 1), conv=conv, input="uint8")
    checkpoint = train.Checkpoint(spec, train.Network(spec).tensors(), train.Rule.of(spec, 1.0))
    checkpoint.write("checkpoint.safetensors")
    found = metabit("export", "checkpoint.safetensors", "--bits", 4, "--json").json()
    assert set(found["engines"]) == {"numpy", "onnx", "tflite", "runtime"}

    table, data = metabit("inspect", "model.mbit"), metabit("inspect", "model.mbit", "--json").json()
    assert "conv 3x3, same, pool 2" in table.out and "8x8x1 bytes" in table.out and "conv 3x3, stride 2" in table.out
    first, second, *rest = data["layers"]
    assert (first["conv"]["outputs"], second["conv"]["outputs"]) == ([4, 4, 6], [1, 1, 9])
    assert first["takes"] == "bytes"
    assert [layer["learns"] for layer in data["layers"]] == [False, False, True, True]
    assert all("conv" not in layer for layer in rest)

    words = ("run", "model.mbit", "--data", "digits", "--learn", "--limit", 100, "--seed", 2, "--json")
    host = metabit(*words, "--save", "learned.mbit").json()
    board = metabit("simulate", *words[1:], "--board", "rp2040").json()
    assert host["samples"] == 100 and host["per_sample"] == board["per_sample"]
    assert host["accuracy_after"] == board["accuracy_after"] and task.features == 64
    again = metabit("export", "learned.mbit", "-o", "again", "--json").json()
    assert set(again["engines"]) == {"numpy", "onnx", "tflite", "runtime"}


def test_run_evaluates(metabit: Any, image: Path, data: Path) -> None:
    found = metabit("run", image, "--data", data, "--json").json()
    assert found["samples"] == 0 and 0 <= found["accuracy_before"][str(data)] <= 1
    assert "accuracy" in metabit("run", image, "--data", data).out


def test_run_tells_sure_predictions_from_others(metabit: Any, tmp_path: Path) -> None:
    metabit("fresh", "digits", "-o", "fresh.mbit", "--learner", "votes", "--hidden", 64)
    metabit("run", "fresh.mbit", "--data", "digits", "--learn", "--save", "learned.mbit")
    found = metabit("run", "learned.mbit", "--data", "digits", "--json").json()
    assert found["accuracy_before"]["digits"] < found["accuracy_surer_half"]["digits"] <= 1
    assert "of the surer half" in metabit("run", "learned.mbit", "--data", "digits").out


def test_run_learns_saves_and_is_repeatable(metabit: Any, image: Path, data: Path) -> None:
    words = ("run", image, "--data", data, "--learn", "--passes", 2, "--limit", 150, "--json", "--save")
    first, second = metabit(*words, "a.mbit").json(), metabit(*words, "b.mbit").json()
    assert Path("a.mbit").read_bytes() == Path("b.mbit").read_bytes() != image.read_bytes()
    assert first["samples"] == 150 and first["prequential_curve"] == second["prequential_curve"]
    assert metabit("inspect", "a.mbit", "--json").json()["learned"]["steps"] == 150
    after = metabit("run", "a.mbit", "--data", data, "--json").json()["accuracy_before"]
    assert after == first["accuracy_after"]


def test_a_learning_report_shows_the_rivals_on_the_stream(metabit: Any, image: Path, data: Path) -> None:
    words = ("run", image, "--data", data, "--also", "digits", "--learn", "--limit", 30, "--shuffle")
    told, ran = metabit(*words, "--json").json(), metabit(*words)
    rivals = told["rivals"]
    names = ["not learning", "majority class", "softmax SGD", "nearest class mean", "SLDA"]
    assert [line["name"] for line in rivals["lines"]] == ["metabit (visits)", *names]
    ours, still = rivals["lines"][:2]
    assert ours["before"] == still["before"] == still["after"] == told["accuracy_before"]
    assert ours["after"] == told["accuracy_after"] and ours["prequential"] == told["prequential"]
    assert ours["state"] > still["state"] == 0 and rivals["known"] == []  # random weights know nothing of digits
    for name in names:
        assert name in ran.out
    said = " ".join(ran.out.split())
    assert rivals["began"] in said and all(" ".join(one.split()) in said for one in rivals["verdicts"])
    assert metabit(*words, "--json", "--no-rivals").json() == told | {"rivals": None}
    assert "SLDA" not in metabit(*words, "--no-rivals").out
    assert metabit("run", image, "--data", data, "--json").json()["rivals"] is None  # nothing learns


def test_simulate_agrees_with_run(metabit: Any, image: Path, data: Path) -> None:
    words = (image, "--data", data, "--learn", "--limit", 60, "--seed", 5, "--json")
    host, board = metabit("run", *words).json(), metabit("simulate", *words, "--board", "rp2040").json()
    for key in ("accuracy_before", "accuracy_after", "samples", "per_sample", "rivals"):
        assert host[key] == board[key]
    assert board["measurement"]["core"] == "Cortex-M0+" and board["passed"]


def test_export_from_a_learned_image(metabit: Any, image: Path, data: Path) -> None:
    metabit("run", image, "--data", data, "--learn", "--save", "learned.mbit")
    found = metabit("export", "learned.mbit", "-o", "again", "--json").json()
    assert set(found["engines"]) == {"numpy", "onnx", "tflite", "runtime"}
    assert Path("again/model.mbit").read_bytes() == Path("learned.mbit").read_bytes()


def test_boards_and_info(metabit: Any) -> None:
    assert {"nrf52840", "rp2040"} <= {board["name"] for board in metabit("boards", "--json").json()}
    facts = metabit("info", "--json").json()
    assert all(all(packages.values()) for packages in facts["extras"].values())
    assert facts["extras"]["train"]["torch"] and facts["extras"]["firmware"]["unicorn"]


def test_ctrl_c_keeps_what_was_learned(image: Path, data: Path, tmp_path: Path) -> None:
    words = ["run", str(image), "--data", str(data), "--learn", "--passes", "100000", "--save", "kept.mbit", "--json"]
    says = "learn = Model.learn_many; Model.learn_many = lambda *all: (learn(*all), print('learns', flush=True))[0]"
    code = f"from metabit.cli import main; from metabit.runtime import Model; {says}; main()"
    child = subprocess.Popen([sys.executable, "-c", code, *words], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "learns\n"
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=60)
    assert child.returncode == 130
    told = json.loads(out[out.index("{") :])
    from metabit.runtime import Model

    assert told["interrupted"] and told["samples"] == Model.open(tmp_path / "kept.mbit").steps > 0
