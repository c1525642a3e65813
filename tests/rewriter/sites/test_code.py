"""Which expression of a method gives way to a new function, and what is left as it is because none can."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from tests.models.written import REPLACEMENT, WrittenMLP, code_of, written_mlp

INPUT = torch.zeros(2, 4)


def swish(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.5 * x)


def backwards(a: Tensor, b: Tensor) -> Tensor:
    return b * a


def scaled(x: Tensor, beta: float) -> Tensor:
    return x * torch.sigmoid(beta * x)


@functools.wraps(swish)
def decorated(*args: Tensor) -> Tensor:
    return swish(*args)


@torch.jit.script
def scripted(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.5 * x)


@torch.compile
def compiled(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.5 * x)


class OwnGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(1.5 * x)


NAMES = {
    "swish": swish,
    "backwards": backwards,
    "scaled": scaled,
    "decorated": decorated,
    "scripted": scripted,
    "compiled": compiled,
    "OwnGradient": OwnGradient,
    "functools": functools,
    "table": {"swish": swish},
    "self_method": lambda self, x: x * torch.sigmoid(1.5 * x),
    "self_static": staticmethod(swish),
    "self_product": lambda self, a, b: a * b,
    "self_chosen": "swish",
    "self_beta": 1.5,
}

REPLACED = {
    "y = h * torch.sigmoid(1.5 * h)": "y = self.formula(h)",
    "y = swish(h)": "y = self.formula(h)",
    "y = decorated(h)": "y = self.formula(h)",
    "y = scripted(h)": "y = self.formula(h)",
    "y = compiled(h)": "y = self.formula(h)",
    "y = OwnGradient.apply(h)": "y = self.formula(h)",
    "y = table[self.chosen](h)": "y = self.formula(h)",
    "y = self.static(h)": "y = self.formula(h)",
    "y = self.method(self.method(h))": "y = self.formula(h)",
    "y = scaled(h, self.beta)": "y = self.formula(h)",
    "y = functools.partial(scaled, beta=1.5)(h)": "y = self.formula(h)",
    "y = (lambda v: v * torch.sigmoid(1.5 * v))(h)": "y = (lambda v: self.formula(v))(h)",
    "y = [f(h) for f in [swish]][0]": "y = [self.formula(h) for f in [swish]][0]",
    "y = functools.reduce(lambda v, f: f(v), [torch.sin, torch.cos], h)": "y = self.formula(h)",
    "y = h.mul(h.mul(1.5).sigmoid())": "y = self.formula(h)",
    "y = h * (1.5 * h).sigmoid_()": "y = self.formula(h)",
    "y = torch.sigmoid(1.5 * h).mul_(h)": "y = self.formula(h)",
    "s = torch.sigmoid(1.5 * h)\nh = h * s\ny = h": "s = torch.sigmoid(1.5 * h); h = self.formula(h); y = h",
    "s = torch.sigmoid(1.5 * h)\nh *= s\ny = h": "s = torch.sigmoid(1.5 * h); h = self.formula(h); y = h",
    "y = F.relu(h)\ny -= 0.5": "y = F.relu(h); y = self.formula(h)",
    "t = h\nt = t * 1.5\nt = t.sigmoid()\ny = t * h": "t = h; t = t * 1.5; t = t.sigmoid(); y = self.formula(h)",
    "mask = (h > 0).float()\ny = h * mask": "mask = (h > 0).float(); y = self.relu(h)",
    "zero = torch.zeros_like(h)\ny = torch.maximum(h, zero)": "zero = torch.zeros_like(h); y = self.relu(h)",
    "zero = torch.tensor(0.0)\ny = torch.where(h > zero, h, zero)": "zero = torch.tensor(0.0); y = self.relu(h)",
    # Which argument is the input is told by who made it, not by its position.
    "s = torch.sigmoid(1.5 * h)\ny = self.product(s, h)": "s = torch.sigmoid(1.5 * h); y = self.formula(h)",
    "s = torch.sigmoid(1.5 * h)\ny = backwards(s, h)": "s = torch.sigmoid(1.5 * h); y = self.formula(h)",
    "s = torch.sigmoid(1.5 * h)\ns = s * 1\ny = torch.mul(s, h)": (
        "s = torch.sigmoid(1.5 * h); s = s * 1; y = self.formula(h)"
    ),
    "lo = 0\ny = torch.clamp(h, lo)": "lo = 0; y = self.relu(h)",
    "y = F.relu(input=h)": "y = self.relu(h)",
    "y = getattr(torch, 'relu')(h)": "y = self.relu(h)",
    "y = h if h.shape[0] == 1000 else h.relu()": "y = h if h.shape[0] == 1000 else self.relu(h)",
    "y = {'k': F.relu(h)}['k']": "y = {'k': self.relu(h)}['k']",
    "with torch.no_grad():\n    y = F.relu(h)": "with torch.no_grad():; y = self.relu(h)",
}


@pytest.mark.parametrize("code", REPLACED)
def test_an_activation_in_any_spelling_is_one_expression_that_gives_way(code: str) -> None:
    model, x = written_mlp(code, **NAMES), torch.randn(5, 4)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert len(result.recipe.sites) == 1
    torch.testing.assert_close(result.model(x), model.expected(x))
    assert code_of(result.model) == REPLACED[code]


def test_an_expression_in_a_method_that_forward_calls_gives_way_there() -> None:
    class Own(WrittenMLP):
        def activate(self, h: Tensor) -> Tensor:
            return h * torch.sigmoid(1.5 * h)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc2(self.activate(self.fc1(x)))
            return y

    model, x = Own(), torch.randn(5, 4)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT)
    (site,) = result.recipe.sites
    assert site.code is not None
    assert getattr(site.code, "method", None) == "activate"
    torch.testing.assert_close(result.model(x), model.expected(x))


REFUSED = {
    "y = F.relu(h) if self.training else F.relu(h)": "train/eval mode",
    "y = self.dependent(h)": "train/eval mode",
    "for _ in range(2):\n    h = F.relu(h) - 0.1\ny = h": "several turns of a loop",
    "i = 0\nwhile i < 2:\n    h = F.relu(h) - 0.1\n    i += 1\ny = h": "several turns of a loop",
    "y = h\nfor f in (torch.sin, torch.cos):\n    y = f(y)": "several turns of a loop",
    "for _ in range(2):\n    h = F.relu(h) - 0.1\ny = torch.tanh(h)": "does not always go",
    "if self.beta > 1:\n    h = h - 0.5\ny = F.relu(h)": "does not always go",
    "t = h + 1 if self.beta > 1 else h\ny = torch.tanh(t)": "does not always go",
    "with torch.no_grad():\n    t = h + 1\ny = torch.tanh(t)": "does not always go",
    "h += 1\ny = F.relu(h)": "overwrites values on the way",
    "h = self.overwriting(h)\ny = h - 0.5": "overwrites values on the way",
    "F.relu(h, inplace=True)\ny = h": "it overwrites its input",
    "h.relu_()\ny = h": "it overwrites its input",
    "s = 1.5 * h\ns.sigmoid_()\ny = s * h": "gates another value",
    "y = F.relu(**{'input': h})": "its input cannot be told",
    "y = F.leaky_relu(*[h, 0.2])": "its input cannot be told",
    "y = getattr(h, 'relu')()": "its input cannot be told",
    "y = h * torch.sigmoid(self.trained * h)": "its formula reads the parameter trained",
    "y = torch.sign(h) * torch.sqrt(h.abs())": "has no formula",
}


def dependent(self: nn.Module, h: Tensor) -> Tensor:
    return F.relu(h) - 0.5 if self.training else F.relu(h)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("inputs", [INPUT, None], ids=["recorded", "traced"])
@pytest.mark.parametrize("code", REFUSED)
def test_what_no_expression_computes_alone_is_a_miss_with_its_reason(
    code: str, inputs: Tensor | None, training: bool
) -> None:
    model = written_mlp(code, **NAMES, self_dependent=dependent)
    model.trained, model.overwriting = nn.Parameter(torch.ones(())), nn.ReLU(inplace=True)
    capture = rewriter.capture(model.train(training), inputs)
    assert capture.sites == ()
    assert any(REFUSED[code] in miss.reason for miss in capture.misses), capture.misses


@pytest.mark.parametrize("code", [*REPLACED, *REFUSED])
def test_without_inputs_a_site_is_the_same_one_or_none(code: str) -> None:
    model, x = written_mlp(code, **NAMES, self_dependent=dependent), torch.randn(5, 4)
    model.trained, model.overwriting = nn.Parameter(torch.ones(())), nn.ReLU(inplace=True)
    if not rewriter.capture(model).sites:
        return
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT)
    torch.testing.assert_close(result.model(x), model.expected(x))


class KeepsCount(nn.Module):
    """An activation with a state, held under any name; its source is edited, so that it goes on counting."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return torch.relu(x) - 0.5


