"""MetaplasticAdam beside the optimizer of the paper's authors, step by step.

authors_optimizer.npz holds what the authors' published optimizer (commit 5351570 of their code) computed in float64 for
random gradients; only overloads that torch has since removed were replaced in it. There are three settings (prefixes 0_,
1_ and 2_): ``m``, ``weight_decay`` and ``lr``, with eps 1e-8; the start ``weight`` (4, 12) and ``vector`` (4,); 50
gradients of each (``weight_gradients``, ``vector_gradients``); ``weights`` and ``vectors`` after the steps in ``steps``;
the moments ``exp_avg`` and ``exp_avg_sq`` of the weight after the last step. Each element is independent of the others,
so the file has 4 of the 8 rows that were computed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from metabit.train.rule.metaplastic import MetaplasticAdam


@pytest.mark.parametrize("setting", range(3))
def test_every_step_is_that_of_the_authors(setting: int) -> None:
    with np.load(Path(__file__).with_name("authors_optimizer.npz")) as file:
        trace = {name.removeprefix(f"{setting}_"): file[name] for name in file if name.startswith(f"{setting}_")}
        steps = file["steps"].tolist()
    assert trace["weight"].dtype == np.float64 and len(trace["weight_gradients"]) == steps[-1] == 50
    weight, vector = (torch.nn.Parameter(torch.from_numpy(trace[name])) for name in ("weight", "vector"))
    numbers = {name: float(trace[name]) for name in ("m", "weight_decay", "lr")}
    optimizer = MetaplasticAdam([weight, vector], eps=1e-8, **numbers)
    for number in range(1, steps[-1] + 1):
        weight.grad = torch.from_numpy(trace["weight_gradients"][number - 1])
        vector.grad = torch.from_numpy(trace["vector_gradients"][number - 1])
        optimizer.step()
        if number in steps:
            at = steps.index(number)
            np.testing.assert_allclose(weight.detach().numpy(), trace["weights"][at], rtol=0, atol=1e-14)
            np.testing.assert_allclose(vector.detach().numpy(), trace["vectors"][at], rtol=0, atol=1e-14)
    for name in ("exp_avg", "exp_avg_sq"):
        np.testing.assert_allclose(optimizer.state[weight][name].numpy(), trace[name], rtol=1e-12, atol=0)
