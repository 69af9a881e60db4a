"""Distances and inner products of parameters and flat vectors, whose gradients take few kernels."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


class _Distance(torch.autograd.Function):
    """1/2 sum |p - v|^2 over lists of tensors, with multi-tensor kernels in both directions."""

    @staticmethod
    def forward(ctx: Any, anchors: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.gaps = torch._foreach_sub(list(parameters), anchors)
        return torch.stack(torch._foreach_norm(ctx.gaps)).square().sum() / 2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.gaps, slope)


class _Inner(torch.autograd.Function):
    """sum <p, v> over lists of tensors: the loss whose gradient is v."""

    @staticmethod
    def forward(ctx: Any, vectors: list[Tensor], *parameters: Tensor) -> Tensor:
        ctx.vectors = vectors
        products = torch._foreach_mul(list(parameters), vectors)
        return torch.stack([product.sum() for product in products]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return None, *torch._foreach_mul(ctx.vectors, slope)


def distance(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor | float:
    """Half the squared Euclidean distance between parameters and anchors, given as pairs; 0 without pairs."""
    parameters, anchors = zip(*rows, strict=True) if (rows := list(pairs)) else ((), ())
    return _Distance.apply(list(anchors), *parameters) if rows else 0.0


def inner(pairs: Iterable[tuple[Tensor, Tensor]]) -> Tensor | float:
    """The inner product of parameters and vectors, given as pairs: added to a loss, it adds the vectors to the gradient."""
    parameters, vectors = zip(*rows, strict=True) if (rows := list(pairs)) else ((), ())
    return _Inner.apply(list(vectors), *parameters) if rows else 0.0
