"""Addresses: which one call a recipe means, and calls that no address tells apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter
from tests.models.written import REPLACEMENT

INPUT = torch.zeros(2, 4)


class Mlps(nn.Module):
    """Three MLPs with one code for their activations."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.ModuleList([nn.Linear(4, 8) for _ in range(3)])
        self.out = nn.ModuleList([nn.Linear(8, 4) for _ in range(3)])

    def with_function(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """What they compute, each with an activation."""
        for into, out in zip(self.into, self.out, strict=True):
            x = out(function(into(x)))
        return x


class Loop(Mlps):
    def forward(self, x: Tensor) -> Tensor:
        for into, out in zip(self.into, self.out, strict=True):
            x = out(F.gelu(into(x)))
        return x


class LoopByIndex(Mlps):
    def forward(self, x: Tensor) -> Tensor:
        for i in range(len(self.into)):
            h = self.into[i](x)
            x = self.out[i](F.gelu(h))
        return x


class While(Mlps):
    def forward(self, x: Tensor) -> Tensor:
        i = 0
        while i < 3:
            h = F.gelu(self.into[i](x))
            x, i = self.out[i](h), i + 1
        return x


class OneByOne(Mlps):
    def forward(self, x: Tensor) -> Tensor:
        x = self.out[0](F.gelu(self.into[0](x)))
        x = self.out[1](F.gelu(self.into[1](x)))
        return self.out[2](F.gelu(self.into[2](x)))


def clamped(x: Tensor) -> Tensor:
    return x.clamp(-0.3, 0.3)


@pytest.mark.parametrize("inputs", [INPUT, None], ids=["recorded", "traced"])
@pytest.mark.parametrize("kind", [Loop, LoopByIndex])
def test_each_turn_of_a_loop_over_layers_has_an_address(kind: type[Mlps], inputs: Tensor | None) -> None:
    model, x = kind(), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=inputs)
    assert [site.path for site in result.recipe.sites] == ["(model):gelu[0]", "(model):gelu[1]", "(model):gelu[2]"]
    assert [site.producer for site in result.recipe.sites] == ["into.0", "into.1", "into.2"]
    torch.testing.assert_close(result.model(x), model.with_function(clamped, x))


def test_calls_that_are_written_one_by_one_have_names_of_their_own() -> None:
    model, x = OneByOne(), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, exclude=["*gelu_2"])
    assert [site.path for site in result.recipe.sites] == ["(model):gelu", "(model):gelu_3"]
    first, second, third = model.into
    x1 = model.out[0](clamped(first(x)))
    torch.testing.assert_close(result.model(x), model.out[2](clamped(third(model.out[1](F.gelu(second(x1)))))))


def test_a_loop_whose_turns_depend_on_a_variable_is_refused_with_that_reason() -> None:
    captured = rewriter.capture(While(), INPUT)
    assert captured.sites == ()
    assert {miss.reason for miss in captured.misses} == {
        "(model):gelu serves several layers, which one replacement would tie together"
    }


class Leaves(Mlps):
    """Leaves out the last turns when it is told to, or while training."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 3

    def forward(self, x: Tensor) -> Tensor:
        for i, (into, out) in enumerate(zip(self.into, self.out, strict=True)):
            if self.training and i == 1:
                continue
            x = out(F.gelu(into(x)))
        return x


def test_turns_that_training_leaves_out_are_refused() -> None:
    assert rewriter.capture(Leaves().eval(), INPUT).sites == ()


class Child(nn.Module):
    def __init__(self, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(4, 8), nn.Linear(8, 4), activation

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        h = self.fc1(x)
        return self.fc2(F.silu(h) if self.act is None else self.act(h)) * scale


def test_a_call_in_the_code_of_a_child_is_named_by_the_child() -> None:
    model, x = nn.Sequential(Child(), Child(nn.SiLU())), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["0:silu", "1.act"]
    assert type(result.model[1]) is Child
    for child in model:
        child.act = nn.Hardtanh(-0.3, 0.3)
    torch.testing.assert_close(result.model(x), model(x))
    torch.testing.assert_close(result.model[0](x, scale=3.0), model[0](x, scale=3.0))


def test_a_child_that_is_called_twice_has_one_address() -> None:
    child, x = Child(), torch.randn(3, 4)
    result = rewriter.rewrite(nn.Sequential(child, child), "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["0:silu"]
    child.act = nn.Hardtanh(-0.3, 0.3)
    torch.testing.assert_close(result.model(x), child(child(x)))


def test_a_graph_module_inside_a_model_is_edited_as_a_graph() -> None:
    child, x = fx.symbolic_trace(Child()), torch.randn(3, 4)
    model = nn.Sequential(child, Child(nn.SiLU()))
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["0:silu", "1.act"]
    assert isinstance(result.model[0], fx.GraphModule)
    expected = Child(nn.Hardtanh(-0.3, 0.3))
    expected.load_state_dict(child.state_dict())
    torch.testing.assert_close(result.model[0](x), expected(x))
    assert any(node.target is F.silu for node in child.graph.nodes)


def test_hooks_on_the_owner_of_an_edited_call_stay() -> None:
    model, seen = nn.Sequential(Child()), list[str]()
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    result.model(torch.randn(3, 4))
    assert "after" in seen


def test_an_activation_module_with_hooks_is_refused() -> None:
    model = nn.Sequential(Child(nn.SiLU()))
    model[0].act.register_forward_hook(lambda *_: None)
    captured = rewriter.capture(model, INPUT)
    assert captured.sites == ()
    assert [miss.reason for miss in captured.misses] == [
        "the activation module has hooks, which its replacement would lose"
    ]
