"""How closely two tensors agree: absolute and relative error, cosine, top-1, and the tolerance for each dtype."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor

TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 5e-3, torch.bfloat16: 4e-2}
"""The largest error allowed, as a part of the reference's largest magnitude, by the coarsest dtype of the weights."""


class Agreement(BaseModel):
    """One exported output against the reference.

    Attributes:
        max_abs: the largest |Δ|; elements that are equal, infinities included, count 0.
        max_rel: ``max_abs`` over the largest finite |y| of the reference.
        cosine: of the two tensors as vectors, over the elements where both are finite; 1 where both vanish.
        top1_agreement: the part of rows with the same argmax; None unless the output is (rows, classes) of floats.
        tolerance: the largest ``max_rel`` allowed; 0 for integers and booleans.
        passed: whether ``max_rel`` is within ``tolerance``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    max_abs: float
    max_rel: float
    cosine: float
    top1_agreement: float | None
    tolerance: float
    passed: bool


def coarsest(dtypes: Iterable[torch.dtype]) -> torch.dtype:
    """Return the floating-point dtype among these with the largest tolerance; float32 where there is none."""
    return max((dtype for dtype in dtypes if dtype in TOLERANCES), key=TOLERANCES.__getitem__, default=torch.float32)


def agreement(reference: Tensor, exported: Tensor, tolerance: float) -> Agreement:
    """Compare two tensors of one shape; ``tolerance`` is for floats, integers must be equal.

    A NaN, or an infinity on one side alone, makes the error infinite.
    """
    floating = reference.is_floating_point() or reference.is_complex()
    y, z = numbers(reference), numbers(exported)
    error = torch.where(y == z, 0.0, (y - z).abs()).nan_to_num(nan=torch.inf)
    finite = y.isfinite() & z.isfinite()
    max_abs = _largest(error)
    scale = _largest(y[y.isfinite()].abs())
    max_rel = 0.0 if max_abs == 0.0 else max_abs / scale if scale else torch.inf
    allowed = tolerance if floating else 0.0
    classes = reference.is_floating_point() and reference.ndim == 2 and reference.shape[1] > 1
    return Agreement(
        max_abs=max_abs,
        max_rel=max_rel,
        cosine=_cosine(y[finite], z[finite]),
        top1_agreement=_top1(reference, exported) if classes else None,
        tolerance=allowed,
        passed=max_rel <= allowed,
    )


def numbers(tensor: Tensor) -> Tensor:
    """Return all elements in double precision, complex ones as their real and imaginary parts."""
    return (torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor).double().flatten()


def _largest(values: Tensor) -> float:
    return float(values.max()) if values.numel() else 0.0


def _cosine(y: Tensor, z: Tensor) -> float:
    lengths = float(y.norm() * z.norm())
    if lengths == 0.0:
        return 1.0 if torch.equal(y, z) else 0.0
    return float(y @ z) / lengths


def _top1(reference: Tensor, exported: Tensor) -> float:
    return float((reference.argmax(1) == exported.argmax(1)).double().mean())
