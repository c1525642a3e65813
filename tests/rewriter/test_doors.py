from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter


class DataDependent(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))


def test_capture_shows_graphs_sites_misses_and_what_was_not_traced() -> None:
    captured = rewriter.capture(nn.Sequential(mlp(), DataDependent(), nn.ReLU()))
    assert [graph.path for graph in captured.graphs] == [""]
    assert [site.path for site in captured.sites] == ["0.1"]
    assert [(miss.path, miss.function) for miss in captured.misses] == [("2", "relu")]
    assert [untraced.path for untraced in captured.untraced] == ["1"]


def test_rewrite_is_plan_and_apply() -> None:
    model, x = mlp(), torch.rand(2, 4)
    result = rewriter.rewrite(model, "sa", terms=2, seed=5)
    recipe = rewriter.plan(model, "sa", terms=2, seed=5)
    assert result.recipe == recipe
    assert torch.equal(rewriter.apply(model, recipe).model(x), result.model(x))


def test_the_report_sums_up_sites_and_misses() -> None:
    report = rewriter.rewrite(nn.Sequential(mlp(), DataDependent(), nn.ReLU()), "hdfgd").report
    assert (report.method, report.totals.sites, report.totals.misses) == ("hdfgd", 1, 2)
    assert sum(report.totals.refused.values()) == 2
    assert any("not captured" in reason for reason in report.totals.refused)
    assert report.totals.resized_before == sum(p.numel() for p in mlp().parameters())


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (nn.Sequential(nn.Linear(4, 4)), "no known activation at all"),
        (
            nn.Sequential(nn.LayerNorm(4), nn.GELU(), nn.LayerNorm(4), nn.GELU(), nn.Linear(4, 2)),
            "1 × it follows an input",
        ),
    ],
)
def test_a_model_without_a_site_is_an_error_with_the_reasons(model: nn.Module, found: str) -> None:
    with pytest.raises(rewriter.NoSiteError, match=found):
        rewriter.plan(model, "ga")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("hdfgdd", {}, "known method; found 'hdfgdd'; did you mean 'hdfgd'"),
        ("ga", {"alfa": 1.0}, "known option of method 'ga'; found 'alfa'; did you mean 'alpha'"),
        ("ga", {"activation": "geluu"}, "known activation; found 'geluu'; did you mean 'gelu'"),
        ("sa", {"combine": "add"}, "expected a valid combine .*; found 'add'"),
        ("ga", {"width": "mach"}, "expected a valid width"),
        ("ga", {"width": 0}, "expected a valid width"),
        ("hdfgd", {"multiple": 0}, "expected a valid multiple"),
        ("hdfgd", {"terms": 9}, "expected terms = 2 or 3 or 4 for gelu; found terms = 9"),
    ],
)
def test_a_wrong_word_is_answered_with_what_was_expected(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(rewriter.UsageError, match=message) as refusal:
        rewriter.plan(mlp(), method, **options)
    assert "\n" not in str(refusal.value)


def test_strict_refuses_a_model_that_is_not_captured_whole() -> None:
    model = nn.Sequential(mlp(), DataDependent())
    with pytest.raises(rewriter.CaptureError, match=r"1 that were not, first 1 \(TraceError"):
        rewriter.plan(model, "ga", strict=True)
    assert rewriter.plan(model, "ga").sites
    assert rewriter.plan(nn.Sequential(mlp(), nn.Linear(4, 2)), "ga", strict=True).sites


def test_sites_on_both_sides_of_an_untraceable_module_are_rewritten() -> None:
    result = rewriter.rewrite(nn.Sequential(mlp(), DataDependent(), mlp()), "sa")
    assert [site.path for site in result.recipe.sites] == ["0.1", "2.1"]
    assert result.model(torch.rand(3, 4)).shape == (3, 4)


@pytest.mark.parametrize("method", ["ga", "hdfgd", "sa", "swap"])
def test_a_whole_transformers_model_is_rewritten_and_runs(method: str) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    model = transformers.BertModel(config).eval()
    result = rewriter.rewrite(model, method, example_inputs={"input_ids": torch.arange(8).reshape(2, 4)})
    assert type(result.model) is type(model)
    assert [site.path for site in result.recipe.sites if site.kind == "mlp"] == [
        f"encoder.layer.{i}.intermediate.intermediate_act_fn" for i in (0, 1)
    ]
