"""The model that a plan is checked on: a copy whose weights all matter."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from rewriter.surgery.copies import copied

_SPREAD = 0.1


def reference(model: nn.Module, dtype: torch.dtype | None) -> nn.Module:
    """Copy a model, in another dtype if one is given, and draw the weights that are all alike.

    Models start with heads, biases and residual branches of zeros and norms of ones: what is lost there, or stands in
    another place, would be seen nowhere.
    """
    made = copied(model)
    if dtype is not None:
        _convert(made, dtype)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in (*made.parameters(), *_statistics(made)):
            if _is_alike(tensor):
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64).abs() * _SPREAD
                values = noise if not tensor.any() else tensor.detach().cpu().double() * (1 + noise)
                tensor.copy_(values.to(device=tensor.device, dtype=tensor.dtype))
    return made


def disturb(model: nn.Module, eps: float) -> nn.Module:
    """Change every weight of a model, in place, by what one rounding to numbers of this precision might."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                steps = torch.rand(parameter.shape, generator=generator, dtype=torch.float64) * 2 - 1
                change = 1 + steps.to(parameter.device) * max(torch.finfo(parameter.dtype).eps, eps) * 2
                parameter.copy_((parameter.double() * change).to(parameter.dtype))
    return model


def _convert(model: nn.Module, dtype: torch.dtype) -> None:
    def converted(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(dtype.to_complex())
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    model._apply(converted)  # type: ignore[no-untyped-call]


def _statistics(model: nn.Module) -> list[Tensor]:
    norms = [module for module in model.modules() if isinstance(module, _NormBase)]
    return [buffer for norm in norms for buffer in norm.buffers(recurse=False)]


def _is_alike(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel() or type(tensor.data) is not Tensor:
        return False
    return bool((tensor == tensor.flatten()[0]).all())
