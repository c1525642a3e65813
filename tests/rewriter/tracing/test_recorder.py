from __future__ import annotations

import copy
from types import MethodType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from rewriter.doors import Capture
from tests.models.untraceable import Gates, LoopsOverItsBatch


class InlineMLP(LoopsOverItsBatch):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.expand, self.activation = nn.LayerNorm(8), nn.Linear(8, 16), nn.GELU()
        self.drop, self.project = nn.Dropout(0.1), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return x + self.project(self.drop(self.activation(self.expand(self.norm(x)))))


INPUT = torch.zeros(3, 8)


def miss(capture: Capture, path: str) -> str:
    (reason,) = [miss.reason for miss in capture.misses if miss.path == path]
    return reason


def test_without_inputs_an_mlp_inline_in_untraceable_code_stays_unseen() -> None:
    capture = rewriter.capture(InlineMLP())
    assert capture.sites == ()
    assert "could not be traced" in miss(capture, "activation")


@pytest.mark.parametrize("training", [True, False])
def test_with_inputs_an_mlp_inline_in_untraceable_code_is_a_site(training: bool) -> None:
    capture = rewriter.capture(InlineMLP().train(training), INPUT)
    (site,) = capture.sites
    assert (site.kind, site.path, site.producer, site.consumer) == ("mlp", "activation", "expand", "project")
    assert capture.untraced == ()


def test_an_mlp_in_untraceable_code_is_rewritten_and_the_rest_kept() -> None:
    model = nn.Sequential(nn.Linear(8, 8), InlineMLP())
    result = rewriter.rewrite(model, "hdfgd", example_inputs=INPUT)
    (site,) = result.recipe.sites
    assert site.hidden is not None
    assert type(result.model[1]) is InlineMLP
    assert result.model[1].expand.out_features != 16
    result.model(torch.randn(5, 8)).sum().backward()
    assert result.model[1].project.weight.grad is not None


