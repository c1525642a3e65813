"""Regions: where an elementwise function begins and ends, and what it leaves to the code around it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from rewriter.sites.regions import Regions
from rewriter.tracing import trace
from tests.models.written import REPLACEMENT, code_of, written_mlp

INPUT = torch.zeros(2, 4)


def regions_of(model: nn.Module) -> list[str]:
    (root,) = trace(model, INPUT).roots
    return [str(region.activation) for region in Regions(root, model, {}).by_exit.values()]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("y = F.relu(h) * 2", ["relu"]),
        ("y = 2 * F.relu(h) / 3", ["relu"]),
        ("y = torch.sigmoid(h * 2)", ["sigmoid"]),
        ("y = 1.1 * F.gelu(h)", ["gelu"]),
        ("y = F.relu(h) - 0.5", ["max(x, 0) - 0.5"]),
        ("y = F.relu(h) ** 2", ["squared_relu"]),
        ("y = F.relu(h).float().to(h.dtype)", ["relu"]),
        ("y = F.relu(h.float())", ["relu"]),
        ("y = torch.tanh(F.relu(h))", ["tanh(max(x, 0))"]),
        ("y = h * 2 - 1", []),
        ("y = -h.float().clone()", []),
        ("y = h / h.norm()", []),
        ("y = h.softmax(-1)", []),
        ("y = h + h.mean(-1, keepdim=True)", []),
        ("y = h.sort().values", []),
    ],
)
def test_a_region_reaches_from_one_value_to_what_others_read(code: str, found: list[str]) -> None:
    assert regions_of(written_mlp(code)) == found


def test_a_value_that_is_read_elsewhere_ends_a_region() -> None:
    model, x = written_mlp("t = F.relu(h)\ny = torch.tanh(t - 1) + t.sum()"), torch.randn(3, 4)
    captured = rewriter.capture(model, INPUT)
    assert [str(site.activation) for site in captured.sites] == ["relu"]
    swapped = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT).model
    t = model.fc1(x).clamp(-0.3, 0.3)
    torch.testing.assert_close(swapped(x), model.fc2(torch.tanh(t - 1) + t.sum()))


def test_a_scale_stays_in_the_code() -> None:
    model, x = written_mlp("y = 2 * F.relu(h)"), torch.randn(3, 4)
    swapped = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT).model
    assert code_of(swapped) == "y = 2 * self.relu(h)"
    torch.testing.assert_close(swapped(x), model.fc2(2 * model.fc1(x).clamp(-0.3, 0.3)))


SCALES = [
    "self.one * a", "a * (1 + self.one)", "a * self.each", "a * self.mask", "a * torch.sigmoid(self.each)",
    "a * torch.ones(8)", "a / self.each.exp()", "a * self.scaled.weight.sum()", "a * 2 ** -0.5", "a.mul(self.one)",
]  # fmt: skip


@pytest.mark.parametrize("inputs", [INPUT, None], ids=["recorded", "traced"])
@pytest.mark.parametrize("scale", SCALES)
def test_what_parameters_buffers_and_constants_determine_scales_and_gates_nothing(
    scale: str, inputs: Tensor | None
) -> None:
    model = written_mlp(f"a = F.gelu(h)\ny = {scale}")
    model.one, model.each = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(8))
    model.register_buffer("mask", torch.ones(8))
    model.scaled = nn.Linear(2, 1)
    captured = rewriter.capture(model, inputs)
    assert [(str(site.activation), site.producer) for site in captured.sites] == [("gelu", "fc1")]
    assert not [miss for miss in captured.misses if miss.function == "gelu"]


@pytest.mark.parametrize("gate", ["a * self.other(x)", "a * x.sum()", "a * (self.one * self.other(x))"])
def test_what_an_input_determines_is_gated(gate: str) -> None:
    model = written_mlp(f"a = F.sigmoid(h)\ny = {gate}")
    model.one, model.other = nn.Parameter(torch.ones(1)), nn.Linear(4, 8)
    captured = rewriter.capture(model, INPUT)
    assert [site.kind for site in captured.sites if site.kind != "gated"] == []
    assert len(captured.sites) + len(captured.misses) == 1


class Unfollowed(nn.Module):
    """Its way depends on values."""

    def forward(self, h: Tensor) -> Tensor:
        return h if h.sum() > 0 else -h


@pytest.mark.parametrize(
    "code",
    [
        "y = F.relu(h)\ny = y + self.unknown(y)",
        "y = self.unknown(F.relu(h))",
    ],
)
@pytest.mark.parametrize("method", ["hdfgd", "sa", "ga"])
def test_a_value_that_code_reads_which_could_not_be_followed_is_no_site(code: str, method: str) -> None:
    model = written_mlp(code)
    model.unknown = Unfollowed()
    captured = rewriter.capture(model, INPUT)
    assert captured.sites == ()
    assert all("Unfollowed, whose code could not be followed" in miss.reason for miss in captured.misses)
    with pytest.raises(rewriter.NoSiteError):
        rewriter.plan(model, method, example_inputs=INPUT)


@pytest.mark.parametrize(
    "code",
    [
        "y = torch.sign(h) * torch.sqrt(h.abs())",
        "y = torch.where(h > 1, h, h.sign())",
        "y = torch.heaviside(h, h.new_zeros(()))",
    ],
)
def test_an_elementwise_function_between_two_layers_that_has_no_formula_is_listed(code: str) -> None:
    captured = rewriter.capture(written_mlp(code), INPUT)
    assert captured.sites == ()
    assert ["has no formula" in miss.reason for miss in captured.misses] == [True]


def test_the_function_of_a_region_computes_what_the_code_computes_and_changes_nothing() -> None:
    model = written_mlp("t = h + 1\nt = t.mul_(0.5)\ny = F.relu(t, inplace=True) - torch.tanh(h)")
    (root,) = trace(model, INPUT).roots
    regions = Regions(root, model, {})
    (region,) = regions.by_exit.values()
    h = torch.randn(3, 8)
    kept = h.clone()
    expected = F.relu((h + 1) * 0.5) - torch.tanh(h)
    torch.testing.assert_close(regions.function(region)(h), expected)
    assert torch.equal(h, kept)
