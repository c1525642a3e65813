"""The part of the coverage page about export: one line per family, totals, failures with the exporter's reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from benchmarks.export_check import OUTCOMES, TARGETS
from benchmarks.row_listing import Row, by_family, listed


def export_page(rows: Sequence[Row]) -> list[str]:
    """Write the lines about export: rows are those of `ExportRow` as text."""
    methods = Counter(row["rewritten_by"] for row in rows if row["rewritten_by"])
    by = ", ".join(f"{count} by {method}" for method, count in methods.most_common())
    lines = [
        "## Export",
        "",
        f"Rewritten ({by}), exported with a dynamic batch, compared with eager at batch 1, 2, 7. *ok*: the file loads",
        "and agrees; *ill-conditioned*: it does not, but is as close to the model in float64 as eager is, within ten",
        "times; *original fails too*: the model as it was cannot be exported to that format either; *worst*: the",
        "largest max|Δ| / max|y|.",
        "",
        "| family | models | " + " | ".join(f"{t}: {' | '.join(OUTCOMES)} | worst" for t in TARGETS) + " | s |",
        "|---|--:|" + "--:|" * ((len(OUTCOMES) + 1) * len(TARGETS) + 1),
    ]
    for family, members in [*sorted(by_family(rows).items()), ("**all**", rows)]:
        cells = [family, str(len(members))]
        for target in TARGETS:
            outcomes = Counter(row[target] for row in members)
            cells += [str(outcomes[outcome]) for outcome in OUTCOMES]
            errors = [float(row[f"{target}_error"]) for row in members if row[f"{target}_error"]]
            cells.append(f"{max(errors):.1e}" if errors else "–")
        cells.append(f"{sum(float(row['seconds']) for row in members):.0f}")
        lines.append("| " + " | ".join(cells) + " |")
    for target in TARGETS:
        for outcome in OUTCOMES[1:]:
            found = ((row["name"], row[f"{target}_reason"]) for row in rows if row[target] == outcome)
            lines += listed(f"{target}: {outcome}", found)
    for outcome in ("failed", "no site", "out of scope"):
        found = ((row["name"], row["reason"]) for row in rows if row["outcome"] == outcome)
        lines += listed(f"Not exported, {outcome}", found)
    return lines
