"""The table of models with an MLP."""

from __future__ import annotations

from benchmarks.mlp_table import mlp_lines


def row(name: str, method: str, outcome: str, mlps: str, reason: str = "") -> dict[str, str]:
    return {"name": name, "method": method, "outcome": outcome, "mlps": mlps, "reason": reason}


ROWS = [
    row("both", "ga", "ok", "2"),
    row("both", "hdfgd", "ok", "2"),
    row("one", "ga", "no site", "1", "a gate"),
    row("one", "hdfgd", "ok", "1"),
    row("neither", "ga", "no site", "3", "untraced | split"),
    row("neither", "hdfgd", "failed", "3", "not finite"),
    row("second", "ga", "no site", "1", "untraced"),
    row("second", "hdfgd", "no site", "1", "untraced"),
    row("none", "ga", "no site", "0", "no activation"),
    row("unknown", "ga", "failed", "", "raised"),
]


def test_models_are_counted_by_whether_they_have_an_mlp_and_which_method_rewrote_them() -> None:
    lines = mlp_lines(ROWS, ["ga", "hdfgd"])
    assert "| 6 | 4 | 2 (50.0%) | 1 (25.0%) | 2 (50.0%) |" in lines
    assert "No MLP: none." in lines
    assert "Could not be run: unknown." in lines


def test_those_that_no_method_rewrote_are_listed_with_what_each_method_said() -> None:
    lines = mlp_lines(ROWS, ["ga", "hdfgd"])
    start = lines.index("### With an MLP, rewritten by no method: 2")
    assert lines[start + 2 :] == [
        r"- neither: (ga) untraced \| split; (hdfgd) not finite",
        "- second: (ga, hdfgd) untraced",
    ]


def test_rows_of_older_files_without_the_column_count_as_not_run() -> None:
    lines = mlp_lines([{"name": "old", "method": "ga", "outcome": "ok", "reason": ""}], ["ga"])
    assert "| 1 | 0 | 0 | 0 |" in lines
    assert "Could not be run: old." in lines
