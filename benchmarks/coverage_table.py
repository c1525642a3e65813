"""The result page of the coverage benchmark: one line per family, totals, failures, reasons."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median

from benchmarks.counted_table import counted_lines
from benchmarks.mlp_table import mlp_lines
from benchmarks.refusal_table import account, refusal_lines
from benchmarks.row_listing import Row, by_family, cell, listed


def plan_page(rows: Sequence[Row]) -> list[str]:
    """Write the lines about planning: rows are those of `PlanRow` as text."""
    lines = [
        "## Plan",
        "",
        "Activation calls are sites (a method may rewrite them), out of scope for every method, or refused for another",
        "reason. *Never seen*: modules that run an activation that is none of these; *checked*: models whose forward",
        "could be run to find that out. *÷ trace*: median ratio to `torch.fx.symbolic_trace` over the models (their",
        "number) where that works.",
        "",
        "| family | models | crashed | untraced modules | sites | out of scope | refused | checked | never seen "
        "| plan s | ÷ trace |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    families = by_family(rows)
    lines += [_plan_line(family, families[family]) for family in sorted(families)]
    lines += [_plan_line("**all**", rows), ""]
    kinds = _sum_of_counts(row["kinds"] for row in rows)
    lines += ["Sites by kind: " + (", ".join(f"{n:,} {kind}" for kind, n in kinds.most_common()) or "none") + ".", ""]
    lines += counted_lines(rows)
    lines += refusal_lines(rows)
    lines += listed("Crashes", ((row["name"], row["crash"]) for row in rows if row["crash"]))
    unseen = ((row["name"], row["never_seen"]) for row in rows if row["never_seen"] not in ("", "[]"))
    return lines + listed("Models with activations never seen", unseen)


def rewrite_page(rows: Sequence[Row]) -> list[str]:
    """Write the lines about rewriting: rows are those of `RewriteRow` as text."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = [
        "## Rewrite",
        "",
        "*ok*: still its class, its modules' plain attributes and every state-dict entry outside the sites unchanged,",
        "outputs finite, a finite gradient for every new parameter, saved and restored bit for bit, and `generate`",
        f"works where there is one ({_models(rows, 'generated')}). A module whose own code calls an activation has",
        f"that expression of its source edited, in a subclass; that happened in {_models(rows, 'graphs')}.",
        "",
        "| family | models | " + " | ".join(f"{m}: ok | no site | failed | s" for m in methods) + " |",
        "|---|--:|" + "--:|" * 4 * len(methods),
    ]
    families = by_family(rows)
    for family, members in [*sorted(families.items()), ("**all**", rows)]:
        cells = [family, str(len({row["name"] for row in members}))]
        for method in methods:
            own = [row for row in members if row["method"] == method]
            outcomes = Counter(row["outcome"] for row in own)
            cells += [str(outcomes[outcome]) for outcome in ("ok", "no site", "failed")]
            cells.append(f"{sum(float(row['seconds']) for row in own):.1f}")
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *mlp_lines(rows, methods)]
    for title, outcome in (("Failures", "failed"), ("No site", "no site"), ("Out of scope", "out of scope")):
        found = [row for row in rows if row["outcome"] == outcome]
        lines += listed(title, ((f"{row['name']} ({row['method']})", row["reason"]) for row in found))
    return lines


def environment_page(environment: Mapping[str, str]) -> list[str]:
    """Write the lines that say where the figures come from."""
    return ["| | |", "|---|---|", *(f"| {name} | {cell(value)} |" for name, value in environment.items()), ""]


def _plan_line(family: str, rows: Sequence[Row]) -> str:
    ratios = [float(r["plan_s"]) / float(r["trace_s"]) for r in rows if r["plan_s"] and float(r["trace_s"] or 0) > 0]
    found = account(rows)
    cells = [
        family,
        str(len(rows)),
        str(sum(bool(row["crash"]) for row in rows)),
        f"{sum(int(row['untraced']) for row in rows):,}",
        *(f"{count:,}" for count in (found.sites, found.beyond.total(), found.refused.total())),
        str(sum(bool(row["never_seen"]) for row in rows)),
        str(found.never_seen),
        f"{sum(float(row['plan_s'] or 0) for row in rows):.2f}",
        f"{median(ratios):.2f} ({len(ratios)})" if ratios else "–",
    ]
    return "| " + " | ".join(cells) + " |"


def _models(rows: Sequence[Row], column: str) -> str:
    """Count the models with a value other than 0 or False in a column."""
    found = {row["name"] for row in rows if row["outcome"] == "ok" and row.get(column, "0") not in ("", "0", "False")}
    return f"{len(found)} model{'' if len(found) == 1 else 's'}"


def _sum_of_counts(texts: Iterable[str]) -> Counter[str]:
    total: Counter[str] = Counter()
    for text in texts:
        total.update(json.loads(text))
    return total
