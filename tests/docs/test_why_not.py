"""The page about reasons says what the code says."""

from __future__ import annotations

from pathlib import Path

from rewriter.sites.out_of_scope import OUT_OF_SCOPE

PAGE = Path(__file__).resolve().parents[2] / "docs" / "why-not.md"


def test_the_page_explains_the_reasons_that_are_out_of_scope_and_no_others() -> None:
    section = PAGE.read_text(encoding="utf-8").split("\n## Out of scope\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{e.reason}` | {e.meaning} | {e.why} | {e.remedy} |" for e in OUT_OF_SCOPE]
