"""Whether a function outgrows floating point, so that its inputs must be clamped."""

from __future__ import annotations

import torch

from passes.functions.program import Program

# As far as pre-activations are taken to go; float16 ends at 65504.
_LEVELS = (-1e4, -30.0, 1.0, 30.0, 1e4)


def overflows(program: Program, terms: int) -> bool:
    """Return whether a value or a gradient of ``program`` is not finite in float32 for inputs up to ±10⁴."""
    levels = torch.tensor(_LEVELS, dtype=torch.float32, device="cpu")
    points = [point.flatten() for point in torch.meshgrid(*[levels] * terms, indexing="ij")]
    with torch.enable_grad():
        inputs = [point.requires_grad_() for point in points]
        value = program(*inputs)
        gradients = torch.autograd.grad(value.sum(), inputs, allow_unused=True)
    return not all(bool(result.isfinite().all()) for result in (value, *gradients) if result is not None)
