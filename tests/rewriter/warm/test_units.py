"""Choosing units and regressing on them, against other people's solvers."""

from __future__ import annotations

import torch
from sklearn.linear_model import LinearRegression

from rewriter.warm.carrying import Axis, factored, summed
from rewriter.warm.moments import Moments
from rewriter.warm.units import fittest, strongest


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def test_units_that_others_replace_or_that_no_output_needs_are_left_out() -> None:
    useful = _random(400, 5)
    features = torch.cat([useful, useful[:, :1] * 2, 10 * _random(400, 1, 1)[:, 0]], 1)
    moments = Moments()
    moments.add(features, useful @ _random(5, 3))
    kept = set(fittest(moments.gram, moments.cross, torch.ones(3), 5).tolist())
    assert 6 not in kept
    assert len(kept & {0, 5}) == 1
    assert {1, 2, 3, 4} <= kept


def test_the_regression_is_that_of_scikit_learn_however_the_rows_come() -> None:
    features, targets = _random(300, 6) + 3, _random(300, 6, 2)[:, 0]
    moments = Moments()
    for part, wanted in zip(features.split(70), targets.split(70), strict=True):
        moments.add(part, wanted)
    weight, bias = moments.regression(bias=True)
    expected = LinearRegression().fit(features.numpy(), targets.numpy())
    assert bias is not None
    torch.testing.assert_close(weight, torch.from_numpy(expected.coef_), rtol=0, atol=2e-3)
    torch.testing.assert_close(bias, torch.from_numpy(expected.intercept_), rtol=0, atol=6e-3)


def test_without_data_the_units_with_the_largest_weights_stay_in_their_order() -> None:
    incoming, outgoing = torch.tensor([[1.0], [3.0], [0.1], [2.0]]), torch.tensor([[1.0], [1.0], [9.0], [1.0]])
    assert strongest(incoming, outgoing, 2).tolist() == [1, 3]


def test_units_that_come_twice_share_their_weight() -> None:
    axis = Axis(torch.tensor([0, 1, 0]), before=2)
    assert summed(torch.tensor([[4.0, 6.0]]), 1, axis).tolist() == [[2.0, 6.0, 2.0]]


def test_the_factors_of_a_matrix_have_the_least_error_of_their_rank() -> None:
    matrix = _random(7, 5)
    left, right = factored(matrix, 3)
    least = torch.linalg.svdvals(matrix)[3:].square().sum().sqrt()
    torch.testing.assert_close((matrix - left @ right).norm(), least)