def test_an_activation_class_with_a_state_keeps_it() -> None:
    model, x = written_mlp("y = self.act(h)"), torch.randn(5, 4)
    model.act = KeepsCount()
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["act:formula"]
    before = result.model.act.calls
    torch.testing.assert_close(result.model(x), model.expected(x))
    assert result.model.act.calls == before + 1
    assert model.act.calls == 0


@pytest.mark.parametrize(
    "held", [swish, lambda x: x * torch.sigmoid(1.5 * x), functools.partial(scaled, beta=1.5), torch.compile(swish)]
)
def test_a_function_that_is_held_as_an_attribute_is_replaced_there(held: Callable[[Tensor], Tensor]) -> None:
    model, x = written_mlp("y = self.act(h)"), torch.randn(5, 4)
    model.act = held
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.path for site in result.recipe.sites] == ["act"]
    assert type(result.model) is type(model)
    assert model.act is held
    torch.testing.assert_close(result.model(x), model.expected(x))


def test_a_forward_that_the_instance_holds_is_edited_there() -> None:
    def patched(self: WrittenMLP, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.relu(self.fc1(x)))
        return y

    model, x = written_mlp("y = torch.tanh(h)"), torch.randn(5, 4)
    model.forward = MethodType(patched, model)
    result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
    assert [site.activation for site in result.recipe.sites] == ["relu"]
    torch.testing.assert_close(result.model(x), model.expected(x))
    assert model.forward.__func__ is patched


