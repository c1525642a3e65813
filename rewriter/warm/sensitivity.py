"""How much each channel inside a model matters for its outputs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from rewriter.warm.watching import rows, run


def sensitivities(
    model: nn.Module, channels_dims: dict[str, int], inputs: Sequence[Any], seed: int
) -> dict[str, Tensor]:
    """Give the root mean square derivative of the outputs by each channel that some modules give.

    The derivatives of a sum of the outputs with random signs have, in the mean of their squares, the sum of the squares
    of all outputs' derivatives: one backward pass stands for one by each output.

    Args:
        model: in eval mode; its gradients are left alone.
        channels_dims: the modules by path, with the dimension of their output that holds the channels.
        inputs: calibration inputs.
        seed: of the signs.

    Returns:
        ``[C]`` for each path that was reached, with a mean square of 1.
    """
    generator = torch.Generator().manual_seed(seed)
    squares: dict[str, Tensor] = {}
    for given in inputs:
        probes: list[tuple[str, Tensor]] = []
        with ExitStack() as stack, torch.enable_grad():
            for path in channels_dims:
                stack.callback(model.get_submodule(path).register_forward_hook(_probe(path, probes)).remove)
            total = torch.stack([_signed_sum(output, generator) for output in run(model, given)]).sum()
            if not total.requires_grad:
                continue
            found = torch.autograd.grad(total, [probe for _, probe in probes], allow_unused=True)
        for (path, _), gradient in zip(probes, found, strict=True):
            if gradient is not None:
                own = rows(gradient, channels_dims[path], given).float().square().sum(0)
                squares[path] = squares.get(path, torch.zeros_like(own)) + own
    return {path: (total / total.mean()).sqrt() for path, total in squares.items() if bool(total.mean() > 0)}


def _probe(path: str, probes: list[tuple[str, Tensor]]) -> Any:
    def add_zero(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        probe = torch.zeros_like(output, requires_grad=True)
        probes.append((path, probe))
        return output + probe

    return add_zero


def _signed_sum(output: Tensor, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, output.shape, generator=generator) * 2 - 1
    size = output.detach().float().square().mean().sqrt().clamp_min(1e-12)
    return (output.float() * signs.to(output.device)).sum() / size
