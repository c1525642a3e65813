"""Packed experts are recognised by what their code computes, and refused with a reason when it is something else."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter
from rewriter.packed_experts import PackedExperts
from tests.models.experts import (
    Experts,
    Mixture,
    SortedExperts,
    activated_product,
    clamped,
    gate_first,
    gate_last,
    interleaved,
    plain,
    shifted,
)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(
    ("meet", "kind", "half"), [(plain, "mlp", None), (gate_first, "gated", 0), (gate_last, "gated", 1)]
)
@pytest.mark.parametrize(("width", "hidden", "experts"), [(6, 20, 5), (6, 6, 5), (6, 3, 6), (40, 20, 40)])
def test_experts_are_one_site_whose_weights_are_understood(
    meet: Any, kind: str, half: int | None, transposed: bool, width: int, hidden: int, experts: int
) -> None:
    packed = Experts(meet, width=width, hidden=hidden, experts=experts, transposed=transposed)
    (site,) = rewriter.capture(Mixture(packed, width, experts)).sites
    assert (site.kind, site.path, site.producer) == (kind, "experts.act", "experts")
    assert site.hidden == PackedExperts("into", "out", transposed, half, experts, width, hidden, width)


@pytest.mark.parametrize("meet", [clamped, shifted, activated_product, interleaved])
def test_another_gate_is_a_miss_that_says_so(meet: Any) -> None:
    captured = rewriter.capture(Mixture(Experts(meet)))
    assert captured.sites == ()
    (miss,) = (miss for miss in captured.misses if miss.function != "softmax")
    assert (miss.path, miss.function) == ("experts.act", "silu")
    assert "they compute neither project(act(expand(x))) nor" in miss.reason


class Biased(Experts):
    def __init__(self) -> None:
        super().__init__(plain)
        self.bias = nn.Parameter(torch.zeros(5, 20))


class Normed(Experts):
    def __init__(self) -> None:
        super().__init__(plain)
        self.norm = nn.LayerNorm(6)


class OtherArguments(Experts):
    def forward(self, x: Tensor, index: Tensor, weights: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x, index, weights)


class Careless(Experts):
    """Can only be run on weights of its own size."""

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        return super().forward(hidden_states.view(-1, 6), top_k_index, top_k_weights)


class Functional(Experts):
    def __init__(self) -> None:
        super().__init__(lambda act, values: torch.relu(values))
        del self.act
        self.act = None


def hooked() -> Experts:
    experts = Experts(plain)
    experts.act.register_forward_hook(lambda *_: None)
    return experts


def patched() -> Experts:
    experts = Experts(plain)
    experts.forward = lambda *arguments: Experts.forward(experts, *arguments)  # type: ignore[method-assign]
    return experts


REFUSED = {
    "their forward was replaced": patched,
    "bias besides two weights": Biased,
    "norm besides two weights": Normed,
    "they take x, index, weights": lambda: OtherArguments(plain),
    "cannot be run on small weights": lambda: Careless(plain),
    "their activation is no module": Functional,
    "their activation has hooks or parameters": hooked,
}


@pytest.mark.parametrize("reason", REFUSED)
def test_experts_of_another_build_are_a_miss_that_says_so(reason: str) -> None:
    captured = rewriter.capture(Mixture(REFUSED[reason]()))
    assert captured.sites == ()
    assert reason in captured.misses[0].reason
    assert captured.misses[0].path.startswith("experts")


def test_experts_that_can_be_traced_and_have_another_gate_are_a_miss_of_the_graph() -> None:
    captured = rewriter.capture(nn.Sequential(SortedExperts(shifted)))
    assert captured.sites == ()
    assert [miss.path for miss in captured.misses] == ["0.act"]


def test_experts_that_are_the_whole_model_are_no_site() -> None:
    captured = rewriter.capture(Experts(gate_first))
    assert captured.sites == ()
    assert [miss.path for miss in captured.misses] == ["act"]


def test_tied_experts_are_not_resized() -> None:
    first, second = Experts(gate_first), Experts(gate_first)
    second.into = first.into
    captured = rewriter.capture(nn.Sequential(Mixture(first), Mixture(second)))
    assert [site.hidden for site in captured.sites] == [None, None]
    assert all("is tied to another module" in str(site.not_an_mlp) for site in captured.sites)


@pytest.mark.parametrize("method", ["ga", "swap", "eafo"])
def test_methods_that_change_activations_only_leave_gated_experts_alone(method: str) -> None:
    with pytest.raises(rewriter.NoSiteError, match="it is the gate of a gated MLP"):
        rewriter.plan(Mixture(Experts(gate_first)), method)


def test_recognising_experts_needs_no_weights_and_leaves_no_trace() -> None:
    model = Mixture(Experts(gate_first, width=512, hidden=700, experts=24), 512, 24)
    state, before = torch.random.get_rng_state(), dict(vars(model.experts))
    recipe = rewriter.plan(model, "hdfgd")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert dict(vars(model.experts)) == before
    assert rewriter.plan(model.to("meta"), "hdfgd") == recipe


def test_depth_orders_experts_as_the_model_calls_them() -> None:
    model = nn.Sequential(*(Mixture(Experts(gate_first)) for _ in range(3)))
    recipe = rewriter.plan(model, "sa")
    assert [(site.path, site.rank) for site in recipe.sites] == [(f"{i}.experts.act", 2 - i) for i in range(3)]
    assert [site.placement.function for site in recipe.sites] == ["silu/2", "A[silu/2]", "silu/2"]


def test_depth_orders_experts_whose_kernel_can_be_traced() -> None:
    model = nn.Sequential(*(SortedExperts(gate_first) for _ in range(3)))
    recipe = rewriter.plan(model, "sa")
    assert [(site.path, site.rank) for site in recipe.sites] == [(f"{i}.act", 2 - i) for i in range(3)]


def test_understood_experts_are_not_reported_as_not_captured() -> None:
    recipe = rewriter.plan(Mixture(Experts(gate_first)), "hdfgd")
    assert {miss.function for miss in recipe.misses} == {"softmax"}  # the router's


class Chosen(nn.ModuleDict):
    """Experts with modules of their own, called only when a token is routed to them."""

    def __init__(self, count: int) -> None:
        layers = (nn.Sequential(nn.Linear(6, 20), nn.GELU(), nn.Linear(20, 6)) for _ in range(count))
        super().__init__({f"expert_{number}": layer for number, layer in enumerate(layers)})

    def forward(self, x: Tensor, index: Tensor, weights: Tensor) -> Tensor:
        total = torch.zeros_like(x)
        for expert in index.unique().tolist():
            token, place = torch.where(index == expert)
            total = total.index_add(0, token, self[f"expert_{expert}"](x[token]) * weights[token, place, None])
        return total


@pytest.mark.parametrize("method", ["ga", "hdfgd", "sa"])
def test_experts_with_modules_of_their_own_are_one_site_each_and_share_a_choice(method: str) -> None:
    model = nn.Sequential(Mixture(Chosen(5)), Mixture(Chosen(5)))
    result = rewriter.rewrite(model, method, example_inputs=torch.randn(4, 6))
    assert {site.path for site in result.recipe.sites} == {
        f"{i}.experts.expert_{k}.1" for i in (0, 1) for k in range(5)
    }
    assert [site.rank for site in result.recipe.sites] == [1] * 5 + [0] * 5


def test_experts_without_a_routed_token_have_no_gradient_and_the_others_have() -> None:
    model = rewriter.rewrite(Mixture(Chosen(5)), "hdfgd").model
    index = torch.tensor([[0, 3], [3, 0]])
    model.experts(torch.randn(2, 6), index, torch.rand(2, 2)).square().sum().backward()
    reached = [all(p.grad is not None for p in expert.parameters()) for expert in model.experts.values()]
    assert reached == [True, False, False, True, False]