def test_a_function_that_is_no_method_is_a_miss_that_names_it() -> None:
    def plain(self: WrittenMLP, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(F.relu(self.fc1(x)))
        return y

    model = WrittenMLP()
    model.run = plain
    model.forward = lambda x: model.run(model, x)
    (miss,) = rewriter.capture(model, INPUT).misses
    assert (miss.function, miss.reason) == (
        "relu",
        "it is called where run is held on the module as a function, not as a method",
    )


def test_a_method_that_serves_two_layers_gives_way_where_it_is_called() -> None:
    class Own(WrittenMLP):
        def activate(self, h: Tensor) -> Tensor:
            return torch.relu(h)

        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = self.fc1(self.activate(self.fc2(self.activate(self.fc1(x)))))
            return y

    assert len(rewriter.capture(Own(), INPUT).sites) == 2


def test_a_scripted_activation_module_is_a_site_or_a_miss() -> None:
    class Swish(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * torch.sigmoid(x)

    model = written_mlp("y = self.act(h)")
    model.act = torch.jit.script(Swish())
    captured = rewriter.capture(model, INPUT)
    assert captured.sites or captured.misses or captured.untraced


def test_an_activation_that_writes_into_another_tensor_is_a_site_or_a_miss() -> None:
    captured = rewriter.capture(written_mlp("y = torch.empty_like(h)\ntorch.sigmoid(h, out=y)"), INPUT)
    assert captured.sites or captured.misses or captured.untraced
