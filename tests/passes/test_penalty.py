from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import rewriter
from passes.layers import SplitAdversarial
from passes.penalty import adversarial_parameters, adversarial_penalty, parameter_groups


def rewritten(method: str = "sa") -> rewriter.Result:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 24), nn.Tanh(), nn.Linear(24, 6)) for _ in range(4)]
    return rewriter.rewrite(nn.Sequential(*blocks), method)


def test_the_branches_are_what_the_adversarial_functions_compute_from() -> None:
    result = rewritten()
    model = result.model
    odd = [model[0], model[2]]
    assert all(isinstance(block[1], SplitAdversarial) for block in odd)
    expected = {id(p) for block in odd for layer in (block[0], block[1]) for p in layer.parameters()}
    assert {id(p) for p in adversarial_parameters(model, result.recipe)} == expected


def test_every_parameter_is_in_one_group() -> None:
    result = rewritten()
    branches, others = parameter_groups(result.model, result.recipe)
    assert branches["weight_decay"] == 0.05
    assert "weight_decay" not in others
    ids = [id(p) for group in (branches, others) for p in group["params"]]
    assert sorted(ids) == sorted(id(p) for p in result.model.parameters())


def test_the_gradient_of_the_penalty_is_the_strength_times_the_weight() -> None:
    result = rewritten()
    adversarial_penalty(result.model, result.recipe, 0.08).backward()
    penalised = {id(p) for p in adversarial_parameters(result.model, result.recipe)}
    for parameter in result.model.parameters():
        if id(parameter) in penalised:
            torch.testing.assert_close(parameter.grad, 0.08 * parameter.detach())
        else:
            assert parameter.grad is None


def test_weight_decay_and_loss_term_train_alike() -> None:
    decayed, penalised = rewritten(), rewritten()
    x = torch.randn(9, 6, generator=torch.Generator().manual_seed(1))
    groups = parameter_groups(decayed.model, decayed.recipe, 0.15)
    for result, optimizer, strength in (
        (decayed, torch.optim.SGD(groups, 0.1), 0.0),
        (penalised, torch.optim.SGD(penalised.model.parameters(), 0.1), 0.15),
    ):
        for _ in range(3):
            optimizer.zero_grad()
            loss = result.model(x).square().mean() + adversarial_penalty(result.model, result.recipe, strength)
            loss.backward()
            optimizer.step()
    for one, other in zip(decayed.model.parameters(), penalised.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_branches_in_rewritten_code_are_found() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(6, 24), nn.Linear(24, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(nn.functional.silu(self.first(x)))

    result = rewriter.rewrite(nn.Sequential(Block(), Block()), "sa")
    found = {id(p) for p in adversarial_parameters(result.model, result.recipe)}
    assert {id(p) for p in result.model[0].first.parameters()} < found
    assert not {id(p) for p in result.model[1].parameters()} & found


def test_a_model_without_adversarial_branches_has_no_penalty() -> None:
    result = rewritten("hdfgd")
    assert float(adversarial_penalty(result.model, result.recipe)) == 0.0
    (others,) = parameter_groups(result.model, result.recipe)
    assert len(others["params"]) == len(list(result.model.parameters()))


def test_a_half_precision_penalty_does_not_overflow() -> None:
    result = rewritten()
    with torch.no_grad():
        result.model[0][0].weight.fill_(1000.0)
    assert adversarial_penalty(result.model.half(), result.recipe).isfinite()


def test_another_model_is_refused() -> None:
    result = rewritten()
    with pytest.raises(rewriter.UsageError, match="2 split adversarial functions; found a Linear with 0"):
        parameter_groups(nn.Linear(2, 2), result.recipe)
    wrapped = nn.Sequential(copy.deepcopy(result.model))
    with pytest.raises(rewriter.UsageError, match=r"pass the rewritten model itself"):
        adversarial_penalty(wrapped, result.recipe)
