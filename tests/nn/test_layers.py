"""The layers under torch.compile, torch.export, torch.func and DataParallel: equal numbers, equal gradients."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from metabit import export, nn

FACTORS = torch.arange(15.0).reshape(5, 3) - 7


def module(seed: int = 0) -> torch.nn.Sequential:
    g = torch.Generator().manual_seed(seed)
    return torch.nn.Sequential(
        nn.BinaryConv2d(2, 4, 3, padding="same", generator=g), torch.nn.BatchNorm2d(4), nn.Sign(),
        torch.nn.Flatten(), nn.BinaryLinear(64, 3, g),
    ).eval()  # fmt: skip


def bits() -> Tensor:
    return torch.randint(0, 2, (5, 2, 4, 4), generator=torch.Generator().manual_seed(1)).float()


def gradients(of: torch.nn.Module, run: Callable[[Tensor], Tensor]) -> tuple[Tensor, list[Tensor]]:
    of.zero_grad()
    y = run(bits())
    (y * FACTORS).sum().backward()  # type: ignore[no-untyped-call]
    return y.detach(), [parameter.grad.clone() for parameter in of.parameters() if parameter.grad is not None]


def agree(one: tuple[Tensor, list[Tensor]], other: tuple[Tensor, list[Tensor]]) -> None:
    assert torch.equal(one[0], other[0])
    assert len(one[1]) == len(other[1]) == 4 and all(found.any() for found in one[1])
    torch.testing.assert_close(one[1], other[1], rtol=1e-5, atol=1e-4)


def test_a_compiled_module_has_no_break_and_equal_gradients() -> None:
    """The tracers of torch.compile, without its compiler of C++, which takes 15 s of CPU for this module."""
    m = module()
    compiled = torch.compile(m, fullgraph=True, backend="aot_eager")
    agree(gradients(m, m), gradients(m, compiled))
    frozen, same = (export.freeze_module(one, bits()) for one in (m, compiled))
    assert export.write_image(frozen) == export.write_image(same)


def test_the_default_compiler_runs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    m = torch.nn.Sequential(nn.BinaryLinear(32, 6), nn.Sign(), nn.BinaryLinear(6, 3))
    x = bits().flatten(1)
    with torch.no_grad():
        assert torch.equal(torch.compile(m, fullgraph=True)(x), m(x))


def test_an_exported_program_has_one_node_an_operation_and_any_batch() -> None:
    m = module()
    program = torch.export.export(m, (bits(),), dynamic_shapes=({0: torch.export.Dim("n")},))
    nodes = [str(node.target) for node in program.graph.nodes if "metabit" in str(node.target)]
    assert nodes == [f"metabit.{name}.default" for name in ("binarize_weight", "binarize_activation", "binary_linear")]
    assert torch.equal(program.module()(bits()[:3]), m(bits()[:3]))


def test_gradients_of_single_samples() -> None:
    """vmap of grad gives each sample's gradient, as a loop over the samples does."""
    m = module()
    parameters = {name: parameter.detach() for name, parameter in m.named_parameters()}

    def loss(p: dict[str, Tensor], x: Tensor, factors: Tensor) -> Tensor:
        y: Tensor = functional_call(m, p, (x[None],))
        return (y[0] * factors).sum()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, bits(), FACTORS)
    for i in range(len(FACTORS)):
        m.zero_grad()
        (m(bits()[i : i + 1])[0] * FACTORS[i]).sum().backward()
        for name, parameter in m.named_parameters():
            torch.testing.assert_close(found[name][i], parameter.grad, rtol=1e-5, atol=1e-4)


def test_an_ensemble_is_one_call() -> None:
    """vmap over networks: the hidden weights have a batch of their own."""
    several, x = [module(seed) for seed in range(3)], bits()
    state = stack_module_state(several)  # type: ignore[arg-type]
    together = vmap(lambda p, b: functional_call(several[0], (p, b), (x,)))(*state)
    assert torch.equal(together, torch.stack([m(x) for m in several]))


def test_data_parallel() -> None:
    m = module()
    agree(gradients(m, m), gradients(m, torch.nn.DataParallel(m)))


def test_replicas_in_threads_give_the_gradient_of_one_module() -> None:
    """DataParallel on several devices: parameters of a replica are copies with a history, and each replica has a thread."""
    m = module()

    def run(x: Tensor) -> Tensor:
        parts: dict[int, Tensor] = {}

        def one(i: int, chunk: Tensor) -> None:
            with torch.enable_grad():
                parts[i] = functional_call(shells[i], replicas[i], (chunk,))

        chunks = x.chunk(2)
        replicas = [{name: parameter * 1 for name, parameter in m.named_parameters()} for _ in chunks]
        shells = [deepcopy(m) for _ in chunks]  # functional_call puts the parameters into its module meanwhile
        threads = [threading.Thread(target=one, args=pair) for pair in enumerate(chunks)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return torch.cat([parts[i] for i in range(len(chunks))])

    agree(gradients(m, m), gradients(m, run))


def test_public_names_resolve_and_the_products_are_float32() -> None:
    assert all(hasattr(nn, name) for name in nn.__all__)
    assert nn.gradient_products() == torch.float32
