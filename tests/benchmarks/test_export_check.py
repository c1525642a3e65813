"""Coverage of export: what a row says of models that export, that never did, and that no method rewrites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import pytest
import torch
from torch import Tensor, nn

from benchmarks import export_check
from benchmarks.export_check import ExportRow, check_export
from benchmarks.export_table import export_page
from benchmarks.zoo_model import ZooModel
from rewriter.errors import ExportError, IllConditionedError, RewriterError
from rewriter.sources.inputs import InputSpec

SPECS = (InputSpec(name="x", shape=(8,)),)


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.act(self.up(x)))


class Counting(nn.Module):
    """Code whose way follows from the values: no exporter writes that down."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = Mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x) if int(x.abs().sum().item()) % 2 else x


class Lone(nn.Module):
    """An activation behind a linear layer, for ``ga``, but no second layer, which ``hdfgd`` needs."""

    def __init__(self) -> None:
        super().__init__()
        self.bn, self.act = nn.BatchNorm1d(8), nn.ReLU()
        self.conv = nn.Embedding(11, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x.abs().long().clamp(max=10))).sum(1)


def entry(make: Callable[[], nn.Module], **changes: object) -> ZooModel:
    return replace(ZooModel("own", make.__name__, "family", lambda: (make().eval(), SPECS)), **changes)


def test_a_model_that_exports_has_its_error_for_both_targets() -> None:
    row = check_export(entry(Mlp), ("hdfgd", "ga"))
    assert (row.outcome, row.rewritten_by, row.onnx, row.pt2) == ("done", "hdfgd", "ok", "ok")
    assert row.onnx_error is not None
    assert row.pt2_error is not None
    assert max(row.onnx_error, row.pt2_error) <= 1e-4


def test_the_first_method_with_a_site_rewrites() -> None:
    assert check_export(entry(Lone), ("hdfgd", "ga")).rewritten_by == "ga"


def test_a_model_that_never_exported_is_told_from_one_that_the_rewrite_broke() -> None:
    row = check_export(entry(Counting), ("hdfgd",))
    assert (row.onnx, row.pt2) == ("original fails too", "original fails too")
    assert row.onnx_reason
    assert row.onnx_original
    assert row.onnx_error is None


@pytest.mark.parametrize(("kind", "outcome"), [(ExportError, "failed"), (IllConditionedError, "ill-conditioned")])
def test_a_failure_of_the_rewritten_model_alone_is_told_by_its_kind(
    kind: type[RewriterError], outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = export_check.export_model

    def broken(model: nn.Module, *arguments: object, **options: object) -> object:
        if sum(p.numel() for p in model.parameters()) != sum(p.numel() for p in Mlp().parameters()):
            raise kind(expected="an export", found="a rewritten model", remedy="none")
        return real(model, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(export_check, "export_model", broken)
    row = check_export(entry(Mlp), ("hdfgd",))
    assert (row.onnx, row.pt2) == (outcome, outcome)
    assert "a rewritten model" in row.onnx_reason
    assert row.onnx_original == ""


class Headed(nn.Module):
    """A head of zeros, as torchvision's and timm's untrained models have it: every output is 0."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp, self.head = Mlp(), nn.Linear(4, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mlp(x))


def test_nothing_agrees_because_it_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    real = export_check.export_model

    def watched(model: nn.Module, *arguments: object, **options: object) -> object:
        seen.append(model(torch.randn(2, 8)))
        return real(model, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(export_check, "export_model", watched)
    assert check_export(entry(Headed), ("hdfgd",)).onnx == "ok"
    assert all(output.any() for output in seen)


def test_models_without_a_site_and_out_of_scope_are_not_exported() -> None:
    assert check_export(entry(nn.Identity), ("ga",)).outcome == "no site"
    row = check_export(entry(nn.Identity, out_of_scope="it takes a list"), ("ga",))
    assert (row.outcome, row.reason, row.onnx) == ("out of scope", "it takes a list", "")


def test_a_model_that_cannot_be_made_is_a_row() -> None:
    def Broken() -> nn.Module:
        raise RuntimeError("no weights today")

    row = check_export(entry(Broken), ("ga",))
    assert (row.outcome, row.reason) == ("failed", "RuntimeError: no weights today")


def test_the_page_counts_each_outcome_and_names_the_worst_error() -> None:
    rows = [
        ExportRow("own", "a", "f", rewritten_by="hdfgd", onnx="ok", onnx_error=2e-7, pt2="ok", pt2_error=0.0),
        ExportRow(
            "own", "b", "f", rewritten_by="ga", onnx="failed", onnx_reason="no such op", pt2="ok", pt2_error=1e-6
        ),
        ExportRow("own", "c", "g", rewritten_by="ga", onnx="original fails too", onnx_reason="odd", pt2="ok"),
        ExportRow("own", "d", "g", outcome="no site", reason="nothing to rewrite"),
        ExportRow("own", "e", "g", rewritten_by="ga", onnx="ill-conditioned", onnx_reason="0.2 away", pt2="ok"),
    ]
    page = "\n".join(export_page([{k: "" if v is None else str(v) for k, v in asdict(row).items()} for row in rows]))
    assert "(3 by ga, 1 by hdfgd)" in page
    assert "| f | 2 | 1 | 1 | 0 | 0 | 2.0e-07 | 2 | 0 | 0 | 0 | 1.0e-06 | 0 |" in page
    assert "| **all** | 5 | 1 | 1 | 1 | 1 | 2.0e-07 | 4 | 0 | 0 | 0 | 1.0e-06 | 0 |" in page
    assert "### onnx: failed: 1\n\n- no such op: b" in page
    assert "### onnx: original fails too: 1\n\n- odd: c" in page
    assert "### onnx: ill-conditioned: 1\n\n- 0.2 away: e" in page
    assert "### Not exported, no site: 1\n\n- nothing to rewrite: d" in page
