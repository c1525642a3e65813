from __future__ import annotations

import copy

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
    assert given.misses == without.misses
    assert [u.path for u in given.untraced] == ["0"]


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
    assert "gate" in miss(capture, "0.child.1")
    assert "0.undecided could not be traced" in miss(capture, "0.undecided.activation")
    assert [untraced.path for untraced in capture.untraced] == ["0.undecided"]


class CallsItsActivationTwice(InlineMLP):
    def forward(self, x: Tensor) -> Tensor:
        return self.activation(super().forward(x))


def test_an_activation_that_untraceable_code_calls_twice_is_refused() -> None:
    capture = rewriter.capture(nn.Sequential(CallsItsActivationTwice(), nn.Linear(8, 8)), INPUT)
    assert capture.sites == ()
    assert any("more than one call of a module in code that could not be traced: 0" in m.reason for m in capture.misses)


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


def test_an_activation_function_in_untraceable_code_is_a_miss_with_that_reason() -> None:
    capture = rewriter.capture(nn.Sequential(FunctionalMLP(), nn.Linear(8, 8)), INPUT)
    reasons = [miss.reason for miss in capture.misses if miss.function == "gelu"]
    assert any(reason.startswith("it is a function call in code that could not be traced: 0") for reason in reasons)
    assert any("did not call it" in reason for reason in reasons)


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


def test_an_activation_function_in_a_traceable_child_of_untraceable_code_is_rewritten() -> None:
    model = nn.Sequential(FunctionalChild(scaled=False), nn.Linear(8, 8))
    result = rewriter.rewrite(model, "hdfgd", example_inputs=INPUT)
    assert [site.owner for site in result.recipe.sites] == ["0.child"]
    assert result.model(torch.randn(3, 8)).shape == (3, 8)


def test_code_that_is_called_with_more_than_its_graph_takes_is_not_replaced_by_a_graph() -> None:
    capture = rewriter.capture(nn.Sequential(FunctionalChild(scaled=True), nn.Linear(8, 8)), INPUT)
    assert capture.sites == ()
    assert "called in 2 different ways" in miss(capture, "0.child:2")


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


def test_inputs_that_the_model_does_not_take_leave_the_symbolic_capture() -> None:
    capture = rewriter.capture(InlineMLP(), torch.zeros(3, 5))
    assert [untraced.path for untraced in capture.untraced] == [""]
