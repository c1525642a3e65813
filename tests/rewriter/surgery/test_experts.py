"""Rewritten packed experts compute what an expert-by-expert reference does, and stay what they were."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter
from rewriter.recipe import Recipe
from tests.models.experts import Experts, Mixture, SortedExperts, gate_first, gate_last, plain

CASES = {
    f"{meet.__name__}{' transposed' * transposed}": (meet, transposed)
    for meet in (plain, gate_first, gate_last)
    for transposed in (False, True)
}


def mixture(case: str) -> nn.Module:
    torch.manual_seed(0)
    meet, transposed = CASES[case]
    return Mixture(Experts(meet, transposed=transposed)).eval()


def branches_of(values: Tensor, count: int, half: int | None) -> tuple[list[Tensor], Tensor | None]:
    if half is None:
        return list(values.chunk(count, -1)), None
    parts = list(values.chunk(count + 1, -1))
    return (parts[:-1], parts[-1]) if half == 0 else (parts[1:], parts[0])


def expert_by_expert(recipe: Recipe, experts: Any, x: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """The output of rewritten experts, token by token, from the recipe, the weights and the function alone."""
    (record,) = recipe.experts
    into, out = experts.get_parameter(record.expand), experts.get_parameter(record.project)
    into, out = (into.mT, out.mT) if record.transposed else (into, out)
    rows = []
    for token in range(len(x)):
        row = torch.zeros_like(x[token])
        for expert, weight in zip(index[token].tolist(), weights[token], strict=True):
            branches, up = branches_of(into[expert] @ x[token], record.branches, record.half)
            hidden = experts.act.decomposition.program(*branches)
            row = row + weight * (out[expert] @ (hidden if up is None else hidden * up))
        rows.append(row)
    return torch.stack(rows)


@pytest.mark.parametrize("case", CASES)
def test_the_output_is_that_of_an_expert_by_expert_reference(case: str) -> None:
    result = rewriter.rewrite(mixture(case), "hdfgd", width=7)
    x, shares = torch.randn(9, 6), torch.rand(9, 2)
    index = torch.stack([torch.randperm(5)[:2] for _ in range(9)])
    index[0] = 3  # one expert twice
    expected = expert_by_expert(result.recipe, result.model.experts, x, index, shares)
    torch.testing.assert_close(result.model.experts(x, index, shares), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_equal_branches_of_the_old_width_are_exactly_the_original_function(case: str) -> None:
    model = mixture(case)
    result = rewriter.rewrite(model, "hdfgd", width="keep")
    copy_weights(model.experts, result.model.experts, result.recipe)
    x = torch.randn(9, 6)
    torch.testing.assert_close(result.model(x), model(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_experts_of_sorted_tokens_compute_what_routed_ones_do(case: str) -> None:
    meet, transposed = CASES[case]
    result = rewriter.rewrite(nn.Sequential(SortedExperts(meet, transposed=transposed)), "hdfgd", width=7)
    assert (len(result.recipe.sites), result.recipe.misses) == (1, ())
    x, experts = torch.randn(15, 6), result.model[0]
    each = torch.arange(5).repeat_interleave(3)[:, None]
    expected = expert_by_expert(result.recipe, experts, x, each, torch.ones(15, 1))
    torch.testing.assert_close(result.model(x), expected, rtol=1e-4, atol=1e-4)


def copy_weights(old: Any, new: Any, recipe: Recipe) -> None:
    """Give every branch the original weights."""
    record = recipe.experts[0]
    into = old.get_parameter(record.expand)
    dim = 2 if record.transposed else 1
    branches, up = branches_of(into.movedim(dim, -1), 1, record.half)
    parts = branches * record.branches
    parts = parts if up is None else [*parts, up] if record.half == 0 else [up, *parts]
    with torch.no_grad():
        new.get_parameter(record.expand).copy_(torch.cat(parts, -1).movedim(-1, dim))
        new.get_parameter(record.project).copy_(old.get_parameter(record.project))


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
@pytest.mark.parametrize("case", CASES)
def test_the_width_is_the_largest_that_every_expert_can_have_within_the_budget(case: str, method: str) -> None:
    model = mixture(case)
    result = rewriter.rewrite(model, method)
    (record,), (site,) = result.recipe.experts, result.recipe.sites
    gated, n = case != "plain" and not case.startswith("plain "), record.branches
    before = 5 * 20 * (6 * (1 + gated) + 6)
    after = lambda hidden: 5 * hidden * (6 * (n + gated) + 6)  # noqa: E731
    coefficients = sum(p.numel() for p in result.model.experts.act.parameters())
    assert site.parameters_before == before
    assert site.parameters_after == after(record.hidden[1]) + coefficients <= before
    assert after(record.hidden[1] + 1) + coefficients > before
    assert count(result.model) - count(model) == site.parameters_after - site.parameters_before


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
@pytest.mark.parametrize("case", CASES)
def test_every_weight_that_a_token_reaches_is_trained(case: str, method: str) -> None:
    model = rewriter.rewrite(mixture(case), method).model
    index = torch.tensor([[0, 2], [2, 4]])
    model.experts(torch.randn(2, 6), index, torch.rand(2, 2)).square().sum().backward()
    for parameter in model.experts.parameters(recurse=False):
        reached = [bool(gradient.any()) for gradient in parameter.grad]
        assert reached == [True, False, True, False, True]
    assert all(parameter.grad is not None for parameter in model.experts.act.parameters())


def test_plain_experts_get_other_activations_and_keep_their_weights() -> None:
    model = mixture("plain")
    result = rewriter.rewrite(model, "swap", activation="mish")
    assert type(result.model.experts) is Experts
    assert torch.equal(result.model.experts.into, model.experts.into)
    model.experts.act = nn.Mish()
    x = torch.randn(4, 6)
    torch.testing.assert_close(result.model(x), model(x))


def test_an_index_beyond_the_last_expert_stands_for_none() -> None:
    experts = rewriter.rewrite(mixture("gate_first"), "hdfgd").model.experts
    x, shares = torch.randn(2, 6), torch.rand(2, 2)
    alone = experts(x, torch.tensor([[1], [4]]), shares[:, :1])
    assert torch.equal(experts(x, torch.tensor([[1, 5], [4, 5]]), shares), alone)


def test_copies_and_pickles_of_rewritten_experts_are_as_complete_as_they() -> None:
    model = rewriter.rewrite(mixture("gate_last"), "sa").model
    x = torch.randn(4, 6)
    for clone in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert type(clone.experts) is type(model.experts)
        assert torch.equal(clone(x), model(x))
        assert clone.experts.into is not model.experts.into


def test_dtype_mode_and_frozen_weights_are_kept() -> None:
    model = mixture("gate_first").to(torch.bfloat16)
    model.experts.out.requires_grad_(False)
    result = rewriter.rewrite(model, "sa")
    experts = result.model.experts
    assert {parameter.dtype for parameter in experts.parameters()} == {torch.bfloat16}
    assert (experts.into.requires_grad, experts.out.requires_grad) == (True, False)
    assert not experts.training
    assert not experts.act.training
    assert result.model(torch.randn(4, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_new_weights_depend_on_seed_and_path_and_are_as_wide_as_a_linears() -> None:
    first, again, other = (
        rewriter.rewrite(mixture("gate_first"), "hdfgd", seed=seed).model.experts for seed in (0, 0, 1)
    )
    assert torch.equal(first.into, again.into)
    assert not torch.equal(first.into, other.into)
    hidden = first.out.shape[2]
    for weight, fan_in in ((first.into, 6), (first.out, hidden)):
        assert 0.9 / math.sqrt(fan_in) < weight.abs().max() <= 1 / math.sqrt(fan_in)


def test_a_recipe_for_other_experts_is_refused() -> None:
    recipe = rewriter.plan(mixture("gate_first"), "hdfgd")
    other = Mixture(Experts(gate_first, width=6, hidden=10, experts=10))
    other.router = nn.Linear(6, 5)
    with pytest.raises(rewriter.UsageError, match="expected 5 packed experts 6→20→6 at experts; found Experts"):
        rewriter.apply(other, recipe)


def test_a_recipe_without_experts_still_reads() -> None:
    recipe = rewriter.plan(nn.Sequential(nn.Linear(4, 9), nn.GELU(), nn.Linear(9, 4)), "hdfgd")
    old = recipe.model_dump(mode="json")
    del old["experts"]
    assert Recipe.model_validate(old) == recipe
