"""The lines about rewrites with the same functions: what is bit for bit as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.row_listing import Row, by_family, listed


def identity_page(rows: Sequence[Row]) -> list[str]:
    """Write the lines about identity: rows are those of `IdentityRow` as text."""
    lines = [
        "## Identity",
        "",
        "Every site gets the function that it has. *ok*: the outputs are bit for bit those of the model, in eval mode",
        "and, from one random state, in train mode, as far as a second copy of the model repeats them (*both*, *eval*:",
        "in which modes). *split*: MLPs that hdfgd splits, carried out with the old widths and the old weights in all",
        "branches: equal up to rounding in both modes.",
        "",
        "| family | models | ok | no site | differs | failed | both | eval | sites | split |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for family, members in [*sorted(by_family(rows).items()), ("**all**", rows)]:
        outcomes = Counter(row["outcome"] for row in members)
        modes = Counter(row["modes"] for row in members)
        cells = [family, str(len(members))]
        cells += [str(outcomes[outcome]) for outcome in ("ok", "no site", "differs", "failed")]
        cells += [str(modes["eval train"]), str(modes["eval"])]
        cells += [f"{sum(int(row[name]) for row in members):,}" for name in ("sites", "split")]
        lines.append("| " + " | ".join(cells) + " |")
    lines.append("")
    for title, outcome in (("Differences", "differs"), ("Failures", "failed"), ("Out of scope", "out of scope")):
        lines += listed(title, ((row["name"], row["reason"]) for row in rows if row["outcome"] == outcome))
    noted = ((row["name"], row["reason"]) for row in rows if row["outcome"] == "ok" and row["reason"])
    return lines + listed("Notes", noted)
