"""A plan carried out with the old functions, widths and weights changes nothing; what does is found and named."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

import rewriter
from benchmarks.fault_models import MODELS, Blocks, small_model
from benchmarks.faults import FAULTS, put_in
from rewriter.recipe import Recipe
from rewriter.sites.recognition import computes
from rewriter.tracing.spellings import Activation
from rewriter.validation import carried_out, exact
from rewriter.validation.carried_out import SameFunction
from rewriter.validation.evidence import tensors_of
from rewriter.validation.exact import check_exact
from rewriter.validation.exact_recipe import exact_recipe, groups_of, kept_units, restricted, wider_recipe
from rewriter.validation.reference import reference

REFUSED = ("overwritten", "two modes", "noisy gate")
METHODS = [("ga", {}), ("sa", {}), ("hdfgd", {"low_rank": True}), ("swap", {"activation": "mish"})]


class Small(nn.Module):
    """An MLP; each test overrides what is done with its output."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3)

    def mlp(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y

    def forward(self, x: Tensor) -> Any:
        return self.mlp(x)


def planned(model: nn.Module, inputs: Any, method: str = "hdfgd", **options: Any) -> Recipe:
    return rewriter.plan(model, method, example_inputs=inputs, **options)


def checked(model: nn.Module, inputs: Any = None, method: str = "hdfgd", **options: Any) -> str | None:
    inputs = torch.randn(5, 4) if inputs is None else inputs
    return check_exact(model, planned(model, inputs, method, **options), inputs)


def fault(name: str) -> Any:
    return next(one for one in FAULTS if one.name == name)


@pytest.fixture
def off(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a new layer have wrong weights."""

    def put(*paths: str, error: float = 0.1, name: str = "weight") -> None:
        right = carried_out.carry

        def carry(original: nn.Module, rewritten: nn.Module, recipe: Recipe, kept: Any) -> None:
            right(original, rewritten, recipe, kept)
            for record in recipe.linears:
                if record.path in paths:
                    rewritten.get_submodule(record.path).get_parameter(name).data.mul_(1 + error)

        monkeypatch.setattr(carried_out, "carry", carry)

    return put


@pytest.mark.parametrize("name", [name for name in MODELS if name not in REFUSED])
@pytest.mark.parametrize(("method", "options"), METHODS)
@pytest.mark.parametrize("width", ["match", "keep", 8])
def test_every_structure_is_exact(name: str, method: str, options: dict[str, Any], width: Any) -> None:
    model, inputs = small_model(name)
    try:
        recipe = planned(model, inputs, method, width=width, **options)
    except (rewriter.NoSiteError, rewriter.UsageError):
        pytest.skip("the method has nothing to rewrite here")
    assert check_exact(model, recipe, inputs) is None


class Chain(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(
            nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16), nn.GELU(), nn.Linear(16, 3)
        )


def test_a_chain_of_mlps_is_exact_with_twice_the_units_too() -> None:
    model, x = Chain(), torch.randn(5, 4)
    recipe = planned(model, x)
    assert len(groups_of(recipe)) == 1
    wider = wider_recipe(recipe, {site.path: site for site in rewriter.capture(model, x).sites})
    assert wider is not None
    assert [site.hidden for site in wider.sites] == [(16, 32), (24, 48), (16, 32)]
    assert check_exact(model, recipe, x) is None


def test_the_exact_recipe_keeps_the_widths_and_leaves_the_factors_out() -> None:
    model, x = small_model("convolutions")
    recipe = planned(model, x, low_rank=True)
    made = exact_recipe(recipe)
    assert all(site.hidden and site.hidden[0] == site.hidden[1] for site in made.sites)
    assert any(record.rank for record in recipe.linears)
    assert not any(record.rank for record in made.linears)
    assert kept_units(made) == {}


def test_nothing_is_widened_where_the_plan_keeps_the_widths() -> None:
    model, x = small_model("blocks")
    assert wider_recipe(planned(model, x, width="keep"), {s.path: s for s in rewriter.capture(model, x).sites}) is None


def test_a_part_of_a_plan_has_the_records_of_its_sites() -> None:
    model, x = small_model("convolutions")
    recipe = planned(model, x, low_rank=True)
    groups = groups_of(recipe)
    parts = [restricted(recipe, [group]) for group in groups]
    assert sum(len(part.linears) for part in parts) == len(recipe.linears)
    assert len(parts) == len(groups) == 2


def test_a_plan_without_sites_is_exact() -> None:
    model, x = small_model("blocks")
    recipe = planned(model, x).model_copy(update={"sites": (), "linears": ()})
    assert check_exact(model, recipe, x) is None


# What differs is found, and the first site that causes it is named.


class Deep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Small() for _ in range(5))
        for block in self.blocks:
            block.fc2 = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = x + block(x)
        return x


@pytest.mark.parametrize("wrong", [(0,), (2,), (4,), (1, 3), (3, 4)])
def test_the_first_faulty_site_is_named(off: Any, wrong: tuple[int, ...]) -> None:
    off(*(f"blocks.{number}.fc1" for number in wrong))
    with pytest.raises(
        rewriter.ValidationError, match=rf"first with blocks\.{wrong[0]}\.act \(gelu fed by blocks"
    ) as e:
        checked(Deep())
    assert f"exclude blocks.{wrong[0]}.act and report the model" in str(e.value)
    assert "in eval mode" in str(e.value)


@pytest.mark.parametrize("path", ["fc1", "fc2"])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_errors_far_below_single_precision_are_found(off: Any, path: str, name: str) -> None:
    off(path, name=name, error=1e-7)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(Small())


def test_a_bias_of_zeros_that_is_lost_is_found(off: Any) -> None:
    off("fc1", name="bias", error=-1.0)
    model = Small()
    nn.init.zeros_(model.fc1.bias)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(model)


@pytest.mark.parametrize("gamma", [0.0, 1e-6])
def test_a_branch_that_hardly_reaches_the_output_is_seen(off: Any, gamma: float) -> None:
    class Scaled(Small):
        def __init__(self) -> None:
            super().__init__()
            self.gamma = nn.Parameter(torch.full((3,), gamma))
            self.aside = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.aside(x) + self.gamma * self.mlp(x)

    assert checked(Scaled()) is None
    off("fc2", error=1e-4)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(Scaled())


@dataclass
class Nested:
    inner: Any
    label: str = "y"


class Slots:
    __slots__ = ("y",)

    def __init__(self, y: Tensor) -> None:
        self.y = y


OUTPUTS: dict[str, Callable[[Tensor], Any]] = {
    "tuple": lambda y: (None, y),
    "dict": lambda y: {"a": [y]},
    "dataclass": lambda y: Nested(Nested([y])),
    "slots": lambda y: Slots(y),
    "distribution": lambda y: torch.distributions.Normal(y, 1.0, validate_args=False),
    "complex": lambda y: torch.complex(y, y),
    "argmax": lambda y: y.argmax(-1),
    "boolean": lambda y: y > 1e9,
    "none": lambda y: None,
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_outputs_of_every_kind_are_compared(off: Any, kind: str) -> None:
    class Own(Small):
        def forward(self, x: Tensor) -> Any:
            return OUTPUTS[kind](self.mlp(x))

    assert checked(Own()) is None
    off("fc2", error=1e-6)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(Own())


def test_tensors_of_finds_each_tensor_once_and_no_weights() -> None:
    y = torch.randn(2)
    assert [value is y for value in tensors_of([y, {"a": (y,)}, nn.Linear(2, 2), "text", len])] == [True, True]


def test_other_shapes_and_values_that_are_not_finite_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SameFunction, "forward", lambda self, x: x[..., :8] * float("nan"))
    with pytest.raises(rewriter.ValidationError, match="output 0 is not finite where it was"):
        checked(Small(), method="ga")
    monkeypatch.setattr(SameFunction, "forward", lambda self, x: x[:1, ..., :8])
    with pytest.raises(rewriter.ValidationError, match="outputs of other shapes"):
        checked(Small(), method="ga")


def test_what_does_not_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SameFunction, "forward", lambda self, x: x[..., :3])
    with pytest.raises(rewriter.ValidationError, match="it does not run in eval mode: RuntimeError"):
        checked(Small())

    def fails(*args: Any) -> None:
        raise RuntimeError("no place for it")

    monkeypatch.setattr(carried_out, "operate", fails)
    with pytest.raises(rewriter.ValidationError, match="it cannot be carried out: RuntimeError: no place for it"):
        checked(Small())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("wrong turn in a loop", "gets what into.1 gives"),
        ("a function shared by two layers replaced for both", "gets what fc1 gives"),
        ("edit in the wrong method of two with equal text", "is never called, though fc1 is in eval mode"),
        ("only the code for eval mode rewritten", "in train mode"),
        ("lost scale", "does not compute gelu"),
        ("one of two readers of a graph's node replaced", "gelu is computed 2 times, not 1"),
        ("second reader of the hidden value overlooked", "with twice the units"),
        ("dropout lost", "in train mode"),
    ],
)
def test_what_leaves_the_outputs_alone_is_found_by_its_traces(name: str, words: str) -> None:
    one = fault(name)
    model, inputs = small_model(one.models[0])
    with put_in(one), pytest.raises(rewriter.ValidationError) as error:
        rewriter.plan(model, one.method, example_inputs=inputs, check=True, **one.options)
    assert words in str(error.value)


def test_a_function_called_another_number_of_times_in_train_mode_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(Small):
        def mlp(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            y: Tensor = self.fc2(self.act(h))
            if self.training:
                self.act(h)
            return y

    with pytest.raises(rewriter.ValidationError, match="is called 2 times, not 1 in train mode"):
        checked(Twice(), method="ga")


# What cannot be compared is said, and what rounding does is no fault.


def test_models_that_do_not_run_or_have_no_weights_are_told_apart() -> None:
    x = torch.randn(5, 4)
    recipe = planned(Small(), x)
    why = check_exact(Small(), recipe, torch.randn(5, 3))
    assert why is not None
    assert why.startswith("the model does not run on the example inputs: RuntimeError")
    with torch.device("meta"):
        hollow = Small()
    assert check_exact(hollow, recipe, x) == "the model has no weights: it is on the meta device"


def test_sites_that_the_inputs_do_not_show_or_do_not_reach() -> None:
    class Two(Small):
        def __init__(self) -> None:
            super().__init__()
            self.other = Small()

        def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
            y = self.mlp(x)
            return y if more is None else y + self.other(more)

    x = torch.randn(5, 4)
    recipe = planned(Two(), (x, x), method="ga")
    assert len(recipe.sites) == 2
    assert check_exact(Two(), recipe, x) == "other.act is not found on these inputs"

    class Chosen(Two):
        def forward(self, x: Tensor, more: Tensor | None = None) -> Tensor:
            y = self.mlp(x)
            return y + self.other(x[y.sum(-1) > 1e9]).sum()

    why = check_exact(Chosen(), planned(Chosen(), x, "ga"), x)
    assert why is None  # it runs there, if only on no values


def test_a_model_that_gives_other_outputs_every_time() -> None:
    class Own(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.mlp(x) * next(counter)

    counter = iter(range(1, 10**6))
    assert checked(Own()) == "the model gives other outputs every time in eval and train mode"

    class Trained(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.mlp(x) * (next(counter) if self.training else 1)

    assert checked(Trained()) == "the model gives other outputs every time in train mode"


def test_random_numbers_of_torch_and_python_are_repeated_and_their_states_left() -> None:
    class Own(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.mlp(x) + torch.rand(1) + random.random()

    states = torch.random.get_rng_state(), random.getstate()
    model, x = Own(), torch.ones(5, 4)
    recipe = planned(model, x)
    states = torch.random.get_rng_state(), random.getstate()
    assert check_exact(model, recipe, x) is None
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert random.getstate() == states[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_every_precision(off: Any, dtype: torch.dtype) -> None:
    model, x = Small().to(dtype), torch.randn(5, 4).to(dtype)
    assert checked(model, x) is None
    off("fc1", error=1e-3)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(model, x)


def test_a_model_that_runs_in_its_own_precision_alone(off: Any) -> None:
    class Own(Small):
        def forward(self, x: Tensor) -> Tensor:
            return self.mlp(x) @ torch.eye(3)

    assert checked(Own()) is None
    off("fc1", error=1e-3)
    with pytest.raises(rewriter.ValidationError, match="differs by"):
        checked(Own())


def test_a_large_model_is_compared_in_its_own_precision_first(monkeypatch: pytest.MonkeyPatch, off: Any) -> None:
    monkeypatch.setattr(exact, "_MOST_IN_DOUBLE", 0)
    seen: list[Any] = []
    right = exact.reference
    monkeypatch.setattr(exact, "reference", lambda model, dtype: seen.append(dtype) or right(model, dtype))
    assert checked(Small()) is None
    assert seen == [None]
    off("fc1", error=1e-3)
    with pytest.raises(rewriter.ValidationError):
        checked(Small())
    assert seen == [None, None, torch.float64]


def test_what_a_cast_rounds_is_no_fault(off: Any) -> None:
    class Own(Small):
        def forward(self, x: Tensor) -> Tensor:
            h = self.act(self.fc1(x))
            return self.fc2((h.float() / h.float().square().mean(-1, keepdim=True).sqrt()).to(h.dtype))

    assert checked(Own(), method="ga") is None


def test_train_mode_that_takes_other_inputs_is_left_out() -> None:
    class Own(Small):
        def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
            y = self.mlp(x)
            return F.cross_entropy(y, labels) if self.training else y  # type: ignore[arg-type]

    assert checked(Own()) is None
    batch_of_one = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4), nn.BatchNorm1d(4))
    assert checked(batch_of_one, torch.randn(1, 4)) is None


def test_state_that_the_first_call_makes() -> None:
    class Lazy(Small):
        kept: Tensor | None = None

        def forward(self, x: Tensor) -> Tensor:
            if self.kept is None:
                self.kept = torch.full_like(x[..., :3], 0.5)
            return self.mlp(x) + self.kept

    model = Lazy()
    assert checked(model) is None
    assert model.kept is None


def test_a_formula_that_reads_a_buffer() -> None:
    class Swish(Small):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("beta", torch.tensor(1.5))

        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            y: Tensor = self.fc2(h * torch.sigmoid(self.beta * h))
            return y

    assert checked(Swish(), method="swap", activation="relu") is None


def test_code_that_asks_a_low_rank_layer_for_its_stride() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.act = nn.Conv2d(3, 8, 3, stride=2), nn.GELU()

        def forward(self, x: Tensor) -> Tensor:
            return F.max_pool2d(self.act(self.conv(F.pad(x, [self.conv.stride[0] - 1] * 4))), 2)

    assert checked(Padded(), torch.randn(2, 3, 8, 8), low_rank=True) is None


@pytest.mark.parametrize("named", ["drop", "thin"])
def test_dropout_inside_a_formula_is_no_site(named: str) -> None:
    class Noisy(Small):
        def __init__(self) -> None:
            super().__init__()
            self.drop = self.thin = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            y: Tensor = self.fc2(h * F.dropout(torch.sigmoid(h), 0.5, self.training))
            return y

    class Ahead(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            gate = self.thin(torch.sigmoid(h)) if named == "thin" else self.drop(torch.sigmoid(h))
            y: Tensor = self.fc2(h * gate)
            return y

    class Around(Noisy):
        def forward(self, x: Tensor) -> Tensor:
            h = self.fc1(x)
            act = F.silu(self.thin(h)) if named == "thin" else F.silu(self.drop(h))
            y: Tensor = self.fc2(F.dropout(act, 0.5, self.training))
            return y

    for model in (Ahead(), Noisy()):
        capture = rewriter.capture(model, torch.randn(5, 4))
        assert not capture.sites
        assert "its formula drops values out in train mode" in {miss.reason for miss in capture.misses}
    assert checked(Around(), method="swap", activation="relu") is None


def test_graph_modules() -> None:
    x = torch.randn(5, 4)
    assert checked(fx.symbolic_trace(Small()), x) is None
    assert checked(fx.symbolic_trace(Blocks()), torch.randn(2, 3, 8)) is None


def test_inputs_of_every_form() -> None:
    x = torch.randn(5, 4)
    for inputs in (x, (x,), {"x": x}):
        assert checked(Small(), inputs) is None


# The model that is given stays what it was.


def test_the_model_is_left_alone() -> None:
    model, x = small_model("convolutions")
    model.train()
    model.norm.eval()
    calls: list[Any] = []
    model.project.register_forward_hook(lambda *args: calls.append(args))
    before = copy.deepcopy(model.state_dict())
    given = x.clone()
    recipe = planned(model, x, low_rank=True)
    state = torch.random.get_rng_state()
    modules = [(path, type(module), module.training) for path, module in model.named_modules()]
    assert check_exact(model, recipe, x) is None
    assert [(path, type(module), module.training) for path, module in model.named_modules()] == modules
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(x, given)
    assert [len(module._forward_hooks) for module in model.modules() if module._forward_hooks] == [1]
    assert all(not module._forward_pre_hooks for module in model.modules())


def test_the_reference_has_no_weights_that_are_all_alike() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.LayerNorm(8))
    nn.init.zeros_(model[0].weight)
    made = reference(model, torch.float64)
    tensors = [*made.parameters(), made[1].running_mean, made[1].running_var]
    assert all(tensor.unique().numel() > 1 and tensor.dtype == torch.float64 for tensor in tensors)
    assert not model[0].weight.any()


# Names.


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("gelu", nn.GELU()),
        ("leaky_relu", nn.LeakyReLU()),
        ("softplus", nn.Softplus()),
        ("max(x,0)**2", lambda x: F.relu(x) ** 2),
        ("(x+1)*tanh(x)/(-2)", lambda x: (x + 1) * torch.tanh(x) / -2),
        ("prelu", nn.PReLU()),
    ],
)
def test_a_function_that_is_named_rightly(name: str, function: Any) -> None:
    assert computes(Activation(name), wrapped(function))


@pytest.mark.parametrize(
    ("name", "function"),
    [("gelu", nn.GELU("tanh")), ("leaky_relu", nn.LeakyReLU(0.02)), ("max(x,0)**2", nn.ReLU()), ("x+1", nn.Identity())],
)
def test_a_function_that_is_named_wrongly(name: str, function: Any) -> None:
    assert not computes(Activation(name), wrapped(function))


def wrapped(function: Any) -> nn.Module:
    class Own(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            y: Tensor = function(x)
            return y

    return function if isinstance(function, nn.Module) else Own()


# The doors.


def test_plan_apply_and_rewrite_check_when_asked(off: Any) -> None:
    model, x = Small(), torch.randn(5, 4)
    recipe = rewriter.plan(model, "hdfgd", example_inputs=x, check=True)
    assert rewriter.apply(model, recipe, example_inputs=x, check=True).recipe == recipe
    assert rewriter.rewrite(model, "hdfgd", example_inputs=x, check=True).recipe.sites == recipe.sites
    off("fc1")
    rewriter.rewrite(model, "hdfgd", example_inputs=x)
    for door in (rewriter.plan, rewriter.rewrite):
        with pytest.raises(rewriter.ValidationError, match="first with act"):
            door(model, "hdfgd", example_inputs=x, check=True)
    kept = copy.deepcopy(model.state_dict())
    with pytest.raises(rewriter.ValidationError, match="first with act"):
        rewriter.apply(model, recipe, inplace=True, example_inputs=x, check=True)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())


def test_a_check_without_inputs_or_with_nothing_to_compare_is_refused() -> None:
    with pytest.raises(rewriter.UsageError, match="example inputs to check on"):
        rewriter.plan(Small(), "hdfgd", check=True)
    with torch.device("meta"):
        hollow = Small()
    with pytest.raises(rewriter.ValidationError, match="the model has no weights"):
        rewriter.plan(hollow, "hdfgd", example_inputs=torch.randn(5, 4, device="meta"), check=True)


def test_faults_are_data() -> None:
    assert replace(FAULTS[0], name="another").where == FAULTS[0].where


def test_dropout_ahead_of_an_activation_is_no_fault() -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.GELU(), nn.Linear(16, 8), nn.Dropout(0.5))
    inputs = torch.randn(4, 8)
    assert check_exact(model, rewriter.plan(model, "hdfgd", example_inputs=inputs), inputs) is None
