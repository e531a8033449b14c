"""Binary layers for your own PyTorch module. `metabit.export` makes a network of a device of it.

    BinaryLinear, BinaryConv2d    weights +1 and -1, the signs of hidden weights; no bias
    Sign                          +1 and -1 between two layers, with the straight-through estimator
    sign, binarize_activation, binarize_weight, binary_linear
                                  the functions that these layers are made of
    set_gradient_products         float32 factors in backward products, or bfloat16 for time
    gradient_products             the dtype of these factors now

The layers are `torch.nn.Module`. Signs and the product are operators of torch (``torch.ops.metabit``), so that torch.compile,
torch.export and torch.func see through them. `metabit.train` has the optimizer that goes with them, `MetaplasticAdam`. Example::

    import torch
    from metabit import export, nn

    module = torch.nn.Sequential(
        nn.BinaryLinear(64, 128), torch.nn.BatchNorm1d(128), nn.Sign(),
        nn.BinaryLinear(128, 10), torch.nn.BatchNorm1d(10),
    )
    module.train()(torch.randint(0, 2, (32, 64)).float())  # your training loop
    export.freeze_module(module, torch.randint(0, 2, (8, 64)).float(), "model.mbit")

Needs torch: ``pip install 'metabit[train]'``. docs/pytorch.md shows all of it.
"""

from __future__ import annotations

from metabit.train.network.binarize import (
    BinaryLinear,
    Sign,
    binarize_activation,
    binarize_weight,
    binary_linear,
    sign,
)
from metabit.train.network.conv import BinaryConv2d
from metabit.train.network.products import gradient_products, set_gradient_products

__all__ = [
    "BinaryConv2d", "BinaryLinear", "Sign", "binarize_activation", "binarize_weight", "binary_linear", "gradient_products",
    "set_gradient_products", "sign",
]  # fmt: skip
