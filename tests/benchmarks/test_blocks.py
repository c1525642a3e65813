"""The block benchmark: what is compared computes the same, and the limits are those of the blocks they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from benchmarks.block_growth import fitted, many_terms, measure_growth, places
from benchmarks.block_subjects import block, block_step
from benchmarks.block_times import combine_traffic, measure_block
from benchmarks.blocks import bounds, main
from benchmarks.plot import write_bars, write_growth
from benchmarks.textbook import FORMULAS
from passes.functions import decomposition
from rewriter.bench.floor import record_products
from rewriter.bench.results import Row
from rewriter.bench.roofline import Roofline
from rewriter.bench.settings import Settings

QUICK = Settings(num_bench_iter=1, num_warm_iter=1)
ROOFLINE = Roofline(bandwidth=1e10, flops=1e11)
OF = {"gelu/3": "gelu", "gelu/4": "gelu", "tanh/4": "tanh"}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_textbook_computes_what_the_rewritten_block_computes(name: str) -> None:
    made = block(name, OF[name], "match", 16, 64, QUICK)
    x = torch.randn(9, 16)
    assert made.textbook is not None
    torch.testing.assert_close(made.textbook(x), made.rewritten(x))
    assert len(list(made.textbook.parameters())) == 2 * made.branches + 2


def test_a_block_is_measured_beside_the_mlp_its_products_and_the_textbook() -> None:
    row = measure_block(block("gelu/4", "gelu", "paper", 8, 32, QUICK), 4, QUICK, "eager", "forward+backward", ROOFLINE)
    assert {"mlp_ms", "block_ms", "products_ms", "textbook_ms", "to_mlp", "to_products", "to_textbook"} <= row.keys()
    assert row["hidden"] == 8
    assert row["gflops"] == round(3 * 2 * 4 * (8 * 4 * 8 + 8 * 8) / 1e9, 3)


def test_a_step_backward_gives_a_gradient_to_the_input_and_to_every_parameter() -> None:
    made = block("gelu/4", "gelu", "match", 8, 32, QUICK)
    step = block_step(made.rewritten, 4, 8, QUICK, backward=True)
    assert len(record_products(step)) == 3 * 2  # of each linear: its output, and the gradients of both factors


def test_the_combine_moves_its_branches_and_its_result() -> None:
    made = block("gelu/4", "gelu", "paper", 8, 32, QUICK)
    assert combine_traffic(made, 10, QUICK, backward=False) == 4 * 10 * 8 * (4 + 1)
    assert combine_traffic(made, 10, QUICK, backward=True) == 4 * 10 * 8 * ((4 + 1) + (4 + 1 + 4))


@pytest.mark.parametrize("terms", [2, 3, 8])
def test_a_decomposition_of_many_terms_has_them_and_holds_the_identity(terms: int) -> None:
    found = decomposition(many_terms(terms), of="silu")
    x = torch.linspace(-3, 3, 7)
    assert found.terms == terms
    torch.testing.assert_close(found(*[x] * terms), torch.nn.functional.silu(x))


def test_growth_is_measured_along_an_axis_and_fitted() -> None:
    rows = [measure_growth(place, QUICK) for place in places(128) if place.axis == "width"]
    assert [row["size"] for row in rows] == [64, 128]
    made: list[Row] = [{"axis": "width", "size": n, "mlp_ms": n**2.0, "block_ms": 5.0 * n} for n in (2, 4, 8)]
    assert fitted(made) == [{"axis": "width", "mlp_exponent": 2.0, "block_exponent": 1.0}]


def test_limits_belong_to_the_width_and_the_mode() -> None:
    common = {"to_products": 1.0, "to_textbook": 0.7, "peak_ratio": 0.9, "to_mlp": 1.0}
    paper: Row = {"block": "gelu/4 paper", "mode": "eager", "direction": "forward", **common}
    match: Row = {"block": "gelu/4 match", "mode": "compiled", "direction": "forward+backward", **common}
    limits = {bound.what.rpartition(": ")[2]: (bound.limit, bound.held) for bound in bounds([paper])}
    assert limits == {
        "block / MLP": (0.67, False), "block / own products": (1.15, True), "packed / separate linears": (0.75, True)
    }  # fmt: skip
    limits = {bound.what.rpartition(": ")[2]: (bound.limit, bound.held) for bound in bounds([match])}
    assert limits == {
        "block / MLP": (0.97, False), "block / own products": (1.05, True), "peak memory / MLP": (1.0, True)
    }  # fmt: skip


def test_the_command_writes_its_four_files(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(main)
    arguments = ["--tokens", "4", "--width", "8", "--hidden", "32", "--no-compiled", "--num-bench-iter", "1"]
    arguments += ["--only", "gelu/4"]
    outcome = CliRunner().invoke(app, [*arguments, "--output", str(tmp_path)])
    assert outcome.exit_code == 0, outcome.output
    assert {path.name for path in tmp_path.iterdir()} == {f"blocks.{kind}" for kind in ("json", "csv", "md", "png")}


def test_pictures_are_written(tmp_path: Path) -> None:
    bars = write_bars(tmp_path / "bars.png", "t", "ratio", {"a": 0.5, "b": 1.5})
    lines = write_growth(tmp_path / "growth.png", "t", {"width": {"mlp": [(1, 1.0), (2, 4.0)]}}, "ms")
    for path in (bars, lines):
        assert path.read_bytes().startswith(b"\x89PNG")
