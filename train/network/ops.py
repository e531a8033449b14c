"""Signs and the binary product as operators of torch, with gradients, shapes and batching rules.

torch.compile, torch.export and torch.func see ``metabit::sign``, ``metabit::binarize_activation``,
``metabit::binarize_weight`` and ``metabit::binary_linear`` as one node each. In plain eager code `metabit.train.network.binarize`
calls the same computations without a dispatcher.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from metabit.train.errors import extra
from metabit.train.network.products import factor_dtype, product
from metabit.train.rule import fused

with extra("torch"):
    import torch
    from torch import Tensor


def is_eager(*tensors: Tensor) -> bool:
    """True if these are ordinary tensors outside torch.compile, torch.export and torch.func."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    return all(type(tensor) in (Tensor, torch.nn.Parameter) for tensor in tensors)


def straight_through(g: Tensor, x: Tensor) -> Tensor:
    """Return g where |x| <= 1 and 0 elsewhere."""
    # The gradient of hardtanh in one pass. Its limits are exclusive; the estimator includes |x| = 1.
    edge = 1 + torch.finfo(x.dtype).eps
    inside: Tensor = torch.ops.aten.hardtanh_backward(g, x, -edge, edge)
    return inside


def _transformable(op: Any, save: Callable[..., None], gradients: Callable[..., Any]) -> Callable[..., Tensor]:
    """Return the operator with gradients. torch.func takes gradients from a Function only, and torch.compile from an operator."""
    parts = {"forward": op, "setup_context": save, "backward": gradients}
    members = {name: staticmethod(part) for name, part in parts.items()}
    function: Any = type("Function", (torch.autograd.Function,), {"generate_vmap_rule": True, **members})
    op.register_autograd(gradients, setup_context=save)

    def call(*tensors: Tensor) -> Tensor:
        y: Tensor = function.apply(*tensors) if torch._C._are_functorch_transforms_active() else op(*tensors)
        return y

    return call


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _signs(name: str) -> Any:
    """Return a new operator that gives signs of its input's shape and dtype."""

    @torch.library.custom_op(f"metabit::{name}", mutates_args=())
    def op(x: Tensor) -> Tensor:
        return fused.signs(x, x.dtype)

    op.register_fake(torch.empty_like)
    op.register_vmap(lambda info, in_dims, x: (op(x), in_dims[0]))
    return op


sign = _signs("sign")
binarize_activation = _transformable(
    _signs("binarize_activation"), _save, lambda ctx, g: straight_through(g, ctx.saved_tensors[0])
)
binarize_weight = _transformable(_signs("binarize_weight"), lambda ctx, inputs, output: None, lambda ctx, g: g)


@torch.library.custom_op("metabit::binary_linear", mutates_args=())
def _binary_linear(x: Tensor, hidden: Tensor) -> Tensor:
    return product(x, hidden)[0]


@_binary_linear.register_fake
def _(x: Tensor, hidden: Tensor) -> Tensor:
    return hidden.new_empty((*x.shape[:-1], hidden.shape[0]))


@_binary_linear.register_vmap
def _(info: Any, in_dims: tuple[int | None, ...], x: Tensor, hidden: Tensor) -> tuple[Tensor, int]:
    x = x[None] if in_dims[0] is None else x.movedim(in_dims[0], 0)
    if in_dims[1] is None:
        return _binary_linear(x, hidden), 0
    signs = sign(hidden.movedim(in_dims[1], 0))  # a network for each sample: a product for each
    y = x.flatten(1, -2).to(signs.dtype) @ signs.mT if x.dim() > 2 else (signs @ x[..., None].to(signs.dtype))[..., 0]
    return y.reshape(len(signs), *x.shape[1:-1], signs.shape[1]), 0


def _gradients(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, hidden = ctx.saved_tensors
    factor = factor_dtype(g)
    narrow = g.to(factor)
    for_x = for_hidden = None
    if ctx.needs_input_grad[0]:
        for_x = (narrow @ sign(hidden.detach()).to(factor)).to(x.dtype)
    if ctx.needs_input_grad[1]:
        rows = x.reshape(-1, x.shape[-1]).to(factor)
        for_hidden = (narrow.reshape(-1, g.shape[-1]).mT @ rows).to(g.dtype)
    return for_x, for_hidden


binary_linear = _transformable(_binary_linear, _save, _gradients)
