"""Every width of vector that this processor has, against the library as devices run it: the same scores, steps and state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import replay_vector
from compilers import WARNINGS, run
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import gates_network, inputs_of_density, network, voting, windowed

from metabit.export.files.image import write_image
from metabit.export.frozen import Cuts, DenseLayer, Frozen, HeadRows, Layer
from metabit.runtime import Model, _core, include_dir, sources

VECTORS = [name for name in _core.VECTORS_HERE if name != "none"]
GOLDEN = sorted((Path(__file__).parents[1] / "vectors").glob("*.mbit"))


def on(vectors: str, image: bytes) -> Model:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("METABIT_VECTORS", vectors)
        model = Model(image)
    assert model.vectors == vectors
    return model


def all_agree(image: bytes, x: np.ndarray, labels: np.ndarray) -> int:
    """Predicts, learns, predicts again, on every width; returns the flips. A last time from the saved image, whose copies of
    the weights are made anew: those that learning kept in step must give the same scores."""
    plain = on("none", image)
    before = plain.scores(x)
    learns = int.from_bytes(image[40:42], "little") > 0 and any(image[64 * (i + 1) + 9] for i in range(image[40]))
    steps = plain.learn_many(x, labels) if learns else None
    after, state = plain.scores(x), plain.state()
    for vectors in VECTORS:
        wide = on(vectors, image)
        np.testing.assert_array_equal(wide.scores(x), before, vectors)
        if learns:
            for want, got in zip(steps, wide.learn_many(x, labels), strict=True):
                np.testing.assert_array_equal(got, want, vectors)
        assert wide.state() == state, vectors
        np.testing.assert_array_equal(wide.scores(x), after, vectors)
        np.testing.assert_array_equal(on(vectors, wide.image()).scores(x), after, vectors)
    return int(steps.flipped.sum()) if learns else 0


def samples(frozen: Frozen, densities: list[float]) -> np.ndarray:
    return np.concatenate([inputs_of_density(frozen, d, 1, seed) for seed, d in enumerate(densities)])


@st.composite
def any_width(draw: st.DrawFn) -> Frozen:
    """Layers around every width of vector, and odd ones."""
    edges = st.sampled_from([1, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513])
    first = draw(st.one_of(edges, st.integers(1, 900)))
    hidden = draw(st.lists(st.one_of(edges, st.integers(1, 700)), max_size=2))
    classes = draw(st.sampled_from([2, 3, 10, 16, 17, 33, 70]))
    planes = draw(st.sampled_from([0, 0, 1, 2]))
    sizes = (first, *hidden, classes)
    learns = tuple(draw(st.lists(st.booleans(), min_size=len(sizes) - 1, max_size=len(sizes) - 1)))
    k, seed = draw(st.integers(2, 8)), draw(st.integers(0, 2**32 - 1))
    frozen = network(seed, sizes, k, planes, learns, dose=draw(st.sampled_from([20, 300, 5000])))
    rng, window = np.random.default_rng(seed), draw(st.sampled_from([0, 1, 5, 40, 32767]))
    reach = draw(st.sampled_from([0, 3, 70, 100_000]))

    def cornered(layer: Layer) -> Layer:
        if not isinstance(layer, DenseLayer):
            return layer
        theta = rng.integers(-reach, reach + 1, layer.units).astype(np.int32)
        return replace(layer, ste_window=window, theta=theta)

    return replace(
        frozen,
        layers=tuple(cornered(layer) for layer in frozen.layers),
        skip_below=draw(st.sampled_from([0, 80])),
        temperature=draw(st.sampled_from([1, 300, 4096])),
    )


@settings(max_examples=150, deadline=None)
@given(any_width(), st.lists(st.sampled_from([0, 0.03, 0.12, 0.5, 0.8, 1]), min_size=6, max_size=6), st.integers(0, 99))
def test_any_network_is_the_same_on_every_width(frozen: Frozen, densities: list[float], seed: int) -> None:
    x = samples(frozen, densities)
    all_agree(write_image(frozen), x, np.random.default_rng(seed).integers(0, frozen.classes, len(x)))


@st.composite
def any_gates(draw: st.DrawFn) -> Frozen:
    """Gates around every width of vector, on features of both kinds or packed bits, before levels and heads of both kinds."""
    edges = st.sampled_from([1, 2, 31, 32, 33, 63, 64])
    last, seed = draw(st.sampled_from(["levels", "head"])), draw(st.integers(0, 2**32 - 1))
    rows = draw(st.sampled_from([None, HeadRows(3, 1, 2)])) if last == "head" else None
    wide = st.sampled_from([96, 127, 128, 129, 255, 256, 257, 513])
    units = draw(st.one_of(edges, st.integers(1, 64)) if last == "head" else st.one_of(edges, wide))
    return gates_network(
        seed, draw(st.one_of(edges, wide, st.integers(1, 300))), draw(st.sampled_from([0, 1, 1, 2, 5])), units,
        draw(st.sampled_from([2, 10, 33])), last, draw(st.sampled_from(["uint8", "int16"])), draw(st.integers(2, 8)),
        draw(st.booleans()), spare=draw(st.integers(0, 1)), rows=rows, row_count=40 if rows else None, shared=draw(st.booleans()),
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(any_gates(), st.lists(st.sampled_from([0, 0.03, 0.12, 0.5, 0.8, 1]), min_size=6, max_size=6), st.integers(0, 99))
def test_any_gates_are_the_same_on_every_width(frozen: Frozen, densities: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = samples(frozen, densities)
    if isinstance(frozen.encode, Cuts):  # near the cuts as well as far from them
        near = np.resize(frozen.encode.cuts, (2, frozen.input_bytes // frozen.encode.cuts.itemsize)) + [[0], [1]]
        x = np.concatenate([x, near.astype(frozen.encode.cuts.dtype).view(np.uint8)])
    all_agree(write_image(frozen), x, rng.integers(0, frozen.classes, len(x)))


@pytest.mark.parametrize("planes", [0, 1, 2])
@pytest.mark.parametrize("last", ["levels", "head"])
def test_counts_of_gates_cross_every_power_of_two(last: str, planes: int) -> None:
    frozen = gates_network(planes, 1030, planes, 60, 12, last, learns=last == "levels")
    hidden = frozen.layers[0].hidden
    hidden[:20], hidden[20:30] = 0, -1
    all_agree(write_image(frozen), samples(frozen, list(np.linspace(0, 1, 101))), np.arange(101) % 12)


def test_features_of_gates_lie_at_any_address() -> None:
    for kind in ("uint8", "int16"):
        image = write_image(gates_network(3, 70, 2, 40, 5, "levels", kind))
        size = Model(image).input_size
        room = np.random.default_rng(1).integers(0, 256, (size + 64, 1)).astype(np.uint8)
        for start in range(33):
            x = room[start : start + size].T
            want = on("none", image).scores(x)
            for vectors in VECTORS:
                np.testing.assert_array_equal(on(vectors, image).scores(x), want)


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize("planes", [0, 1])
def test_copies_stay_in_step_through_a_thousand_flips(planes: int, k: int) -> None:
    frozen = network(k, (300, 530, 270, 20), k, planes, dose=300_000)
    x = samples(frozen, list(np.linspace(0, 1, 41)))
    assert all_agree(write_image(frozen), x, np.arange(len(x)) * 7 % 20) > 1000


@pytest.mark.parametrize("units", [64, 600])
def test_sums_cross_every_power_of_two(units: int) -> None:
    """All weights +1, all -1, and random ones, on inputs of 0 to 100 %: accumulators run from -K to K."""
    frozen = network(1, (1030, units, 20), planes=1, learns=(False, False))
    for layer in frozen.layers:
        layer.hidden[: layer.units // 3] = 0
        layer.hidden[layer.units // 3 : layer.units // 2] = -1
    x = samples(frozen, list(np.linspace(0, 1, 101)))
    all_agree(write_image(frozen), x, np.zeros(len(x), int))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_images_are_the_same_on_every_width(path: Path) -> None:
    image = path.read_bytes()
    model = Model(image)
    x = np.random.default_rng(0).integers(0, 256, (80, model.input_size)).astype(np.uint8)
    all_agree(image, x, np.arange(80) % model.classes)


def test_layers_without_a_copy_run_beside_those_with_one() -> None:
    conv = {"units": 40, "kernel": 3, "stride": 1, "same": True, "pool": 2}
    for source in ("bits", "uint8", "2"):
        frozen = windowed(3, (8, 8, 3), (conv,), (300, 10), source, learns=(True, True))
        all_agree(write_image(frozen), samples(frozen, [0.1, 0.5, 0.9] * 5), np.arange(15) % 10)
    frozen = voting(3, units=70)
    all_agree(write_image(frozen), samples(frozen, [0.1, 0.5, 0.9] * 30), np.arange(90) % 10)


def test_sanitizers_find_nothing_in_the_widest_kernels(tmp_path: Path) -> None:
    """replay.c on images of many blocks and of narrow layers, all memories heap blocks of exact size; the golden ones are small."""
    root, replay = Path(__file__).parents[2], tmp_path / "replay"
    host = root / "runtime" / "host"
    sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    options = ["-std=gnu11", "-O1", "-g", *sanitize, "-DMB_WIDE", *WARNINGS]
    code = [Path(__file__).with_name("replay.c"), *sources(), *sorted(host.glob("*.c"))]
    run("gcc", *options, f"-I{include_dir()}", f"-I{sources()[0].parent}", f"-I{host}", *code, "-o", replay)
    image, vector = tmp_path / "model.mbit", tmp_path / "model.vec"
    for seed, sizes in enumerate(((70, 513, 129, 10), (401, 65, 700, 33), (515, 3))):
        frozen = network(seed, sizes, 2 + seed, seed, (True,) * (len(sizes) - 1), dose=5000)
        image.write_bytes(write_image(frozen))
        vector.write_bytes(replay_vector(frozen, inputs=8, steps=8, seed=seed))
        assert run(replay, image, vector, "40").startswith("words: ")
    for last, kind, units in (("levels", "int16", 161), ("head", "uint8", 64), ("levels", "uint8", 20)):
        frozen = gates_network(units, 70, 2, units, 11, last, kind, learns=last == "levels")
        image.write_bytes(write_image(frozen))
        vector.write_bytes(replay_vector(frozen, inputs=8, steps=8, seed=units))
        assert run(replay, image, vector, "40").startswith("words: ")


def test_the_host_code_compiles_without_vector_extensions(tmp_path: Path) -> None:
    """As a compiler sees it that knows neither attributes nor builtins: words only."""
    host = Path(__file__).parents[2] / "runtime" / "host"
    for file in sorted(host.glob("*.c")):
        options = ["-std=c99", "-U__GNUC__", *WARNINGS, "-DMB_WIDE", f"-I{include_dir()}", f"-I{sources()[0].parent}"]
        run("gcc", *options, "-fsyntax-only", file)


# The choice


def test_the_widest_is_the_default() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("METABIT_VECTORS", raising=False)
        assert Model(write_image(network(1))).vectors == _core.VECTORS_HERE[-1]


@pytest.mark.parametrize("asked", ["avx3", " "])
def test_a_name_that_is_none_is_refused(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METABIT_VECTORS", asked)
    with pytest.raises(
        ValueError, match=f"^METABIT_VECTORS={asked}: there are none of this name; one of none, words, "
    ):
        Model(write_image(network(1)))


@pytest.mark.parametrize(("asked", "instead"), [("sse2", "words"), ("avx512vbmi2", "avx512")])
def test_a_name_that_was_taken_out_names_its_replacement(
    asked: str, instead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METABIT_VECTORS", asked)
    with pytest.raises(ValueError, match=f"^METABIT_VECTORS={asked}: .* taken out; use {instead}, "):
        Model(write_image(network(1)))
    assert instead in _core.VECTORS and asked not in _core.VECTORS


@pytest.mark.skipif(set(_core.VECTORS) == set(_core.VECTORS_HERE), reason="this processor has them all")
def test_what_the_processor_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = next(name for name in _core.VECTORS if name not in _core.VECTORS_HERE)
    monkeypatch.setenv("METABIT_VECTORS", lacking)
    with pytest.raises(ValueError, match=f"^METABIT_VECTORS={lacking}: this processor lacks them; one of none, "):
        Model(write_image(network(1)))
