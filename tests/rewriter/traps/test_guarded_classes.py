"""Classes that refuse to be copied or changed, and classes that change themselves while they run."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Frozen(Mlp):
    """Refuses to have attributes set once it is made."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)["frozen"] = True

    def __setattr__(self, name: str, value: Any) -> None:
        if vars(self).get("frozen"):
            raise AttributeError("this model is frozen")
        super().__setattr__(name, value)


@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_class_that_refuses_new_parts_is_named_and_nothing_is_changed(method: str) -> None:
    model = nn.Sequential(Mlp(), Frozen())
    modules, x = list(model.modules()), torch.randn(2, 4)
    expected = model(x)
    assert len(rewriter.plan(model, method).sites) == 2
    with pytest.raises(rewriter.UsageError, match=r"a Frozen whose \w+ can be replaced.*this model is frozen.*exclude"):
        rewriter.rewrite(model, method, inplace=True)
    assert list(model.modules()) == modules
    assert torch.equal(model(x), expected)


def test_what_does_not_refuse_is_rewritten_when_the_rest_is_excluded() -> None:
    result = rewriter.rewrite(nn.Sequential(Mlp(), Frozen()), "sa", exclude="1.*")
    assert [site.path for site in result.recipe.sites] == ["0.act"]


class Watched(Mlp):
    """Notes every attribute that is set, and hands it on."""

    def __setattr__(self, name: str, value: Any) -> None:
        vars(self).setdefault("log", []).append(name)
        super().__setattr__(name, value)


def test_a_class_that_watches_its_attributes_sees_the_replacement() -> None:
    model = Watched()
    vars(model)["log"] = []
    rewriter.rewrite(model, "ga", inplace=True)
    assert set(model.log) == {"act"}


class CopiesItself(Mlp):
    def __deepcopy__(self, memo: dict[int, Any]) -> CopiesItself:
        return self


class Uncopied(Mlp):
    def __deepcopy__(self, memo: dict[int, Any]) -> Uncopied:
        raise TypeError("there is only one")


@pytest.mark.parametrize(
    ("kind", "found"), [(CopiesItself, "CopiesItself, of which the copy is the original"), (Uncopied, "only one")]
)
def test_a_model_whose_copy_is_no_copy_is_refused_rather_than_changed(kind: type[Mlp], found: str) -> None:
    model = nn.Sequential(kind(), nn.Linear(4, 4))
    modules = list(model.modules())
    with pytest.raises(rewriter.UsageError, match=f"{found}; work on it with inplace=True"):
        rewriter.rewrite(model, "sa")
    assert list(model.modules()) == modules
    assert rewriter.rewrite(model, "sa", inplace=True).model is model


class Slotted(Mlp):
    __slots__ = ("extra",)

    def __init__(self) -> None:
        super().__init__()
        self.extra = 3


class Indexed(Mlp):
    """Has an attribute that fails until the model has run."""

    @property
    def last(self) -> Tensor:
        raise RuntimeError("run the model first")


class GetsByName(nn.Module):
    """Finds its layers by name at run time."""

    def __init__(self) -> None:
        super().__init__()
        for i in range(3):
            self.add_module(f"layer_{i}", nn.Linear(4, 4))
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        for i in range(2):
            x = self.act(getattr(self, f"layer_{i}")(x))
        return self.layer_2(x)


@pytest.mark.parametrize("kind", [Slotted, Indexed, GetsByName])
def test_unusual_classes_are_rewritten_and_stay_what_they_are(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(kind(), nn.Linear(4, 4)), torch.randn(3, 4)
    result = rewriter.rewrite(model, "swap", activation="gelu_tanh")
    assert type(result.model[0]).__name__ == kind.__name__
    torch.testing.assert_close(result.model(x), model(x), atol=1e-3, rtol=1e-3)


def test_slots_which_torch_does_not_copy_are_kept_in_place() -> None:
    assert not hasattr(copy.deepcopy(Slotted()), "extra")
    assert rewriter.rewrite(Slotted(), "sa", inplace=True).model.extra == 3


class MakesABuffer(Mlp):
    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.full((4,), 2.0))
        return super().forward(x) * self.scale


class MakesABufferByHand(nn.Module):
    """Its activation is functional, in the code that makes a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        if not hasattr(self, "scale"):
            self.register_buffer("scale", torch.full((4,), 2.0))
        return self.fc2(F.gelu(self.fc1(x))) * self.scale


@pytest.mark.parametrize("kind", [MakesABuffer, MakesABufferByHand])
def test_a_buffer_made_while_running_is_made_by_the_rewritten_model_and_not_by_the_plan(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(kind(), nn.Linear(4, 4)), torch.randn(3, 4)
    for example_inputs in (None, x):
        result = rewriter.rewrite(model, "ga", lifted=False, example_inputs=example_inputs)
        assert "0.scale" not in model.state_dict()
        if example_inputs is None:
            assert "0.scale" not in result.model.state_dict()
        torch.testing.assert_close(result.model(x), copy.deepcopy(model)(x))
        assert "0.scale" in result.model.state_dict()


def test_the_graph_of_a_user_and_the_model_it_came_from_are_told_apart() -> None:
    model = Mlp()
    graph_module = fx.symbolic_trace(model)
    assert graph_module.act is model.act
    rewriter.graph_pass("ga")(graph_module)
    assert graph_module.act is not model.act
    assert isinstance(model.act, nn.GELU)


def test_a_copy_made_before_is_not_changed_by_a_rewrite_in_place() -> None:
    model = Mlp()
    clone, x = copy.deepcopy(model), torch.randn(3, 4)
    expected = clone(x)
    rewriter.rewrite(model, "sa", inplace=True)
    assert torch.equal(clone(x), expected)
