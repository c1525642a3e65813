"""The results of the warm-start benchmark as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_COMMAND = "python -m benchmarks.warm --data ../shared/data --output benchmarks/results"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the tables and the environment."""
    lines = ["# What warm starts keep of trained models", "", f"`{_COMMAND}`", ""]
    lines += [
        f"- `--only {part}`: " + ", ".join(f"{name} {value}" for name, value in facts.items())
        for part, facts in results["environment"].items()
    ]
    for title, part in (("Sentence embeddings of MiniLM", "sentences"), ("Digits", "digits")):
        if part in results:
            lines += ["", f"## {title}, equal parameters, before any fine-tuning on labels", *_runs(results[part])]
    if "kept" in results:
        kept = [row for row in results["kept"] if row["error"] is not None]
        worst = max(row["error"] for row in kept)
        others = ", ".join(row["model"] for row in results["kept"] if row["error"] is None)
        lines += [
            "",
            f"## Old width (`width=keep`), no calibration: relative error of the outputs, worst {worst:.1e}",
            "",
        ]
        lines += _table(["model", "sites", "error"], [[r["model"], r["sites"], f"{r['error']:.1e}"] for r in kept])
        lines += ["", f"Without a site of the method: {others or 'none'}."]
    return "\n".join(lines) + "\n"


def _runs(rows: list[dict[str, Any]]) -> list[str]:
    plain = [name for name in rows[0] if name not in ("warm", "parameters", "functions", "hidden")]
    heads = [*plain, "functions", "hidden", "parameters", "steps"]
    cells = [
        [
            *(row[name] for name in plain),
            ", ".join(row["functions"]),
            " → ".join(map(str, row["hidden"])),
            " → ".join(f"{count:,}" for count in row["parameters"]),
            row["warm"]["steps"],
        ]
        for row in rows
    ]
    lines = ["", *_table(heads, cells)]
    for row in rows:
        warm = row["warm"]
        errors = [(site["path"], site["before"], site["after"]) for site in warm["sites"]]
        errors.append(("the model's outputs", warm["output_before"], warm["output_after"]))
        lines += ["", f"Relative errors of {row['model']}, {row['method']}, on held-out calibration inputs:", ""]
        lines += _table(
            ["site", "weights copied", "at the end"],
            [[path, *("" if e is None else f"{e:.3f}" for e in pair)] for path, *pair in errors],
        )
    return lines


def _table(heads: list[str], rows: list[list[Any]]) -> list[str]:
    return [f"| {' | '.join(map(str, cells))} |" for cells in (heads, ["---"] * len(heads), *rows)]
