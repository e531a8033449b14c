"""The native passes against the torch operations they stand in for."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from metabit.train.rule import fused
from metabit.train.rule.metaplastic import MetaplasticAdam

needs_extension = pytest.mark.skipif(fused.extension is None, reason="metabit.train.rule._fused was not built")

OPTIONS: list[Any] = [
    {"m": 2.0, "weight_decay": 1e-3},
    {"m": 0.0},
    {"m": 300.0, "betas": (0.5, 0.9), "eps": 1e-3},
]


def train(options: dict[str, Any], shape: tuple[int, ...] = (37, 101), steps: int = 20) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    parameter = torch.nn.Parameter(torch.rand(shape, generator=generator) - 0.5)
    optimizer = MetaplasticAdam([parameter], **{"lr": 0.01, **options})
    for _ in range(steps):
        parameter.grad = torch.randn(shape, generator=generator)
        optimizer.step()
    return parameter.detach()


@needs_extension
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("shape", [(37, 101), (5,), (3, 4, 5, 6), (1, 1)])
def test_agrees_with_torch(options: dict[str, Any], shape: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    native = train(options, shape)
    monkeypatch.setattr(fused, "extension", None)
    torch.testing.assert_close(native, train(options, shape), rtol=1e-5, atol=1e-6)


@needs_extension
def test_the_number_of_threads_does_not_matter() -> None:
    results = []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        results.append(train({"m": 2.0}, (300, 301), 3))
    torch.set_num_threads(1)
    for result in results[1:]:
        assert torch.equal(result, results[0])


@needs_extension
def test_only_dense_float32_on_the_cpu_fits() -> None:
    def fits(w: Tensor) -> bool:
        return fused.fits(fused.Update(w, *(torch.zeros_like(w) for _ in range(3)), 0.1, 0.0, 0.0, 0.9, 0.999, 1e-8))

    assert fits(torch.zeros(3, 4)) and fits(torch.nn.Parameter(torch.zeros(3, 4)))
    assert not fits(torch.zeros(3, 4, dtype=torch.float64))
    assert not fits(torch.zeros(4, 3).T)
    assert not fits(torch.zeros(3, 4, device="meta"))


@pytest.mark.parametrize("layout", ["transposed", "float64"])
def test_what_does_not_fit_is_computed_all_the_same(layout: str) -> None:
    plain = torch.nn.Parameter(torch.linspace(-1, 1, 12).reshape(3, 4))
    odd = torch.nn.Parameter(plain.detach().T.contiguous().T if layout == "transposed" else plain.detach().double())
    optimizer = MetaplasticAdam([plain, odd], m=1.0)
    for parameter in (plain, odd):
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    torch.testing.assert_close(odd.detach().float(), plain.detach())


@needs_extension
def test_autograd_notices_the_writes() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    loss = (parameter**2).sum()
    parameter.grad = torch.ones(2, 2)
    MetaplasticAdam([parameter]).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()  # type: ignore[no-untyped-call]


@needs_extension
def test_extreme_numbers_stay_what_they_are() -> None:
    values = torch.tensor([[0.0, -0.0, 1e-40, 1e30, -1e30, math.nan]])
    parameter = torch.nn.Parameter(values.clone())
    parameter.grad = torch.zeros_like(values)
    MetaplasticAdam([parameter], m=5.0).step()
    assert torch.equal(parameter[:, :-1], values[:, :-1]) and parameter[0, -1].isnan()


both = pytest.mark.parametrize("native", [pytest.param(True, marks=needs_extension), False])


@both
@pytest.mark.parametrize("dtype", [torch.int8, torch.float32, torch.float64])
def test_signs(native: bool, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setattr(fused, "extension", None)
    w = torch.tensor([[-2.0, -0.0, 0.0], [1e-30, -1e-30, math.nan]])
    assert fused.signs(w, dtype).tolist() == [[-1, 1, 1], [1, -1, -1]]
    assert fused.signs(w.T, dtype).tolist() == [[-1, 1], [1, -1], [1, -1]]
    assert fused.signs(w, dtype).dtype == dtype


@both
def test_small_integers(native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not native:
        monkeypatch.setattr(fused, "extension", None)

    def dtype(*values: float) -> torch.dtype | None:
        narrow = fused.small_integers(torch.tensor(values))
        assert narrow is None or narrow.tolist() == list(values)
        return None if narrow is None else narrow.dtype

    assert dtype(-128, 127) == torch.int8
    assert dtype(0, 255) == torch.uint8
    for values in ((-1, 255), (0.5,), (256,), (-129,), (math.nan,), (math.inf,), (1e20,)):
        assert dtype(*values) is None
    assert dtype(*range(256), *[0] * 5000) == torch.uint8
    assert dtype(*[0] * 5000, -1, *range(256)) is None
