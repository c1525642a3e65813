"""Copies of models: what ``copy.deepcopy`` loses is repaired, and what cannot be is refused."""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter
from rewriter.surgery.copies import copied


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class Renewing(Mlp):
    """Gives copies an attribute beside the module of the same name, as torch's decoder layer does."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        vars(self)["act"] = F.relu


class Forgetful(Mlp):
    """Leaves out of its copies what it can make again."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = {"power": 2}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "cache"}


class Training(Mlp):
    """Its copies begin in training mode."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "training": True})


def same_function(x: Tensor) -> Tensor:
    return x * 2


class CopiesFunctions(Mlp):
    """Makes functions of its own for copies."""

    def __init__(self) -> None:
        super().__init__()
        self.scaled = same_function

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "scaled": lambda x: x * 3})

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.scaled(x))


@pytest.mark.parametrize("kind", [Mlp, Renewing, Forgetful, Training, CopiesFunctions])
def test_what_a_class_changes_in_its_copies_is_put_right(kind: type[Mlp]) -> None:
    model, x = nn.Sequential(kind(), nn.Linear(4, 2)).eval(), torch.randn(3, 4)
    made = copied(model)
    assert type(made[0]) is kind
    assert vars(made[0]).keys() == vars(model[0]).keys()
    assert [module.training for module in made.modules()] == [False] * len(list(model.modules()))
    assert torch.equal(made(x), model(x))
    assert not {*made.modules()} & {*model.modules()}
    assert not {id(p) for p in made.parameters()} & {id(p) for p in model.parameters()}


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_torchs_decoder_layer_is_copied_with_the_activation_that_it_was_made_with(activation: str) -> None:
    layer = nn.TransformerDecoderLayer(8, 2, 16, activation=nn.GELU() if activation == "gelu" else F.relu).eval()
    x, memory = torch.randn(5, 3, 8), torch.randn(4, 3, 8)
    assert torch.equal(copied(layer)(x, memory), layer(x, memory))
    result = rewriter.rewrite(layer, "ga", lifted=False, example_inputs=(x, memory))
    assert [str(site.activation) for site in result.recipe.sites] == [activation]
    torch.testing.assert_close(result.model(x, memory), layer(x, memory))


def test_modes_of_single_modules_are_kept() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.BatchNorm1d(4), nn.Sequential(nn.Dropout()))
    model[1].eval()
    model[3].training = False
    assert [module.training for module in copied(model).modules()] == [module.training for module in model.modules()]


class AnotherClass(Mlp):
    def __deepcopy__(self, memo: dict[int, Any]) -> Mlp:
        made = Mlp()
        made.load_state_dict(self.state_dict())
        return made


class OtherTensors(Mlp):
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.register_buffer("steps", torch.zeros(1))


class FewerModules(Mlp):
    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        del self.act


def holding(make: Callable[[Mlp], Any]) -> Mlp:
    model = Mlp()
    model.held = make(model)
    return model


def closure(model: Mlp) -> Callable[[Tensor], Tensor]:
    def hidden(x: Tensor) -> Tensor:
        return model.fc1(x)

    return hidden


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "another class": (AnotherClass, "AnotherClass at 0, whose copy is a Mlp"),
    "other tensors": (OtherTensors, "a copy of 0 with other tensors"),
    "fewer modules": (FewerModules, r"a copy that differs in having 0\.act"),
    "a lambda": (lambda: holding(lambda model: lambda x: model.fc1(x)), "held of 0, a function that goes on using"),
    "a closure": (lambda: holding(closure), "held of 0, a function that goes on using the original"),
    "a partial": (lambda: holding(lambda model: functools.partial(lambda m, x: m(x), closure(model))), "held of 0"),
    "a lock": (lambda: holding(lambda _: threading.Lock()), "TypeError: cannot pickle"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_copied_is_refused_with_what_to_do(case: str) -> None:
    make, found = REFUSED[case]
    model = nn.Sequential(make(), nn.Linear(4, 2))
    modules = list(model.named_modules())
    with pytest.raises(rewriter.UsageError, match=rf"{found}.*; work on it with inplace=True"):
        rewriter.rewrite(model, "sa")
    assert list(model.named_modules()) == modules


@pytest.mark.parametrize(
    "make",
    [
        lambda model: model.fc1.forward,
        lambda model: functools.partial(F.linear, weight=model.fc1.weight),
        lambda model: functools.partial(model.fc1),
        lambda model: [model.fc1, {"again": model.fc2}],
    ],
    ids=["bound method", "partial of a parameter", "partial of a module", "containers"],
)
def test_what_deepcopy_takes_along_belongs_to_the_copy(make: Callable[[Mlp], Any]) -> None:
    model, x = holding(make), torch.randn(3, 4)
    made = copied(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    if isinstance(made.held, list):
        assert made.held[0] is made.fc1
        assert made.held[1]["again"] is made.fc2
    else:
        bias = None if "weight" in getattr(made.held, "keywords", {}) else made.fc1.bias
        torch.testing.assert_close(made.held(x), F.linear(x, made.fc1.weight, bias))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight
        self.mlp = Mlp()
        self.again, self.alias = self.mlp, self.mlp.fc1.weight
        self.register_buffer("table", torch.arange(12.0).reshape(3, 4))
        self.register_buffer("first_row", self.table[0])

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.again(self.mlp(self.embedding(ids))) + self.first_row)


def test_what_is_shared_stays_shared() -> None:
    model = Tied()
    made = copied(model)
    assert made.head.weight is made.embedding.weight
    assert made.again is made.mlp
    assert made.alias is made.mlp.fc1.weight
    assert made.first_row.untyped_storage().data_ptr() == made.table.untyped_storage().data_ptr()
    result = rewriter.rewrite(model, "ga")
    assert result.model.head.weight is result.model.embedding.weight
    assert result.model.again is result.model.mlp
    assert result.recipe.parameters_after <= result.recipe.parameters_before


def test_a_graph_keeps_its_name_and_attributes() -> None:
    graph_module = fx.GraphModule(Mlp(), fx.symbolic_trace(Mlp()).graph, "Mine")
    graph_module.note = ["kept"]
    made, x = copied(nn.Sequential(graph_module))[0], torch.randn(3, 4)
    assert type(made).__name__ == "Mine"
    assert made.note == ["kept"]
    assert made.note is not graph_module.note
    assert torch.equal(made(x), graph_module(x))


def test_a_copy_of_a_rewritten_model_is_complete() -> None:
    class Calls(Mlp):
        def forward(self, x: Tensor) -> Tensor:
            return self.fc2(F.gelu(self.fc1(x)))

    once, x = rewriter.rewrite(nn.Sequential(Calls()), "sa").model, torch.randn(3, 4)
    for made in (copied(once), copy.deepcopy(once)):
        assert type(made[0]) is type(once[0])
        assert torch.equal(made(x), once(x))
