"""mb_quantise of metabit_float.h gives the integers of `metabit.data.Encoder`, bit for bit."""

from __future__ import annotations

import ctypes
from pathlib import Path

import numpy as np
import pytest
from compilers import run, shared
from networks import gates_network, network

from metabit.data.encoder import quantise_features
from metabit.export import write_image
from metabit.export.frozen import Cuts, Frozen
from metabit.runtime import include_dir, sources

NONE = 2**32 - 1


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, which opens the image; how it is compiled does not change what the header computes."""
    target = tmp_path_factory.mktemp("compiled") / "metabit.o"
    run("gcc", "-std=c99", "-O0", "-fPIC", f"-I{include_dir()}", "-r", "-nostdlib", *sources(), "-o", target)
    return target


@pytest.fixture(scope="module", params=["-O0", "-O2", "-O3 -march=native"])
def library(compiled: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    folder = tmp_path_factory.mktemp("float")
    code, target = folder / "quantise.c", folder / "quantise.so"
    code.write_text(
        '#include "metabit_float.h"\nuint32_t quantise(const mb_model *m, const float *x, void *input);\n'
        "uint32_t quantise(const mb_model *m, const float *x, void *input) { return mb_quantise(m, x, input); }\n"
    )
    c = shared(target, compiled, code, options=(*request.param.split(), f"-I{include_dir()}"))
    c.quantise.restype = ctypes.c_uint32
    return c


def quantised(c: ctypes.CDLL, frozen: Frozen, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Integers of features float32 (F,), and how many were limited."""
    image = write_image(frozen)
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    model = (ctypes.c_uint64 * 16)()
    assert c.mb_open(model, blob, ctypes.c_size_t(len(image))) == 0
    assert isinstance(frozen.encode, Cuts)
    out = np.zeros(2 * x.size + 1, np.uint8)  # one byte further: any alignment will do
    limited = c.quantise(model, x.ctypes.data_as(ctypes.c_void_p), ctypes.c_void_p(out.ctypes.data + 1))
    return out[1 : 1 + x.size * np.dtype(frozen.encode.kind).itemsize].view(frozen.encode.kind), limited


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_it_quantises_as_the_encoder_does(library: ctypes.CDLL, kind: str) -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        frozen = gates_network(seed, 13, kind=kind, scaled=True)
        assert isinstance(frozen.encode, Cuts) and frozen.encode.scale is not None
        low, steps = frozen.encode.scale
        span = 255 if kind == "uint8" else 65535
        halves = rng.integers(-40, 2 * span + 40, 13) / 2  # ties, and numbers beside them
        x = (low + halves / steps + rng.choice([0, 0, 1e-6, -1e-6, 0.1], 13)).astype(np.float32)
        x[rng.random(13) < 0.1] = rng.choice(np.array([1e30, -1e30, np.inf, -np.inf, 3e38], np.float32))
        found, limited = quantised(library, frozen, x)
        assert found.tolist() == quantise_features(x, low, steps, kind).tolist()
        place = (x.astype(np.float64) - low) * steps
        inside, outside = (place > -0.49) & (place < span + 0.49), (place < -0.51) | (place > span + 0.51)
        assert outside.sum() <= limited <= 13 - inside.sum()


@pytest.mark.parametrize("kind", ["uint8", "int16"])
def test_without_a_scale_features_are_integers(library: ctypes.CDLL, kind: str) -> None:
    low, high = (0, 255) if kind == "uint8" else (-32768, 32767)
    frozen = gates_network(1, 8, kind=kind)
    x = np.array([low, high, low + 1.4, low + 1.5, high - 0.6, low - 7, high + 7, np.nan], np.float32)
    found, limited = quantised(library, frozen, x)
    assert found.tolist() == [low, high, low + 1, low + 2, high - 1, low, high, low] and limited == 3


def test_a_model_without_cuts_is_refused(library: ctypes.CDLL) -> None:
    image = write_image(network(1))
    blob = (ctypes.c_uint32 * (len(image) // 4)).from_buffer_copy(image)
    model, x, out = (ctypes.c_uint64 * 16)(), (ctypes.c_float * 40)(), (ctypes.c_uint8 * 40)(*[7] * 40)
    assert library.quantise(model, x, out) == library.quantise(None, x, out) == NONE
    assert library.mb_open(model, blob, ctypes.c_size_t(len(image))) == 0
    assert (
        library.quantise(model, x, out)
        == library.quantise(model, None, out)
        == library.quantise(model, x, None)
        == NONE
    )
    assert bytes(out) == bytes([7] * 40)
