from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.calibration import observe
from rewriter.errors import UsageError
from rewriter.sites import match
from rewriter.tracing import trace


class Functional(nn.Module):
    """Its activations are calls in its own code: one in place, one spelled as a product, one with a keyword."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.inner = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2))

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu_(self.first(x))
        b = self.second(a)
        c = b * torch.sigmoid(b)
        return self.inner(F.gelu(input=self.third(c)))


class Convolution(nn.Module):
    """Convolution, norm, activation, and a dropout that is random in evaluation too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU()
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.act(self.norm(self.conv(x))))
        return self.head(F.dropout(hidden, 0.5, training=True).mean((2, 3)))


def samples(model: nn.Module, calibration: Any) -> dict[str, Tensor]:
    traced = trace(model)
    observed = observe(traced, match(traced).sites, calibration)
    return {str(site.activation): site.samples for site in observed if site.samples is not None}


def test_what_enters_every_activation_is_seen_whether_module_or_call() -> None:
    model, x = Functional(), torch.randn(6, 3)
    with torch.no_grad():
        first = model.first(x)
        second = model.second(first.relu())
        third = model.third(F.silu(second))
        expected = {"relu": first, "silu": second, "gelu": third, "tanh": model.inner[0](F.gelu(third))}
    found = samples(model, [x[:4], x[4:]])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert torch.allclose(found[name], values.flatten(), atol=1e-6), name


def test_after_a_norm_the_norms_output_is_seen_as_in_evaluation() -> None:
    model = Convolution()
    model.norm.running_mean += 3.0
    x = torch.randn(2, 1, 6, 6)
    (found,) = samples(model, [x]).values()
    with torch.no_grad():
        assert torch.equal(found, model.norm.eval()(model.conv(x)).flatten())


@pytest.mark.parametrize("training", [True, False])
def test_code_and_mode_of_a_model_whose_code_calls_the_activation_are_as_before(training: bool) -> None:
    model = Functional().train(training)
    kind, attributes = type(model), set(vars(model))
    samples(model, [torch.ones(2, 3)])
    assert type(model) is kind
    assert set(vars(model)) == attributes
    assert [module.training for module in model.modules()] == [training] * len(list(model.modules()))


def test_model_and_random_state_are_as_before() -> None:
    model = Convolution()
    model.norm.eval()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    samples(model, [torch.randn(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))])
    assert torch.equal(torch.rand(1), drawn)
    assert [module.training for module in model.modules()] == [True, True, False, True, True, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_inputs_are_left_alone_by_code_that_overwrites_them() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.act = nn.Linear(3, 4), nn.Linear(4, 3), nn.Tanh()

        def forward(self, x: Tensor) -> Tensor:
            x.mul_(2)
            return self.second(self.act(self.first(x))) + self.second(torch.relu(self.first(x)))

    model = Overwriting()
    expected = model.first(torch.full((1, 3), 2.0)).detach().flatten()
    found = samples(model, [torch.ones(1, 3)])
    assert torch.allclose(found["relu"], expected)
    assert torch.allclose(found["tanh"], expected)


@pytest.mark.parametrize("inputs", [torch.ones(2, 3), (torch.ones(2, 3),), [torch.ones(2, 3)], {"x": torch.ones(2, 3)}])
def test_inputs_are_tensors_tuples_or_keyword_dicts(inputs: Any) -> None:
    assert samples(Functional(), iter([inputs]))["relu"].numel() == 8


def test_an_activation_that_is_never_reached_has_no_samples() -> None:
    class Branch(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = (nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x) if x.shape[0] < 9 else self.unused(x)

    traced = trace(Branch())
    found = observe(traced, match(traced).sites, [torch.ones(2, 3)])
    assert {site.path: site.samples is not None and site.samples.numel() for site in found} == {
        "used.1": 6,
        "unused.1": 0,
    }


@pytest.mark.parametrize(
    ("calibration", "message"),
    [
        ([], "at least one calibration input"),
        (torch.ones(2, 3), "an iterable of calibration inputs; found one Tensor"),
        ({"x": torch.ones(2, 3)}, "an iterable of calibration inputs; found one dict"),
        ([torch.ones(2, 7)], "inputs that the model runs on; found RuntimeError"),
        ([{"y": torch.ones(2, 3)}], "inputs that the model runs on; found TypeError"),
        ([torch.full((2, 3), torch.nan)], "finite values at"),
    ],
)
def test_bad_inputs_are_refused_and_the_model_is_left_clean(calibration: Any, message: str) -> None:
    model = Functional()
    with pytest.raises(UsageError, match=message) as refused:
        samples(model, calibration)
    assert "\n" not in str(refused.value)
    assert all(module.training and not module._forward_pre_hooks for module in model.modules())
