from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

import rewriter
from passes.anneal import Start, begin_anneal
from passes.functions import activation
from rewriter.errors import UsageError
from rewriter.recipe import Recipe

X = torch.linspace(-4, 4, 48).reshape(8, 6)


class Called(nn.Module):
    """Calls its activation as a function."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 24), nn.Linear(24, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(x)))


class Gated(nn.Module):
    """A packed SwiGLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 48), nn.Linear(24, 6)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.first(x).chunk(2, dim=-1)
        return self.second(self.act(gate) * up)


def mlp(act: nn.Module) -> nn.Sequential:
    torch.manual_seed(0)
    blocks = [nn.Sequential(nn.Linear(6, 24), copy.deepcopy(act), nn.Linear(24, 6)) for _ in range(2)]
    return nn.Sequential(*blocks).eval()


@pytest.mark.parametrize("method", ["swap", "ga", "eafo"])
@pytest.mark.parametrize("act", [nn.ReLU(inplace=True), nn.GELU("tanh"), nn.Tanh(), nn.LeakyReLU(0.3)])
def test_it_is_the_original_bit_for_bit_at_0_and_the_function_bit_for_bit_at_1(method: str, act: nn.Module) -> None:
    original = mlp(act)
    result = rewriter.rewrite(original, method)
    with torch.no_grad():
        before, plain = original(X), result.model(X)
        assert not torch.equal(before, plain)
        with begin_anneal(result.model, result.recipe, 10) as anneal:
            assert torch.equal(result.model(X), before)
            anneal.at(10)
            assert torch.equal(result.model(X), plain)
        assert torch.equal(result.model(X), plain)


def test_half_way_it_is_the_mean_of_both() -> None:
    result = rewriter.rewrite(nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 1)), "swap", activation="tanh")
    anneal = begin_anneal(result.model, result.recipe, 4)
    anneal.at(2)
    with torch.no_grad():
        torch.testing.assert_close(result.model[1](X), (torch.relu(X) + torch.tanh(X)) / 2)


def test_a_call_in_a_modules_own_code_is_annealed_too() -> None:
    torch.manual_seed(0)
    original = Called().eval()
    result = rewriter.rewrite(original, "swap")
    with torch.no_grad():
        with begin_anneal(result.model, result.recipe, 3):
            assert torch.equal(result.model(X), original(X))
        assert not torch.equal(result.model(X), original(X))


def test_equal_branches_start_as_the_original() -> None:
    torch.manual_seed(0)
    original = mlp(nn.GELU("tanh"))
    result = rewriter.rewrite(original, "sa", terms=3, width="keep")
    with torch.no_grad():
        for block, old in zip(result.model, original, strict=True):
            for new, before in zip(block[0].parameters(), old[0].parameters(), strict=True):
                new.copy_(torch.cat([before] * 3))
            for new, before in zip(block[2].parameters(), old[2].parameters(), strict=True):
                new.copy_(before)
        with begin_anneal(result.model, result.recipe, 5) as anneal:
            torch.testing.assert_close(result.model(X), original(X), rtol=1e-6, atol=1e-6)
            anneal.at(5)
            assert not torch.allclose(result.model(X), original(X), atol=1e-2)


def test_branches_that_differ_start_from_the_original_of_their_mean() -> None:
    branches = [torch.randn(5, 7) for _ in range(3)]
    start = Start(nn.GELU(), 3, -1, turned=False)
    torch.testing.assert_close(start(torch.cat(branches, -1)), nn.functional.gelu(sum(branches) / 3))


def test_a_packed_gate_is_annealed() -> None:
    torch.manual_seed(0)
    result = rewriter.rewrite(Gated().eval(), "sa", width="keep")
    with torch.no_grad():
        plain = result.model(X)
        with begin_anneal(result.model, result.recipe, 5):
            assert not torch.equal(result.model(X), plain)
        assert torch.equal(result.model(X), plain)


def test_the_state_dict_and_the_modules_stay_those_of_the_rewritten_model() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap")
    names, modules = list(result.model.state_dict()), [type(module) for module in result.model.modules()]
    with begin_anneal(result.model, result.recipe, 5):
        assert list(result.model.state_dict()) == names
        assert [type(module) for module in result.model.modules()] == modules
    assert all(not module._forward_hooks for module in result.model.modules())


def test_parameters_of_the_function_have_a_gradient_from_the_first_step() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap")
    anneal = begin_anneal(result.model, result.recipe, 10)
    result.model(X).sum().backward()
    epsilon = result.model[0][1].epsilon
    assert epsilon.grad is not None  # distributed data parallelism waits for every parameter
    epsilon.grad = None
    anneal.at(1)
    result.model(X).sum().backward()
    assert float(epsilon.grad.abs()) > 0


def test_a_trained_prelu_starts_with_its_own_slopes() -> None:
    original = mlp(nn.PReLU(24))
    with torch.no_grad():
        original[0][1].weight.uniform_(0, 1)
    result = rewriter.rewrite(original, "swap")
    with torch.no_grad(), begin_anneal(result.model, result.recipe, 5, original=original):
        assert torch.equal(result.model(X), original(X))
    with pytest.raises(UsageError, match="pass original=model"):
        begin_anneal(result.model, result.recipe, 5)


def test_no_steps_are_no_anneal() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap")
    anneal = begin_anneal(result.model, result.recipe, 0)
    anneal.at(0)
    assert anneal.weight == 1


def test_another_model_is_refused() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap")
    with pytest.raises(UsageError, match="one rewrite"):
        begin_anneal(nn.Linear(2, 2), result.recipe, 5)


def test_an_annealed_model_exports_as_the_plain_function_after_the_end() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap", activation="gelu")
    with begin_anneal(result.model, result.recipe, 2):
        pass
    assert isinstance(result.model[0][1], type(activation("gelu")))
    program = torch.export.export(result.model, (X,))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(X), result.model(X))


class Hardshrunk(nn.Module):
    """Calls a function without a formula."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.hardshrink(x)


def recorded_as(recipe: Recipe, text: str, **changes: object) -> Recipe:
    """The recipe, had the original activations been others."""
    sites = tuple(site.model_copy(update={"activation": text, **changes}) for site in recipe.sites)
    return recipe.model_copy(update={"sites": sites})


def test_a_formula_is_where_it_starts() -> None:
    result = rewriter.rewrite(mlp(nn.ReLU()), "swap")
    with torch.no_grad(), begin_anneal(result.model, recorded_as(result.recipe, "x*sigmoid(2*x)"), 5):
        torch.testing.assert_close(result.model[0][1](X), X * torch.sigmoid(2 * X))


def test_a_module_without_a_formula_is_taken_from_the_original_model() -> None:
    result, original = rewriter.rewrite(mlp(nn.ReLU()), "swap"), mlp(Hardshrunk())
    recipe = recorded_as(result.recipe, "hardshrink")
    with torch.no_grad(), begin_anneal(result.model, recipe, 5, original=original):
        assert torch.equal(result.model(X), original(X))
    with pytest.raises(UsageError, match=r"expected the original model, which has the hardshrink at 0\.1"):
        begin_anneal(result.model, recipe, 5)


def test_a_call_without_a_formula_cannot_be_annealed() -> None:
    result = rewriter.rewrite(Called(), "swap")
    with pytest.raises(UsageError, match="found the hardshrink that is called at"):
        begin_anneal(result.model, recorded_as(result.recipe, "hardshrink"), 5, original=Called())
