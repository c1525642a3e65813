"""The comparison of the MLPs found with those counted."""

from __future__ import annotations

from benchmarks.counted_table import counted_lines


def row(name: str, kinds: str, counted: str, note: str = "") -> dict[str, str]:
    return {"name": name, "family": name[0], "kinds": kinds, "counted": counted, "note": note}


ROWS = [
    row("a.all", '{"mlp": 2, "gated": 1, "linear": 7}', "3"),
    row("a.fewer", '{"mlp": 1}', "4", "two | go through a flatten"),
    row("b.more", '{"mlp": 5}', "2"),
    row("b.none", "{}", "0"),
    row("c.nobody_counted", '{"mlp": 9}', ""),
]


def test_each_library_has_its_sums_and_what_is_found_beyond_the_count_makes_up_for_nothing() -> None:
    lines = counted_lines(ROWS)
    assert "| a | 2 | 7 | 4 (57.1%) | 1 |" in lines
    assert "| b | 2 | 2 | 2 (100.0%) | 2 |" in lines
    assert "| **all** | 4 | 9 | 6 (66.7%) | 3 |" in lines


def test_models_that_differ_are_listed_with_the_note() -> None:
    text = "\n".join(counted_lines(ROWS))
    assert "### Fewer found than counted: 1\n\n- a.fewer: 1 of 4; two \\| go through a flatten" in text
    assert "### More found than counted: 1\n\n- b.more: 5 of 2" in text


def test_where_nobody_counted_there_is_nothing() -> None:
    assert counted_lines(ROWS[-1:]) == []
    assert counted_lines([{"name": "written before there were counts", "kinds": "{}"}]) == []
