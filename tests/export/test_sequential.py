"""A torch.nn.Sequential of binary layers becomes a network that decides as the module does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import BatchNorm1d, BatchNorm2d, Dropout, Flatten, Hardtanh, Identity, MaxPool2d, Sequential, Softmax

from metabit import export
from metabit.export import ExportError, Frozen, Oracle, VisitOptions
from metabit.nn import BinaryConv2d, BinaryLinear, Sign

Numbers = tuple[str | None, Callable[[Tensor], Tensor]]
NUMBERS: dict[str, Numbers] = {
    "bits": (None, lambda q: q),
    "signs": (None, lambda q: 2 * q - 1),
    "bytes": (None, lambda q: q.to(torch.uint8)),
    "pixels": ("0,1", lambda q: q / 255),
    "normalised": ("-1,1", lambda q: q / 127.5 - 1),
}


def settled(module: Sequential, x: Tensor, seed: int = 0) -> Sequential:
    """The module with hidden weights, gains of both signs, biases and statistics of x, as after some training."""
    g = torch.Generator().manual_seed(seed)
    norms = [one for one in module.modules() if isinstance(one, BatchNorm1d | BatchNorm2d)]
    with torch.no_grad():
        for one in module.modules():
            if isinstance(one, BinaryLinear):
                one.hidden.copy_(torch.randn(one.hidden.shape, generator=g) / 20)
                one.hidden[:, ::7] = 0
                one.hidden[:, 1] = -1e-45  # the float32 next to 0
        for norm in norms:
            norm.momentum = 1.0
            norm.weight.copy_(torch.randn(norm.num_features, generator=g))
            norm.bias.copy_(torch.randn(norm.num_features, generator=g) / 3)
        module.train()(x.float())
    return module.eval()


def dense() -> Sequential:
    return Sequential(
        BinaryLinear(20, 33), BatchNorm1d(33), Hardtanh(), Sign(), Dropout(0),
        Sequential(BinaryLinear(33, 16), BatchNorm1d(16), Sign()),
        BinaryLinear(16, 5), BatchNorm1d(5), Softmax(1),
    )  # fmt: skip


def pictures(padding: float = 1.0) -> Sequential:
    return Sequential(
        BinaryConv2d(2, 7, 3, padding="same", padding_value=padding), BatchNorm2d(7), MaxPool2d(2), Sign(),
        BinaryConv2d(7, 5, 2), MaxPool2d(2), BatchNorm2d(5), Sign(), Flatten(),
        BinaryLinear(20, 9), BatchNorm1d(9), Sign(), BinaryLinear(9, 4),
    )  # fmt: skip


def integers(kind: str, shape: tuple[int, ...], samples: int = 200) -> Tensor:
    top = 2 if kind in ("bits", "signs") else 256
    return torch.randint(0, top, (samples, *shape), generator=torch.Generator().manual_seed(5)).float()


PICTURE = (2, 11, 10)
BITS = integers("bits", (20,))


def decides_alike(module: Sequential, frozen: Frozen, q: Tensor, x: Tensor) -> None:
    """Equal classes on all samples, and real ones: more than one class occurs."""
    with torch.no_grad():
        want = module.double()(x.double()).argmax(1).numpy()
    rows = (q.permute(0, 2, 3, 1) if q.dim() == 4 else q).flatten(1).numpy().astype(np.uint8)
    oracle = Oracle(frozen)
    got = np.array([oracle.forward(row)[2].argmax() for row in rows])
    assert (got == want).all() and len(set(want)) > 1


@pytest.mark.parametrize("kind", NUMBERS)
def test_dense_layers(kind: str) -> None:
    inputs, to_numbers = NUMBERS[kind]
    q = integers(kind, (20,))
    x = to_numbers(q)
    module = settled(dense(), x)
    frozen = export.freeze_module(module, x[:20], inputs=inputs)
    decides_alike(module, frozen, q, x)
    assert [layer.bits for layer in frozen.layers] == ([5, 5, 5] if kind in ("bits", "signs") else [1, 5, 5])


@pytest.mark.parametrize("kind", NUMBERS)
def test_convolutions_with_pools_before_and_behind_the_norm(kind: str) -> None:
    inputs, to_numbers = NUMBERS[kind]
    q = integers(kind, PICTURE, 60)
    x = to_numbers(q)
    highest = 255.0 if kind == "bytes" else 1.0
    module = settled(pictures(highest), x, seed=2)
    assert (module[1].weight < 0).any() and (module[6].weight < 0).any()  # type: ignore[operator]
    decides_alike(module, export.freeze_module(module, x[:2], inputs=inputs), q, x)


def test_features_by_thresholds_of_their_own_and_flattened_pictures() -> None:
    q = integers("bytes", (3, 2, 2))
    module = settled(Sequential(Flatten(), BatchNorm1d(12), Sign(), BinaryLinear(12, 6), BatchNorm1d(6)), q)
    decides_alike(module, export.freeze_module(module, q[:9].to(torch.uint8)), q, q)


def test_a_module_may_stand_at_several_places() -> None:
    sign, norm = Sign(), BatchNorm1d(8)
    module = settled(
        Sequential(BinaryLinear(20, 8), norm, sign, BinaryLinear(8, 8), norm, sign, BinaryLinear(8, 3)), BITS
    )
    decides_alike(module, export.freeze_module(module, BITS[:9]), BITS, BITS)


def test_the_call_of_the_package_writes_a_file_and_leaves_the_module_as_it_is(tmp_path: Path) -> None:
    module = settled(dense(), BITS).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    frozen = export(module, BITS, tmp_path / "model.mbit", options=VisitOptions(bits=3))  # type: ignore[operator]
    image = (tmp_path / "model.mbit").read_bytes()
    assert image == export.write_image(export.read_image(image)) == export.write_image(frozen)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items()) and module.training
    again = export.freeze_module(torch.nn.DataParallel(module), BITS, options=VisitOptions(bits=3))
    assert export.write_image(again) == image


def test_levels_are_the_hidden_weights() -> None:
    """The unit of hidden weights does not matter, unless m counts in it."""
    small, large = settled(dense(), BITS), settled(dense(), BITS)
    with torch.no_grad():
        large[0].hidden.mul_(64)  # type: ignore[operator]
    one, other = (export.freeze_module(module, BITS) for module in (small, large))
    assert export.write_image(one) == export.write_image(other)
    tables = [
        export.freeze_module(module, BITS, options=VisitOptions(m=20)).layers[0].rule for module in (small, large)
    ]
    assert (tables[0].weaken > tables[1].weaken)[1:].all()  # type: ignore[union-attr]
    width = np.quantile(np.abs(small[0].hidden.detach().double().numpy()), 0.98) / 16  # type: ignore[operator]
    f = 65536 * (1 - np.tanh(20 * width * (np.arange(16) + 0.5)) ** 2)
    assert np.abs(tables[0].weaken - np.minimum(f, 65535)).max() <= 0.5  # type: ignore[union-attr]
    magnitude, turned = np.abs(small[0].hidden.detach().numpy()), (small[1].weight < 0).numpy()  # type: ignore[operator]
    level = np.where(turned[:, None], -1 - one.layers[0].hidden, one.layers[0].hidden)
    far = np.where(level >= 0, level, -1 - level)
    assert (far[magnitude > 0.15] == 15).all() and (far[magnitude < 0.001] == 0).all()


def ending(*modules: torch.nn.Module) -> Sequential:
    return Sequential(BinaryLinear(20, 8), *modules, BinaryLinear(8, 3))


@pytest.mark.parametrize(
    ("module", "told"),
    [
        (ending(BatchNorm1d(8), torch.nn.ReLU()), "'2: ReLU' gives real numbers.*use metabit.nn.Sign"),
        (ending(BatchNorm1d(8), Hardtanh()), "'2: Hardtanh' gives real numbers"),
        (ending(BatchNorm1d(8), Hardtanh(0, 1), Sign()), "'2: Hardtanh'"),
        (ending(Sign(), Softmax(1)), "'2: Softmax' is no last module"),
        (ending(Sequential(Identity(), torch.nn.Linear(8, 8))), "'1.1: Linear' has real weights.*BinaryLinear"),
        (ending(torch.nn.LayerNorm(8), Sign()), "'1: LayerNorm' takes its statistics at test.*BatchNorm1d"),
        (ending(BatchNorm1d(8, track_running_stats=False), Sign()), "'1: BatchNorm1d' takes its statistics at test"),
        (ending(torch.nn.GRU(8, 8)), "'1: GRU' is a GRU.*a metabit network has BinaryLinear"),
        (ending(), "'1: BinaryLinear' takes numbers of layer '0: BinaryLinear'.*signs between them"),
        (ending(Sign(), BatchNorm1d(8)), "'2: BatchNorm1d' normalises signs"),
        (ending(Sign(), Flatten(0)), "'2: Flatten' flattens dimensions 0 to -1.*all but the first"),
        (Sequential(BinaryLinear(21, 3)), "'0: BinaryLinear' has in_features=21, but 20 numbers come in: give 20"),
        (Sequential(BinaryLinear(20, 3), Sign()), "ends behind '0: BinaryLinear'"),
        (dense()[0], "is a BinaryLinear.*write it as nn.Sequential"),
    ],
)  # fmt: skip
def test_a_module_without_counterpart_is_named_by_its_place(module: torch.nn.Module, told: str) -> None:
    with pytest.raises(ExportError, match=told):
        export.freeze_module(module, BITS)


@pytest.mark.parametrize(
    ("place", "other", "told"),
    [
        (2, MaxPool2d(2, padding=1), "'2: MaxPool2d' pads"),
        (2, MaxPool2d(3, 2), "'2: MaxPool2d' pools"),
        (2, torch.nn.AvgPool2d(2), "'2: AvgPool2d' gives averages.*MaxPool2d"),
        (4, torch.nn.Conv2d(7, 5, 2), "'4: Conv2d' has real weights.*BinaryConv2d"),
        (4, BinaryConv2d(7, 5, 2, padding="same", padding_value=-1), "'4: BinaryConv2d' pads with -1, metabit with 1"),
        (0, BinaryConv2d(2, 7, 3, padding="same", padding_value=0), "'0: BinaryConv2d' pads with 0, metabit with 1"),
    ],
)  # fmt: skip
def test_a_picture_module_without_counterpart(place: int, other: torch.nn.Module, told: str) -> None:
    module = settled(pictures(), integers("bits", PICTURE))
    module[place] = other
    with pytest.raises(ExportError, match=told):
        export.freeze_module(module, integers("bits", PICTURE))


def test_a_dense_layer_on_pictures_is_refused() -> None:
    with pytest.raises(ExportError, match="'0: BinaryLinear' is a dense layer on a picture.*flatten"):
        export.freeze_module(Sequential(BinaryLinear(10, 3)), integers("bits", PICTURE))


def test_unclear_numbers_diverged_weights_and_altered_modules_are_refused() -> None:
    module, q = settled(dense(), BITS), integers("bytes", (20,))
    for example, inputs, told in (
        (q / 255, None, "numbers from 0 to 1.*inputs='0,1'"),
        (q / 255, "0,0.9", "no integer from 0 to 255"),
        (q, "bits", "no integer from 0 to 1 "),
        (q[0], None, "example has shape"),
        ([1], None, "type list"),
        (q, "5", "^inputs='5': give LOW,HIGH"),
    ):
        with pytest.raises(ExportError, match=told):
            export.freeze_module(module, example, inputs=inputs)  # type: ignore[arg-type]
    torch.nn.utils.parametrize.register_parametrization(module[0], "hidden", Identity())
    with pytest.raises(ExportError, match="'0: .*BinaryLinear' has a parametrization"):
        export.freeze_module(module, BITS)
    module = settled(dense(), BITS)
    hook = module[7].register_forward_hook(lambda layer, given, z: -z)
    with pytest.raises(ExportError, match="predicts class .* remove hooks"):
        export.freeze_module(module, BITS)
    hook.remove()
    module[0].hidden.data[0, 0] = torch.nan  # type: ignore[operator]
    with pytest.raises(ExportError, match="'0: BinaryLinear' holds NaN"):
        export.freeze_module(module, BITS)
