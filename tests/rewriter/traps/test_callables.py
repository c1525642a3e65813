"""Activations as plain callables and as classes of the user's own: recognised by what they compute, and replaced."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter


class Mlp(nn.Module):
    """An MLP whose activation is an attribute: a module, a function, or anything else that can be called."""

    def __init__(self, act: Callable[..., Tensor]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(4, 8), nn.Linear(8, 4), act

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class CallsByKeyword(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(input=self.fc1(x)))


@fx.wrap
def wrapped_gelu(x: Tensor) -> Tensor:
    return F.gelu(x)


@fx.wrap
def wrapped_sum(x: Tensor) -> Tensor:
    return x + x.sum()


class Quick(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class ByHand(nn.Module):
    """The tanh form of GELU, written out."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = 0.7978845608

    def forward(self, hidden: Tensor) -> Tensor:
        return 0.5 * hidden * (1 + torch.tanh(self.factor * (hidden + 0.044715 * hidden**3)))


class Holder(nn.Module):
    """A class around a function, as transformers has them."""

    def __init__(self, act: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.act = act

    def forward(self, input: Tensor) -> Tensor:
        return self.act(input)


class Named(nn.GELU):
    """A subclass that changes nothing."""


class _Swish(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        slope = torch.sigmoid(x)
        return gradient * slope * (1 + x * (1 - slope))


class MemoryEfficientSwish(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Swish.apply(x)


class Square(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.square(torch.relu(x))


class InPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.clamp_(min=0)


FUNCTIONS: dict[str, tuple[Callable[..., Tensor], str]] = {
    "function": (F.gelu, "gelu"),
    "lambda": (lambda x: F.gelu(x), "gelu"),
    "partial": (functools.partial(F.gelu, approximate="tanh"), "gelu_tanh"),
    "partial with a parameter": (functools.partial(F.leaky_relu, negative_slope=0.3), "leaky_relu(negative_slope=0.3)"),
    "keyword": (lambda x: F.silu(input=x), "silu"),
    "operator": (torch.ops.aten.gelu, "gelu"),
    "operator overload": (torch.ops.aten.leaky_relu.default, "leaky_relu"),
    "operator with a parameter": (lambda x: torch.ops.aten.gelu(x, approximate="tanh"), "gelu_tanh"),
    "operator in place": (torch.ops.aten.relu_, "relu"),
    "function that fx keeps closed": (wrapped_gelu, "gelu"),
}
CLASSES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "product": (Quick, "quick_gelu"),
    "written out": (ByHand, "gelu_tanh"),
    "around a function": (lambda: Holder(F.silu), "silu"),
    "around a plain function of Python": (lambda: Holder(wrapped_gelu), "gelu"),
    "subclass": (Named, "gelu"),
    "gradient of its own": (MemoryEfficientSwish, "silu"),
    "square": (Square, "squared_relu"),
    "in place": (InPlace, "relu"),
}


@pytest.mark.parametrize("case", FUNCTIONS)
def test_a_callable_attribute_is_recognised_and_replaced(case: str) -> None:
    act, name = FUNCTIONS[case]
    torch.manual_seed(0)
    model, x = nn.Sequential(Mlp(act)), torch.randn(16, 4)
    result = rewriter.rewrite(model, "ga", lifted=False)
    assert [(str(site.activation), site.path, site.kind) for site in result.recipe.sites] == [(name, "0.act", "mlp")]
    torch.testing.assert_close(result.model(x), model(x))
    other = rewriter.rewrite(model, "swap", activation="tanh").model
    torch.testing.assert_close(other(x), model[0].fc2(torch.tanh(model[0].fc1(x))))


@pytest.mark.parametrize("case", CLASSES)
def test_a_class_of_the_users_own_is_recognised_by_its_values_and_replaced_as_a_module(case: str) -> None:
    make, name = CLASSES[case]
    torch.manual_seed(0)
    model, x = nn.Sequential(Mlp(make())), torch.randn(16, 4)
    result = rewriter.rewrite(model, "ga", lifted=False)
    assert [(str(site.activation), site.path) for site in result.recipe.sites] == [(name, "0.act")]
    torch.testing.assert_close(result.model(x), model(x))
    assert type(result.model[0]) is Mlp
    assert rewriter.rewrite(model, "sa", activation="gelu").recipe.sites[0].kind == "mlp"


def test_one_object_of_the_users_own_class_becomes_one_function_for_each_layer() -> None:
    shared = Quick()
    model = nn.Sequential(Mlp(shared), Mlp(shared), Mlp(shared))
    result = rewriter.rewrite(model, "ga")
    assert [site.path for site in result.recipe.sites] == ["0.act", "1.act", "2.act"]
    assert len({id(block.act) for block in result.model}) == 3
    assert [site.placement.function for site in result.recipe.sites][1] == "g[quick_gelu]"


class Remembers(nn.Module):
    """ReLU that keeps what it saw, which a function in its place would not."""

    def forward(self, x: Tensor) -> Tensor:
        self.seen = x
        return torch.relu(x)


class Learned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) * self.slope


class Squeezed(nn.Module):
    """ReLU that also changes the shape."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x).flatten(1).unsqueeze(0).squeeze(0)


class TrainsDifferently(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) if self.training else F.leaky_relu(x)


class OfTheBatch(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) - torch.relu(-x).mean()


NOT_JUST_ACTIVATIONS = [Remembers, Learned, Squeezed, TrainsDifferently, OfTheBatch]


@pytest.mark.parametrize("kind", NOT_JUST_ACTIVATIONS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("training", [True, False])
def test_a_class_that_does_anything_else_is_not_taken_for_an_activation(kind: type[nn.Module], training: bool) -> None:
    model = nn.Sequential(Mlp(kind())).train(training)
    captured = rewriter.capture(model)
    assert all(site.path != "0.act" for site in captured.sites)


class Clipped(nn.Module):
    """ReLU up to 50, where a comparison at small values alone would be misled."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x).clamp(max=50)


def test_a_part_of_a_function_is_not_taken_for_the_whole() -> None:
    (site,) = rewriter.capture(Mlp(Clipped())).sites
    assert (str(site.activation), site.path) == ("hardtanh(min_val=0, max_val=50)", "act")


class Shifted(nn.Module):
    def forward(self, x: Tensor, bias: float = 0.0) -> Tensor:
        return torch.relu(x + bias)


class GivesTwo(Mlp):
    def __init__(self, bias: float) -> None:
        super().__init__(Shifted())
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x), self.bias))


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_a_module_that_is_called_with_two_arguments_still_gets_both(bias: float) -> None:
    model, x = GivesTwo(bias), torch.randn(3, 4)
    for site in rewriter.capture(model).sites:
        assert site.path != "act"
        torch.testing.assert_close(rewriter.rewrite(model, "ga", lifted=False).model(x), model(x))


def test_recognising_a_class_does_not_run_the_users_object() -> None:
    act = Remembers()
    rewriter.capture(Mlp(act))
    assert not hasattr(act, "seen")


def test_a_closed_function_of_another_kind_is_no_activation() -> None:
    assert rewriter.capture(Mlp(wrapped_sum)).sites == ()


@pytest.mark.parametrize("method", ["ga", "sa", "swap"])
def test_an_activation_called_by_keyword_is_replaced(method: str) -> None:
    model = nn.Sequential(CallsByKeyword(nn.GELU()), nn.Linear(4, 4))
    result = rewriter.rewrite(model, method)
    assert [site.kind for site in result.recipe.sites] == ["mlp"]
    assert result.model(torch.randn(3, 4)).shape == (3, 4)
