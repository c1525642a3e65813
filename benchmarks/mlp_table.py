"""The table of the result page that says how many models with an MLP were rewritten, and why the others were not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

Row = Mapping[str, str]


def mlp_lines(rows: Sequence[Row], methods: Sequence[str]) -> list[str]:
    """Write the table, and the list of the models with an MLP that no method rewrote: rows of `RewriteRow` as text."""
    by_model: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_model[row["name"]].append(row)
    has_mlp = {name: _has_mlp(own) for name, own in by_model.items()}
    names = [name for name in by_model if has_mlp[name]]
    rewritten = {
        method: [n for n in names if any(row["method"] == method and row["outcome"] == "ok" for row in by_model[n])]
        for method in methods
    }
    any_method = set[str]().union(*rewritten.values())
    columns = [f"by {method}" for method in methods]
    counts = [len(any_method), *(len(rewritten[method]) for method in methods)]
    cells = [len(by_model), len(names), *(_share(count, len(names)) for count in counts)]
    return [
        "### Models with an MLP",
        "",
        "*With an MLP*: the original's forward runs an activation between two linear maps, whether the rewriter sees",
        "it or not. A linear map is a matrix product or convolution with weights; elementwise functions, gates, sums,",
        "norms, pools and changes of shape may stand between; softmax and matrix products of two values, as in",
        "attention, end the way. *Rewritten*: ok with one method at least.",
        "",
        "| measured | with an MLP | rewritten | " + " | ".join(columns) + " |",
        "|--:|--:|--:|" + "--:|" * len(methods),
        "| " + " | ".join(map(str, cells)) + " |",
        "",
        f"No MLP: {_names(name for name in by_model if has_mlp[name] is False)}.",
        f"Could not be run: {_names(name for name in by_model if has_mlp[name] is None)}.",
        "",
        f"### With an MLP, rewritten by no method: {len(names) - len(any_method)}",
        "",
        *_reasons({name: by_model[name] for name in names if name not in any_method}),
    ]


def _has_mlp(rows: Sequence[Row]) -> bool | None:
    counts = [int(row["mlps"]) for row in rows if row.get("mlps")]
    return max(counts) > 0 if counts else None


def _share(count: int, of: int) -> str:
    return f"{count} ({count / of:.1%})" if of else str(count)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"


def _reasons(models: Mapping[str, Sequence[Row]]) -> list[str]:
    by_reasons: dict[str, list[str]] = defaultdict(list)
    for name, rows in models.items():
        by_method: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            by_method[row["reason"]].append(row["method"])
        by_reasons["; ".join(f"({', '.join(m)}) {why}" for why, m in by_method.items())].append(name)
    ordered = sorted(by_reasons.items(), key=lambda item: -len(item[1]))
    return [f"- {', '.join(names)}: {why}".replace("|", "\\|") for why, names in ordered]
