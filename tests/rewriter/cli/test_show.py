"""``rewrite-model list show`` and ``list functions``: what is shown, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from passes.functions import activation_names


def test_list_functions_is_readable_at_100_columns(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    outcome = run("list", "functions")
    assert outcome.code == 0, outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 100
    assert "…│" not in outcome.out.replace(" ", "")
    for text in (*activation_names(), "-0.1289 … 1.1289", "> 0.128904", "g = x/(α + 1)", "closed", "table"):
        assert text in outcome.out


def test_list_functions_json_has_every_fact(run: Any) -> None:
    rows = {row["function"]: row for row in json.loads(run("list", "functions", "--json").out)["functions"]}
    assert tuple(rows) == activation_names()
    gelu = rows["gelu"]
    assert (gelu["kind"], gelu["adversarial"], gelu["least_alpha_works"]) == ("table", None, False)
    assert gelu["least_slope"] == pytest.approx(-gelu["least_alpha"], abs=1e-8)


def test_show_tells_a_function_at_the_lift_that_is_asked_for(run: Any) -> None:
    outcome = run("list", "show", "tanh", "--alpha", "0.5")
    assert outcome.code == 0, outcome.err
    text = " ".join(outcome.out.split())
    for words in ("f(x) tanh(x)", "f′(x) 1 - tanh(x)**2", "0 … 1", "least α ≥ 0", "g at α = 0.5 closed", "atanh("):
        assert words in text


def test_show_tells_a_decomposition_term_by_term(run: Any) -> None:
    outcome = run("list", "show", "tanh/4")
    assert outcome.code == 0, outcome.err
    text = " ".join(outcome.out.split())
    for words in ("of tanh", "terms 4", "∂F/∂x1 exp(x)/(exp(-1) + E)", "G1 Exponential", "G4 Bell", "scale = 0.324027"):
        assert words in text


def test_show_json_is_one_object(run: Any, tmp_path: Path) -> None:
    outcome = run("list", "show", "silu/2", "--json", "--plot", tmp_path / "silu.svg")
    shown = json.loads(outcome.out)
    assert (shown["decomposition"], shown["of"], shown["terms"], shown["alpha"]) == ("silu/2", "silu", 2, 1.0)
    assert [term["family"] for term in shown["G"]] == ["Constant", "Bell"]
    assert (tmp_path / "silu.svg").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x*sigmoid(2*x)"], "x*sigmoid(2*x)"),
        (["x/2"], "x/(α + 1/2)"),
        (["x1*sigmoid(x2)", "--activation", "silu"], "sigmoid(1)"),
    ],
)
def test_show_takes_an_expression(run: Any, arguments: list[str], words: str) -> None:
    outcome = run("list", "show", *arguments)
    assert outcome.code == 0, outcome.err
    assert words in outcome.out


@pytest.mark.parametrize("name", ["gelu", "gelu/4"])
def test_plot_writes_a_picture(run: Any, tmp_path: Path, name: str) -> None:
    outcome = run("list", "show", name, "--plot", tmp_path / "picture.png")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["gleu"], "did you mean 'gelu'?"),
        (["tanh/5"], "did you mean 'tanh/4'?"),
        (["x1*sigmoid(x2)"], "--activation"),
        (["x1*sigmoid(x2)", "--activation", "tanh"], "F(x,…,x) = tanh(x)"),
        (["gelu", "--activation", "silu"], "leave --activation out"),
        (["gelu", "--alpha", "0.1"], "alpha >= 0.1290"),
        (["gelu/2", "--alpha", "0"], "no closed form"),
        (["__import__('os')"], "expected"),
        (["gelu", "--plot", "absent/gelu.png"], "found absent"),
        (["gelu", "--plot", "gelu.bmp"], ".png, .svg, .pdf"),
        (["gleu", "--plot", "gelu.png"], "did you mean 'gelu'?"),
    ],
)
def test_what_cannot_be_shown_is_one_line_with_exit_code_2(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    outcome = run("list", "show", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith("error: expected ")
    assert len(outcome.err.strip().splitlines()) == 1
    assert words in outcome.err
    assert list(tmp_path.iterdir()) == []
