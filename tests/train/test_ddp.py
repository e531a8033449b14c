from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

SCRIPT = '''
"""50 steps on the digits with two networks, alone or under torchrun; the batch of 101 does not divide by two."""
import sys
import numpy as np
import torch
from metabit.data import load, thermometer
from metabit.train import Network, Spec
from metabit.train import ddp, loop
from metabit.train.rule.metaplastic import MetaplasticAdam
from metabit.train.penalties import EWC
from metabit.train.network.spec import Conv

torch.set_num_threads(1)
task = load("digits").whole()
x, y = torch.from_numpy(task.x_train), torch.from_numpy(task.y_train)
for kind, more in (("dense", {}), ("conv", {"image": (8, 8, 1), "conv": (Conv(channels=4, pool=2),)})):
    # In float64: a binary network multiplies the last bit of a float32 sum into other signs within these steps.
    network = Network(Spec(64, (32,), 10, encode=thermometer(task.x_train, 4), **more)).double()
    optimizer = MetaplasticAdam(network.parameters(), lr=0.005, m=4.0)
    penalty = EWC(strength=10.0, samples=100)
    order = np.random.default_rng(0)
    results = []
    with ddp.connected(network) as ranks:
        for number in range(1, 51):
            if number == 21:
                penalty.end_task(network, x, y)
            chosen = torch.from_numpy(order.integers(0, len(x), 101))
            network.train()
            results.append(
                loop.step(network, optimizer, x[chosen], y[chosen], number=number, penalty=penalty, ranks=ranks)
            )
        np.savez(f"{sys.argv[1]}-{kind}-{ranks.rank}.npz", results=np.array(results), **network.tensors())
'''


def _two_processes(script: Path, results: Path) -> None:
    """Runs the script under torchrun, which must end within a minute and a half."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    log = results.with_suffix(".log")  # a file: a worker that hangs would keep a pipe open for ever
    with log.open("w") as told:
        child = subprocess.Popen(
            [*torchrun, str(script), str(results)],
            stdout=told,
            stderr=told,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            code = child.wait(timeout=90)
        except subprocess.TimeoutExpired:
            child.terminate()  # torchrun ends its workers
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
            code = -1
    assert code == 0, f"exit code {code}: {log.read_text()}"


def test_two_processes_equal_one_after_fifty_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.distributed.is_available() or not torch.distributed.is_gloo_available():
        pytest.skip("this torch has no gloo")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "one")])
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    runpy.run_path(str(script))
    _two_processes(script, tmp_path / "two")
    for kind in ("dense", "conv"):
        one, first, second = (
            dict(np.load(tmp_path / f"{name}.npz")) for name in (f"one-{kind}-0", f"two-{kind}-0", f"two-{kind}-1")
        )
        for key, value in one.items():
            assert (first[key] == second[key]).all(), key  # the processes agree to the bit
            np.testing.assert_allclose(first[key], value, rtol=1e-6, atol=1e-9, err_msg=f"{kind} {key}")
        assert one["results"][-1, 0] < one["results"][0, 0]
