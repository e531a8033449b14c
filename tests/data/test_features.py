"""Windows and features: the C computes what Python says, bit by bit, and Python what plain sums and a transform in floats say."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest
from compilers import UNDEFINED, WARNINGS, run, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from metabit.data import DataError
from metabit.data.features import BAND_WINDOWS, FEATURES, Windows, even, octaves, square_root
from metabit.runtime import include_dir

SOURCE = include_dir().parent / "field" / "features.c"
OK, NULL, RULE, SMALL = 0, -1, -16, -21
Shorts = NDArray[np.int16]


class How(ctypes.Structure):
    """mb_windows"""

    _fields_ = [(name, ctypes.c_uint16) for name in ("channels", "window", "hop", "which", "bands")] + [
        ("edges", ctypes.c_void_p)
    ]


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("features") / "features.so"
    library = shared(target, SOURCE, options=(*UNDEFINED, f"-I{include_dir()}"))
    library.mb_windows_features.restype = ctypes.c_uint32
    return library


def pointer(a: NDArray[np.generic]) -> ctypes.c_void_p:
    return a.ctypes.data_as(ctypes.c_void_p)


class Series:
    """A series in C, and the memories that it must keep."""

    def __init__(self, c: ctypes.CDLL, how: Windows, channels: int, ring: int = 0, work: int = 0) -> None:
        """ring, work: bytes less than these memories need."""
        self.c, self.edges = c, np.array(how.edges, np.uint16)
        which = sum(1 << FEATURES.index(name) for name in how.features)
        edges = self.edges.ctypes.data if how.edges else None
        self.how = How(channels, how.window, how.hop, which, how.bands, edges)
        self.ring, self.work = np.empty(channels * how.window, np.int16), np.empty(how.window, np.int16)
        self.memory = (ctypes.c_uint64 * 8)()
        sizes = ctypes.c_size_t(self.ring.nbytes - ring), ctypes.c_size_t(self.work.nbytes - work)
        scratch = pointer(self.work) if how.edges else None
        self.status = c.mb_series_open(
            self.memory, ctypes.byref(self.how), pointer(self.ring), sizes[0], scratch, sizes[1]
        )

    def of(self, samples: Shorts) -> Shorts:
        count, rows = self.c.mb_windows_features(ctypes.byref(self.how)), []
        for sample in np.ascontiguousarray(samples):
            if self.c.mb_series_push(self.memory, pointer(sample)):
                rows.append(np.full(count + 1, 77, np.int16))
                self.c.mb_series_features(self.memory, pointer(rows[-1]))
        found = np.array(rows, np.int16).reshape(-1, count + 1)
        assert (found[:, -1] == 77).all(), "a feature too many was written"
        return found[:, :-1]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Windows, Shorts]:
    """Settings of every kind, and samples at the ends of int16, flat, steep, tiny and random."""
    banded = draw(st.booleans())
    window = draw(st.sampled_from(BAND_WINDOWS)) if banded else draw(st.integers(2, 90))
    edges = tuple(sorted(draw(st.sets(st.integers(1, window // 2), min_size=2, max_size=9)))) if banded else ()
    chosen = draw(st.sets(st.sampled_from(FEATURES), min_size=0 if banded else 1))
    hop = draw(st.integers(1, window))
    how = Windows(window, hop, tuple(name for name in FEATURES if name in chosen), edges)
    channels, seed = draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    n = window + draw(st.integers(0, 3)) * hop + draw(st.integers(0, hop - 1))
    rng, t = np.random.default_rng(seed), np.arange(n)[:, None]
    size = draw(st.sampled_from((0, 1, 3, 200, 16383, 32767)))
    turn = draw(st.floats(0, 3.2)) * (1 + np.arange(channels))
    wave = size * np.sin(turn * t)
    kind = draw(st.integers(0, 5))
    ends = np.where(rng.random((n, channels)) < draw(st.sampled_from((0.02, 0.5))), -32768, 32767)
    made = (
        rng.integers(-size - 1, size + 1, (n, channels)), wave, np.sign(wave) * 32767 - (wave < 0), ends,
        np.repeat(ends[:1], n, axis=0), np.where(t % window == 0, ends, 0),
    )[kind]  # fmt: skip
    return how, np.clip(np.rint(made), -32768, 32767).astype(np.int16)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=cases())
def test_the_c_computes_what_python_says(c: ctypes.CDLL, case: tuple[Windows, Shorts]) -> None:
    how, samples = case
    series = Series(c, how, samples.shape[1])
    assert series.status == OK
    found, expected = series.of(samples), how.of(samples)
    assert len(expected) == (len(samples) - how.window) // how.hop + 1
    assert found.shape == expected.shape and (found == expected).all()


def test_the_largest_window_holds_the_largest_sums(c: ctypes.CDLL) -> None:
    how = Windows(4096, 4096)
    for ends in ((-32768, -32768), (32767, 32767), (-32768, 32767)):
        samples = np.resize(np.array(ends, np.int16), (4096, 1))
        assert (Series(c, how, 1).of(samples) == how.of(samples)).all()
    assert how.of(samples)[0].tolist() == [0, 32767, -32768, 32767, 32767, 4095, 32767]


def test_simple_features_are_what_their_names_say() -> None:
    x = np.array([[3, -7], [5, -7], [-4, 9], [2, -7]], np.int16)
    how = Windows(4, 4)
    assert how.names(("a", "b"))[:2] == ("a mean", "a deviation") and len(how.names(("a", "b"))) == 14
    # a: sum 6, squares 54; deviation sqrt(4*54 - 36)/4 = 3.35; crossings + + - +; differences 2, 9, 6
    # b: sum -12, squares 228; deviation sqrt(4*228 - 144)/4 = 6.93; differences 0, 16, 16
    assert how.of(x).tolist() == [[2, 3, -4, 5, 9, 2, 5, -3, 6, -7, 9, 16, 2, 10]]


@pytest.mark.parametrize("size", [10, 300, 8000])
@pytest.mark.parametrize("window", BAND_WINDOWS)
def test_bands_are_those_of_a_transform_in_floats(window: int, size: int) -> None:
    """Within the straight lines of the logarithm, 0.0861 of an octave, and rounding of 16 bits at the strongest bin."""
    rng = np.random.default_rng(window)
    x = np.clip(rng.normal(0, size, (20 * window, 1)), -32768, 32767).astype(np.int16)
    how = Windows(window, window, (), even(window, 7))
    cut = x.reshape(-1, window).astype(float)
    cut -= np.rint(cut.mean(1))[:, None]
    power = np.abs(np.fft.rfft(cut * np.hanning(window + 1)[:-1])) ** 2
    edges = zip(how.edges[:-1], how.edges[1:], strict=True)
    expected = np.log2(np.stack([power[:, low:high].sum(1) for low, high in edges], axis=1))
    error = how.of(x) / 256 - expected
    assert -0.0861 - 0.02 < error.min() and error.max() < 0.02


def test_a_tone_is_in_its_band() -> None:
    how = Windows(256, 256, (), octaves(256, 7))
    assert how.edges == (1, 2, 4, 8, 16, 32, 64, 128)
    for band, bin_ in enumerate((1, 3, 6, 12, 24, 48, 96)):
        tone = np.rint(900 * np.sin(2 * np.pi * bin_ * np.arange(256) / 256)).astype(np.int16)
        assert int(how.of(tone)[0].argmax()) == band


def test_roots() -> None:
    near = np.array([k * k + d for k in (1, 2, 3000, 2**26 + 1, 2**27 - 1) for d in (-1, 0, 1)], np.int64)
    assert square_root(near).tolist() == [0, 1, 1, 1, 2, 2, 2999, 3000, 3000, 2**26, *[2**26 + 1] * 2, 2**27 - 2,
                                          *[2**27 - 1] * 2]  # fmt: skip


def test_what_c_refuses(c: ctypes.CDLL) -> None:
    how = Windows(64, 32, FEATURES, (1, 5, 32))
    assert Series(c, how, 2, ring=1).status == SMALL and Series(c, how, 2, work=1).status == SMALL
    for field, value in {
        "channels": (0, 33), "window": (0, 1, 32, 96, 1024, 5000), "hop": (0, 65), "which": (128,), "bands": (3, 65),
    }.items():  # fmt: skip
        for wrong in value:
            series = Series(c, how, 2)
            series.edges = np.array([1, 5, 32, 32], np.uint16)
            series.how.edges = series.edges.ctypes.data
            setattr(series.how, field, wrong)
            given = pointer(series.ring), ctypes.c_size_t(10**6), pointer(series.work), ctypes.c_size_t(10**6)
            assert c.mb_series_open(series.memory, ctypes.byref(series.how), *given) == RULE, (field, wrong)
    for edges in ((0, 5, 32), (5, 1, 32), (1, 5, 33)):
        series = Series(c, how, 2)
        series.edges[:] = edges
        given = pointer(series.ring), ctypes.c_size_t(10**6), pointer(series.work), ctypes.c_size_t(10**6)
        assert c.mb_series_open(series.memory, ctypes.byref(series.how), *given) == RULE, edges
        assert c.mb_series_open(series.memory, ctypes.byref(series.how), *given[:2], None, given[3]) == NULL
        assert c.mb_series_open(series.memory, ctypes.byref(series.how), None, *given[1:]) == NULL


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"window": 1}, "window=1"), ({"window": 5000}, "window=5000"), ({"hop": 0}, "hop=0"), ({"hop": 65}, "hop=65"),
        ({"features": ("deviation", "mean")}, "in this order"), ({"features": ("median",)}, "median"),
        ({"features": ()}, "no feature"), ({"window": 96, "edges": (1, 3)}, "one of"), ({"edges": (3,)}, "rising"),
        ({"edges": (3, 3)}, "rising"), ({"edges": (0, 3)}, "1 to 32"), ({"edges": (1, 33)}, "1 to 32"),
    ],
)  # fmt: skip
def test_what_python_refuses(values: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        Windows(**{"window": 64, "hop": 32, **values})  # type: ignore[arg-type]


def test_samples_that_no_sensor_gives() -> None:
    how = Windows(4, 2)
    assert how.of(np.zeros((3, 2))).shape == (0, 14) and len(how.of(np.zeros(6))) == 2
    for wrong in (np.full((9, 1), 0.5), np.full((9, 1), 40000), np.zeros((9, 40)), np.zeros((9, 1, 1))):
        with pytest.raises(DataError):
            how.of(wrong)
    with pytest.raises(DataError, match="octaves"):
        octaves(64, 6)
    with pytest.raises(DataError, match="bins"):
        even(64, 32)


def test_the_table_in_c_is_these_numbers(c: ctypes.CDLL, tmp_path: Path) -> None:
    how = Windows(128, 32, ("mean", "change"), octaves(128, 3))
    (tmp_path / "hum_windows.h").write_text(how.c_table("hum", channels=2))
    (tmp_path / "main.c").write_text(
        '#include <stdio.h>\n#include "hum_windows.h"\nstatic int16_t ring[HUM_RING], work[HUM_WORK];\n'
        "int main(void)\n{\n    const mb_windows *w = &hum_windows;\n    mb_series s;\n"
        '    printf("%d %u", mb_series_open(&s, w, ring, sizeof ring, work, sizeof work), HUM_WINDOW_FEATURES);\n'
        '    printf(" %u %u %u %u %u %u %u %u\\n", w->channels, w->window, w->hop, w->which, w->bands, w->edges[0], w->edges[3],\n'
        "           (unsigned)mb_windows_features(w));\n    return 0;\n}\n"
    )
    run("gcc", "-std=c99", *WARNINGS, f"-I{include_dir()}", tmp_path / "main.c", SOURCE, "-o", tmp_path / "main")
    assert run(tmp_path / "main").split() == list(map(str, (0, 10, 2, 128, 32, 65, 3, 8, 64, 10)))
    (tmp_path / "main.c").write_text('#define HUM_INPUT_BYTES 12\n#include "hum_windows.h"\n')
    command = ["gcc", f"-I{include_dir()}", "-fsyntax-only", str(tmp_path / "main.c")]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode and "takes other features than hum_windows gives" in ran.stderr
    assert how.of(np.zeros((128, 2))).shape == (1, 10)


def test_it_needs_no_function_and_no_global_memory(tmp_path: Path) -> None:
    run("gcc", "-std=c99", "-ffreestanding", "-fno-stack-protector", "-fno-pic", "-Os", *WARNINGS, f"-I{include_dir()}", "-c",
        SOURCE, "-o", tmp_path / "features.o")  # fmt: skip
    rows = [row.split()[:2] for row in run("nm", "-P", tmp_path / "features.o").splitlines()]
    assert {name for name, kind in rows if kind == "U"} <= {"memcpy", "memset"}
    assert {name for name, kind in rows if kind in "dDbBcC"} == set()
