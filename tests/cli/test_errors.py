"""Mistakes of a new user: one clear sentence that names the value, the limit and the way out; no traceback."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import network

from metabit.experiments.tuning import HELD
from metabit.export import write_image
from metabit.runtime import _core

MISTAKES: list[tuple[str, tuple[str, ...]]] = [
    *((f"{verb} nowhere.mbit", ("nowhere.mbit", "No such file")) for verb in ("inspect", "run", "simulate")),
    *((f"{verb} text.mbit", ("not a metabit image",)) for verb in ("inspect", "run", "simulate")),
    ("inspect 'x[/b].mbit'", ("x[/b].mbit",)),
    ("run cut.mbit", ("truncated",)),
    ("run model.mbit --data digist", ("digist", "digits")),
    ("run model.mbit --data nowhere.npz", ("nowhere.npz", "does not exist")),
    ("run model.mbit --data short.npz", ("3 features", "takes 64")),
    ("run model.mbit --data two.npz --learn", ("2 labels (0, 10)", "10 classes", "classes=NAME")),
    ("run model.mbit --data twelve.npz --learn", ("labels up to 11", "10 classes")),
    ("run frozen.mbit --data data.npz --learn", ("nothing to learn",)),
    ("run model.mbit --data data.npz --save x.mbit", ("--save", "--learn")),
    ("run model.mbit --data data.npz --learn --save no/folder/x.mbit", ("no/folder",)),
    ("run model.mbit --data data.npz --learn --save .", ("--save .", "file")),
    ("run model.mbit --data data.npz --limit 5", ("--limit", "--learn")),
    ("run model.mbit --data data.npz --shuffle", ("--shuffle", "--learn")),
    ("simulate frozen.mbit --data data.npz --learn", ("frozen", "--learner")),
    ("simulate model.mbit --data data.npz --passes 2", ("--passes", "--learn")),
    ("simulate model.mbit --data data.npz --shuffle", ("--shuffle", "--learn")),
    ("simulate model.mbit --board esp9000", ("esp9000", "nrf52840", "rp2040")),
    ("simulate big.mbit --board rp2040 --data data.npz", ("RAM", "rp2040")),
    ("simulate model.mbit --data data.npz --report model.mbit", ("model.mbit", "File exists")),
    ("simulate model.mbit --data data.npz --board path.toml", ("../../over/there", "1 to 64 characters")),
    ("simulate model.mbit --data data.npz --board bytes.toml", ("bytes.toml", "not a UTF-8 text file")),
    ("simulate model.mbit --data data.npz --budgets deep.toml", ("1,000,000", "262,144", "stack_bytes")),
    ("export nowhere.safetensors", ("nowhere.safetensors", "does not exist")),
    ("export model.mbit", ("-o",)),
    ("export model.mbit -o there --bits 3", ("brings its own",)),
    ("export model.mbit -o there --formats ' , '", ("--formats",)),
    ("export model.mbit -o there --spare-classes 2", ("--spare-classes 2: model.mbit", "only a head", "metabit fresh")),
    ("run short.mbit", ("--data is missing", "digits do not fit short.mbit", "give your data by --data")),
    ("simulate short.mbit", ("--data is missing", "digits do not fit short.mbit", "give your data by --data")),
    ("export x.safetensors --bits 9", ("bits=9", "8")),
    ("export x.safetensors --m some", ("--m some", "give a number")),
    ("export x.safetensors --m auto", ("--m auto was removed", "metabit tune")),
    ("export x.safetensors --m -1", ("m=-1", "or left out")),
    ("export x.safetensors --visits 0", ("--visits 0", "above 0")),
    ("export x.safetensors --backward signs", ("backward='signs'", "'exact' or 'ternary'")),
    ("package zehpyr", ("zehpyr", "zephyr")),
    ("package cmake nowhere.mbit", ("nowhere.mbit", "No such file")),
    ("package cmake text.mbit -o new", ("not a metabit image",)),
    ("package cmake -o .", ("holds files", "--force")),
    ("package cmake model.mbit model.mbit -o new", ("model.mbit", "the name model already", "rename")),
    ("package esp-idf -o 'my lib'", ("my lib", "letters, digits", "such as metabit")),
    ("verify --bits two", ("two", "2,4,8")),
    ("verify --bits 1", ("--bits 1", "2 to 8")),
    ("verify --board esp9000", ("esp9000",)),
    ("fresh digits -o .", ("it is a folder",)),
    ("fresh digits -o new/x.mbit --learner votes --hidden 1025", ("1024",)),
    ("fresh digits -o new/x.mbit --hidden 64", ("--hidden belongs to --learner votes",)),
    ("fresh digits -o new/x.mbit --learner votes --units 64", ("--units belongs to --learner head",)),
    ("fresh digits -o new/x.mbit --units 63", ("units=63: must be an even number from 2 to 128",)),
    ("fresh digits -o new/x.mbit --units 0", ("units=0: must be an even number from 2 to 128",)),
    ("fresh digits -o new/x.mbit --spare-classes 119", ("spare_classes=119: must be a whole number from 0 to 118",)),
    ("fresh digits -o new/x.mbit --classes 3", ("--classes belongs to --ranges",)),
    ("fresh digits -o new/x.mbit --ranges 0..1 --classes 3", ("digits and --ranges: give one of them",)),
    ("fresh -o new/x.mbit --ranges 0..1", ("--ranges needs --classes",)),
    ("fresh -o new/x.mbit --ranges 1..0 --classes 2", ("'1..0': must be LOW..HIGH",)),
    ("fresh -o new/x.mbit --ranges 0..300 --classes 2 --input uint8", ("takes='uint8'", "0..255")),
    ("fresh digits -o new/x.mbit --learner votes --bits 1", ("bits=1",)),
    ("fresh digits -o new/x.mbit --learner votes --threshold 300", ("thresholds=300",)),
    (
        "fresh digits -o new/x.mbit --learner votes" + "".join(f" --threshold {t}" for t in range(10, 100, 10)),
        ("1 to 8",),
    ),
    ("train images.npz", ("(20, 8, 8)", "reshape")),
    ("train digits -o text.mbit/out --epochs 1", ("text.mbit",)),
    ("train mnst", ("unknown data 'mnst'",)),
    ("train rotated-digits --resume", ("there is nothing to resume",)),
    ("train digits --resume", ("--resume", "trained in one go", "leave it out")),
    ("train digits --tasks 2", ("tasks=2: digits has 1 to 1",)),
    ("train digits --preset huge", ("unknown preset 'huge'",)),
    ("train digits --set input=uint8 --set planes=2", ("give only one of them",)),
    ("train digits --set norm=layer", ("norm='layer'",)),
    ("train digits --set penalty=l2", ("penalty='l2': must be one of none, ewc",)),
    ("train digits --set lrr=1", ("unknown setting 'lrr': did you mean 'lr'?",)),
    ("train digits --set lr", ("--set lr: must be name=value",)),
    ("train digits --set m=3 --m 2", ("m is given twice",)),
    ("train digits --settings none.toml", ("cannot read the settings in none.toml (No such file or directory)",)),
    ("train digits --settings broken.toml", ("broken.toml is damaged",)),
    ("train digits --settings list.json", ("holds no settings",)),
    ("train digits --m 1 --m 2 --m 3", ("m has 3 values",)),
    ("train digits --set input=bits --set planes=0", ("a feature is 16: without encode, features are bits",)),
    ("tune missing.mbit", ("missing.mbit: No such file",)),
    ("tune --data nothing", ("unknown data 'nothing'",)),
    ("tune --data short.npz", (f"at least {2 * HELD}",)),
    ("tune frozen.mbit", ("nothing to tune",)),
    ("tune model.mbit --hidden 8", ("leave out --units, --hidden and --bits",)),
    ("tune --hidden 5000", ("hidden=5000",)),
    ("tune --data digits --also short.npz", ("short.npz has 3 features",)),
    ("tune -o .", ("give a file, not a folder",)),
    ("tune --table model.mbit", ("model.mbit",)),
    ("tune --data digits -o same --table same", ("name two files",)),
    ("firmware text.mbit --board rp2040", ("text.mbit: not a metabit image", "give a .mbit file")),
    ("firmware cut.mbit --board rp2040", ("cut.mbit: the image is truncated", "export it again")),
    (
        "firmware flip.mbit --board rp2040",
        ("flip.mbit: the image's state section is damaged", "copy the whole file again"),
    ),
    ("firmware model.mbit --board rp2040 --flash-file flash", ("rp2040: no file can keep its flash", "mps2-an386")),
    ("sources model.mbit", ("model.mbit", "it is a file: name a folder")),
    ("sources model.mbit/below", ("Not a directory",)),
    ("sources /proc/nowhere", ("/proc/nowhere", "No such file")),
    ("sources there --image nowhere.mbit", ("nowhere.mbit", "No such file")),
]
"""Command, and words of its one sentence on standard error."""


@pytest.fixture
def files(metabit: Any, image: Path, data: Path) -> set[Path]:
    """Files for the mistakes, in the current folder, beside model.mbit and data.npz."""
    Path("text.mbit").write_text("hello " * 30)
    Path("cut.mbit").write_bytes(image.read_bytes()[:-10])
    Path("flip.mbit").write_bytes(image.read_bytes()[:-1] + bytes([image.read_bytes()[-1] ^ 1]))
    Path("frozen.mbit").write_bytes(write_image(network(0, (64, 40, 10), 4, 2, (False, False))))
    Path("big.mbit").write_bytes(write_image(network(0, (64, 800, 10), 8, 8, (True, False), 9000)))  # 400 KiB of state
    Path("short.mbit").write_bytes(write_image(network(0, (3, 40, 10), 4, 2, (True, False), 9000)))
    np.savez("short.npz", x=np.arange(36).reshape(12, 3), y=np.arange(12) % 2)
    np.savez("two.npz", x=np.zeros((40, 64), np.uint8), y=np.repeat([0, 10], 20))
    np.savez("twelve.npz", x=np.zeros((60, 64), np.uint8), y=np.arange(60) % 12)
    np.savez("images.npz", x=np.zeros((20, 8, 8), np.uint8), y=np.zeros(20, int))
    board = Path(__file__).parents[2] / "firmware_sim" / "boards" / "nrf52840.toml"
    Path("path.toml").write_text(board.read_text().replace('"nrf52840"', '"../../over/there"'))
    Path("bytes.toml").write_bytes(b"\xff\xfe")
    Path("broken.toml").write_text("lr = = 3")
    Path("list.json").write_text("[1]")
    calls = "[emulator]\ninstructions_per_call = 1_000_000_000\n[default]\n"
    Path("deep.toml").write_text(f"{calls}stack_bytes = 1_000_000\n")
    Path("tight.toml").write_text(f"{calls}stack_bytes = 2048\nflash_bytes = 1000\n")
    return set(Path().iterdir())


@pytest.mark.parametrize(("command", "words"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_sentence(metabit: Any, files: set[Path], command: str, words: tuple[str, ...]) -> None:
    """The command names what is wrong, prints nothing else but what data was read, and leaves every file as it was."""
    before = {path: path.read_bytes() for path in files}
    ran = metabit(*shlex.split(command))
    ran.fails(*words)
    assert not ran.out or (command.startswith(("run", "simulate")) and "samples of" in ran.out)
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
    assert not Path("new").exists() and not Path("there").exists()


def test_a_breached_budget_exits_3_with_value_and_limit(metabit: Any, files: set[Path]) -> None:
    ran = metabit("simulate", "model.mbit", "--data", "data.npz", "--budgets", "tight.toml")
    ran.fails("flash_bytes", "exceeds", "1,000", code=3)


@pytest.mark.parametrize(("asked", "words"), [("fast", "none of this name"), ("neon", "processor lacks them")])
def test_vectors_that_are_not_there(metabit: Any, image: Path, monkeypatch: Any, asked: str, words: str) -> None:
    if asked in _core.VECTORS_HERE:
        pytest.skip(f"this processor has {asked}")
    monkeypatch.setenv("METABIT_VECTORS", asked)
    metabit("inspect", image).fails(f"METABIT_VECTORS={asked}", words)


def test_sources_where_something_else_lies(metabit: Any) -> None:
    Path("mine").mkdir()
    Path("mine/metabit.c").write_text("int mine;\n")
    metabit("sources", "mine", "--single-file").fails("mine/metabit.c", "not generated", "another folder")
    assert metabit("sources", "mine").code == 0
    Path("mine/metabit.h").unlink()
    Path("mine/metabit.h").mkdir()
    metabit("sources", "mine").fails("mine/metabit.h", "Is a directory")


@pytest.mark.parametrize("value", [300.0, -1.0, 0.5, np.nan])
def test_float_out_of_range(metabit: Any, image: Path, value: float) -> None:
    x = np.full((40, 64), 2.0)
    x[7, 3] = value
    np.savez("floats.npz", x=x, y=np.arange(40) % 10)
    metabit("run", image, "--data", "floats.npz").fails(
        "x[7, 3] is nan" if np.isnan(value) else "floats.npz", f"{value:g}"
    )


def test_usage_error_exits_2(metabit: Any) -> None:
    ran = metabit("run", "--lern")
    assert ran.code == 2 and "--lern" in ran.err
    ran = metabit("run", "--learn", "--limit", -7)
    assert ran.code == 2 and all(word in ran.err for word in ("--limit", "1", "-7"))


def test_verify_with_data_that_does_not_fit(metabit: Any) -> None:
    from metabit import train

    spec = train.Spec(3, (8,), 2, [1, 5])
    train.save("c.safetensors", train.Network(spec), rule=train.Rule.of(spec, 0.0))
    metabit("verify", "c.safetensors", "--bits", "2").fails("64 features", "takes 3")


def test_a_path_with_brackets_is_a_path(metabit: Any, image: Path) -> None:
    odd = image.parent / "m[old][" / "a].mbit"
    odd.parent.mkdir()
    odd.write_bytes(image.read_bytes())
    ran = metabit("inspect", "m[old][/a].mbit")
    assert ran.code == 0 and "m[old][/a].mbit" in ran.out


def test_bits_as_features_need_no_encoder(metabit: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (200, 20)).astype(np.uint8)
    np.savez("bits.npz", x=x, y=x[:, 3])
    assert metabit("train", "bits.npz", "--set", "planes=0", "--hidden", "40", "--epochs", "3").code == 0
    assert metabit("export").code == 0
    learned = metabit("run", "--data", "bits.npz", "--learn", "--json").json()
    assert learned["accuracy_after"]["bits.npz"] > 0.6 and learned["read"]["bits.npz"]["features"] == 20
    assert metabit("simulate", "--data", "bits.npz", "--json").code == 0
    words = ("verify", "out/checkpoint.safetensors", "--data", "bits.npz", "--bits", "3", "--steps", "20")
    assert metabit(*words).code == 0
    np.savez("grey.npz", x=x * 9, y=x[:, 3])
    metabit("run", "--data", "grey.npz").fails("9", "0 or 1")


def test_a_program_for_the_default_board_names_it(metabit: Any, files: set[Path]) -> None:
    ran = metabit("firmware", "frozen.mbit")
    assert (
        ran.code == 1
        and "no --board: the program is for nrf52840" in ran.err
        and "nothing in this image learns" in ran.err
    )
    metabit("firmware", "frozen.mbit", "--board", "nrf52840").fails("nothing in this image learns")
