"""Makes paper.pt and paper.npz in this folder by the code of the paper's authors. Run by hand, never in CI: it needs their code.

    git clone https://github.com/Laborieux-Axel/SynapticMetaplasticityBNN         (commit 5351570)
    python tests/export/foreign/make_paper.py SynapticMetaplasticityBNN/Stream_Learning_FMNIST_Fig-4a digits.csv.gz

Their BNN, 64-24-16-10, learns the signs of the 8 x 8 digits (pixels above 4) by their Adam with metaplasticity 1.35, as their main
program does, and its state dict is saved as torch.save saves it. paper.npz has the numbers of the classes for the last 256 digits,
which are those of larq.npz.
"""

import importlib.machinery
import importlib.util
import sys
import types
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
SAMPLES = 256


def main(folder: Path, archive: Path) -> None:
    for absent in ("torchvision", "pandas"):  # they plot with it
        if importlib.util.find_spec(absent) is None:
            sys.modules[absent] = types.ModuleType(absent)
            sys.modules[absent].__spec__ = importlib.machinery.ModuleSpec(absent, None)
    sys.path.insert(0, str(folder))
    from model_utils import BNN, Adam_meta

    rows = np.loadtxt(archive, delimiter=",", dtype=np.int64)
    x, y = torch.from_numpy(rows[:, :64] / 4 - 1.125).float(), torch.from_numpy(rows[:, 64])
    torch.manual_seed(0)
    np.random.seed(0)
    model = BNN([64, 24, 16, 10], init="uniform", width=0.1)
    adam = Adam_meta(model.parameters(), lr=0.005, meta=1.35)
    model.train()
    for _ in range(30):
        for part in torch.randperm(len(x) - SAMPLES).split(64):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(model(x[part].clone()), y[part]).backward()
            for p in model.parameters():
                if hasattr(p, "org"):
                    p.data.copy_(p.org)
            adam.step()
            for p in model.parameters():
                if hasattr(p, "org"):
                    p.org.copy_(p.data)
    torch.save(model.state_dict(), HERE / "paper.pt")
    model.eval()
    with torch.no_grad():
        numbers = model(x[-SAMPLES:].clone()).numpy()
    print((numbers.argmax(1) == y[-SAMPLES:].numpy()).mean())
    np.savez_compressed(HERE / "paper.npz", numbers=numbers)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