class DependsOnValues(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum() > 0 else x


class AsksForAnItem(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if x.sum().item() > 0 else x


@pytest.mark.parametrize("kind", [DependsOnValues, AsksForAnItem])
def test_code_whose_way_depends_on_values_keeps_its_reason(kind: type[nn.Module]) -> None:
    model = nn.Sequential(kind(), nn.Linear(8, 8))
    without, given = rewriter.capture(model), rewriter.capture(model, torch.ones(3, 8))
    assert given.sites == without.sites == ()
    for capture in (without, given):
        (untraced,) = capture.untraced
        assert untraced.path == "0"
        assert miss(capture, "0.activation") == f"0 could not be traced ({untraced.reason})"


class AroundValues(Gates):
    def __init__(self) -> None:
        super().__init__()
        self.undecided = DependsOnValues()

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(self.undecided(self.child(x)) * self.child(x))


def test_code_whose_way_depends_on_values_is_one_call_of_the_code_around_it() -> None:
    capture = rewriter.capture(nn.Sequential(AroundValues(), InlineMLP()), INPUT)
    assert [site.path for site in capture.sites] == ["1.activation"]
    assert "is read by DependsOnValues, whose code could not be followed" in miss(capture, "0.child.1")
    assert "0.undecided could not be traced" in miss(capture, "0.undecided.activation")
    assert [untraced.path for untraced in capture.untraced] == ["0.undecided"]


class CallsItsActivationTwice(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(super().forward(x))


def test_an_activation_that_untraceable_code_calls_twice_is_two_sites() -> None:
    model, x = nn.Sequential(CallsItsActivationTwice(), nn.Linear(8, 8)).eval(), torch.randn(3, 8)
    result = rewriter.rewrite(model, "swap", activation="silu", example_inputs=INPUT)
    assert [(site.path, site.producer) for site in result.recipe.sites] == [
        ("0:gelu", "0.expand"),
        ("0:gelu_2", "0.project"),
    ]
    model[0].activation = nn.SiLU()
    torch.testing.assert_close(result.model(x), model(x))


class UsesItsHiddenValueTwice(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        hidden = self.activation(self.expand(x))
        return self.project(hidden) + hidden[:, :8]


@torch.jit.script
def compiled_sum(x: Tensor, y: Tensor) -> Tensor:
    return x + y


class UsesItsHiddenValueInCompiledCode(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        hidden = self.activation(self.expand(x))
        return self.project(hidden) + compiled_sum(hidden, x[:, :1])[:, :8]


class ReadsItsWeight(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.project(self.activation(self.expand(x))) + x @ self.project.weight @ self.expand.weight


class CallsItsLinearTwice(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.expand(x)[:, :8]


@pytest.mark.parametrize(
    "kind", [UsesItsHiddenValueTwice, UsesItsHiddenValueInCompiledCode, ReadsItsWeight, CallsItsLinearTwice]
)
def test_a_layer_that_untraceable_code_uses_elsewhere_too_is_not_resized(kind: type[nn.Module]) -> None:
    (site,) = rewriter.capture(nn.Sequential(kind(), nn.Linear(8, 8)), INPUT).sites
    assert (site.path, site.kind, site.hidden, site.consumer) == ("0.activation", "linear", None, None)


class FunctionalMLP(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.project(F.gelu(self.expand(x)))


def test_an_activation_function_in_untraceable_code_is_rewritten_there() -> None:
    model, x = nn.Sequential(FunctionalMLP(), nn.Linear(8, 8)), torch.randn(5, 8)
    result = rewriter.rewrite(model, "swap", activation="silu", example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["0:gelu"]
    assert [(miss.path, miss.reason) for miss in result.report.misses] == [
        ("0.activation", "its code did not call it on the example inputs")
    ]
    block = model[0]
    torch.testing.assert_close(result.model(x), model[1](block.project(F.silu(block.expand(x)))))


class FunctionalChild(LoopsOverItsBatch):
    class Child(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand, self.project = nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x: Tensor, scale: Tensor | None = None) -> Tensor:
            x = x if scale is None else x * scale
            return self.project(F.gelu(self.expand(x)))

    def __init__(self, *, scaled: bool) -> None:
        super().__init__()
        self.child, self.scaled = self.Child(), scaled

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.child(x, x.mean()) if self.scaled else self.child(x)


@pytest.mark.parametrize("scaled", [True, False])
def test_code_that_is_called_with_optional_arguments_keeps_them(scaled: bool) -> None:
    model, x = nn.Sequential(FunctionalChild(scaled=scaled), nn.Linear(8, 8)), torch.randn(3, 8)
    rewritten = rewriter.rewrite(model, "swap", activation="silu", example_inputs=INPUT).model
    child = model[0].child
    expected = child.project(F.silu(child.expand(x * x.mean() if scaled else x)))
    torch.testing.assert_close(rewritten(x), model[1](expected))
    torch.testing.assert_close(rewritten[0].child(x, torch.tensor(2.0)), child.project(F.silu(child.expand(x * 2))))


class ListsItsOutputs(LoopsOverItsBatch):
    class Child(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gate, self.value = nn.Linear(8, 8), nn.Linear(8, 8)
            self.act, self.other = nn.Sigmoid(), nn.GELU()

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return self.act(self.gate(x)), self.other(self.value(x))

    def __init__(self) -> None:
        super().__init__()
        self.child, self.out = self.Child(), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        gate, value = self.child(x)
        return self.out(value) + gate * x


def test_each_output_of_a_child_keeps_its_own_uses() -> None:
    capture = rewriter.capture(nn.Sequential(ListsItsOutputs(), nn.Linear(8, 8)), INPUT)
    assert [site.path for site in capture.sites] == ["0.child.other"]
    assert "gate" in miss(capture, "0.child.act")
    (site,) = capture.sites
    assert site.consumer == "0.out"


class SharesItsLayer(LoopsOverItsBatch):
    def __init__(self) -> None:
        super().__init__()
        self.layer = InlineMLP()

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.layer(self.layer(x))


def test_an_untraceable_layer_that_runs_twice_is_one_site() -> None:
    (site,) = rewriter.capture(SharesItsLayer(), INPUT).sites
    assert (site.kind, site.path) == ("mlp", "layer.activation")


def test_depth_follows_the_recorded_order_and_not_the_order_of_registration() -> None:
    class Backwards(LoopsOverItsBatch):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Sequential(nn.Linear(8, 8), nn.ReLU())

        def forward(self, x: Tensor) -> Tensor:
            self.pause(x)
            return self.last(self.first(x)).sum(-1)

    assert [site.path for site in rewriter.capture(Backwards()).sites] == ["last.1", "first.1"]
    assert [site.path for site in rewriter.capture(Backwards(), INPUT).sites] == ["first.1", "last.1"]


@pytest.fixture
def counted() -> InlineMLP:
    model = InlineMLP().train()
    model.register_buffer("seen", torch.zeros(3))
    model.calls = []
    model.expand.register_forward_hook(lambda *_: model.calls.append("hook"))
    return model


def test_recording_leaves_the_model_as_it_was(counted: InlineMLP) -> None:
    state, attributes = copy.deepcopy(counted.state_dict()), {m: set(vars(m)) for m in counted.modules()}
    parameters = list(counted.parameters())
    random_state = torch.random.get_rng_state()
    rewriter.capture(counted, INPUT)
    assert counted.training
    assert counted.calls == []
    assert all(torch.equal(state[name], value) for name, value in counted.state_dict().items())
    assert [id(p) for p in counted.parameters()] == [id(p) for p in parameters]
    assert {m: set(vars(m)) for m in counted.modules()} == attributes
    assert [len(m._forward_hooks) for m in counted.modules()].count(1) == 1
    assert not any(m._forward_pre_hooks for m in counted.modules())
    assert torch.equal(torch.random.get_rng_state(), random_state)


def test_weights_on_meta_are_enough() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(8, 8), InlineMLP())
    (site,) = rewriter.capture(model, INPUT).sites
    assert site.kind == "mlp"


def test_inputs_that_the_model_does_not_take_leave_the_symbolic_capture_and_their_reason() -> None:
    capture = rewriter.capture(nn.Sequential(nn.Linear(8, 4), nn.GELU(), nn.Linear(4, 8)), torch.zeros(3, 5))
    assert [site.path for site in capture.sites] == ["1"]
    (untraced,) = capture.untraced
    assert untraced.path == ""
    assert untraced.reason.startswith("it does not run on the example inputs: RuntimeError: ")


class Options(nn.Module):
    """What it computes depends on which arguments it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(6, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor, condition: Tensor | None = None, scale: float = 1.0, hidden: bool = False) -> Any:
        h = F.gelu(self.a(x))
        y = self.b(h) * scale
        if condition is not None:
            y = y + self.d(F.silu(self.c(condition)))
        return (y, h) if hidden else y


CONDITION = torch.zeros(3, 6)


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (INPUT, ["gelu"]),
        ((INPUT, CONDITION), ["gelu", "silu"]),
        ({"x": INPUT, "condition": CONDITION}, ["gelu", "silu"]),
        ((INPUT, None, 2.0), ["gelu"]),
        ({"x": INPUT, "scale": 2.0}, ["gelu"]),
    ],
)
def test_arguments_that_are_given_are_seen_and_defaults_are_not(inputs: Any, found: list[str]) -> None:
    captured = rewriter.capture(Options(), inputs)
    assert captured.untraced == ()
    assert sorted(site.activation.name for site in captured.sites) == found


@pytest.mark.parametrize("inputs", [INPUT, (INPUT, CONDITION), None])
def test_every_way_of_calling_the_model_stays(inputs: Any) -> None:
    model, x, condition = Options(), torch.randn(3, 8), torch.randn(3, 6)
    rewritten = rewriter.rewrite(model, "swap", activation="silu", example_inputs=inputs).model
    expected = model.b(F.silu(model.a(x)))
    torch.testing.assert_close(rewritten(x), expected)
    torch.testing.assert_close(rewritten(x, scale=3.0), 3 * expected)
    torch.testing.assert_close(rewritten(x, condition), expected + model.d(F.silu(model.c(condition))))
    torch.testing.assert_close(rewritten(x, hidden=True)[1], F.silu(model.a(x)))


def test_a_hidden_value_that_is_returned_is_not_resized() -> None:
    captured = rewriter.capture(Options(), {"x": INPUT, "hidden": True})
    assert all(site.hidden is None for site in captured.sites)


def test_the_forward_that_runs_is_the_one_that_is_seen() -> None:
    def patched(self: Options, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.tanh(self.a(x))
        return self.b(h), self.d(h)

    model, x = Options(), torch.randn(3, 8)
    model.forward = MethodType(patched, model)
    captured = rewriter.capture(model, INPUT)
    assert [(site.activation.name, site.hidden) for site in captured.sites] == [("tanh", None)]
    rewritten = rewriter.rewrite(model, "swap", activation="silu", example_inputs=INPUT).model
    h = F.silu(model.a(x))
    torch.testing.assert_close(rewritten(x), (model.b(h), model.d(h)))


class ByMode(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        h = self.expand(x)
        if self.training:
            h = h + 1
        return self.project(F.gelu(h))


@pytest.mark.parametrize("training", [True, False])
def test_code_that_depends_on_the_mode_goes_on_depending_on_it(training: bool) -> None:
    model, x = ByMode().train(training), torch.randn(3, 8)
    rewritten = rewriter.rewrite(model, "swap", activation="silu", example_inputs=INPUT).model
    assert rewritten.training is training
    for mode in (True, False):
        expected = model.project(F.silu(model.expand(x) + (1 if mode else 0)))
        torch.testing.assert_close(rewritten.train(mode)(x), expected)
