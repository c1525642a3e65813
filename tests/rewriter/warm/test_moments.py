"""Regressions from moments find the map that made the targets."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from rewriter.warm.moments import Moments


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reduced", [False, True], ids=["float32", "inside autocast"])
def test_a_regression_finds_a_linear_map(reduced: bool, bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(512, 12, generator=generator)
    features[:, 1] = features[:, 0] + 0.1 * features[:, 1]  # alike, as the units of a layer are
    weight, constant = torch.randn(3, 12, generator=generator), torch.randn(3, generator=generator)
    targets = features @ weight.T + (constant if bias else 0)
    moments = Moments()
    with torch.autocast("cpu", torch.bfloat16) if reduced else nullcontext():
        for part in range(0, 512, 128):
            moments.add(features[part : part + 128], targets[part : part + 128])
        found, shift = moments.regression(bias=bias)
    fitted = features.double() @ found.T + (shift if shift is not None else 0)
    assert (fitted - targets).norm() < 1e-3 * targets.norm()
    assert (shift is not None) == bias
