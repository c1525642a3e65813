"""The results of the stream benchmark as a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def markdown(result: Mapping[str, Any]) -> str:
    """Return the figures, the environment and the command as Markdown."""
    copies = result["copy_seconds"]
    rows = "\n".join(
        f"| {row['workers']} | {row['cache']} | {row['seconds']} | {row['copy_seconds']} | {row['ratio']}× | "
        f"{row['peak_gb']} | {row['bound_gb']} |"
        for row in result["rows"]
    )
    kills = "\n".join(
        f"| {kill['workers']} | {kill['after_seconds']} | {kill['rerun_seconds']} | "
        f"{'yes' if kill['identical'] else '**no**'} |"
        for kill in result["kills"]
    )
    facts = "\n".join(f"- {name}: {value}" for name, value in result["environment"].items())
    return (
        "# Streaming a sharded checkpoint\n\n"
        f"`rewrite-model apply --stream --method {result['method']}` on a Llama of {result['gigabytes']} GB in "
        f"{result['shards']} shards (bfloat16): {result['resized_share']} of its values are made anew, the others are "
        "copied. `cp -r` copies the same files just before; what is on disk is synchronised first. With a cold cache "
        "the source's pages are dropped before each of the two, with a warm one they are read first. Medians of "
        f"{len(copies)} rounds. The peak is the most memory that all processes had resident at once, the interpreter "
        "and torch included and pages that several share counted once (sampled four times a second); the bound is the "
        "sum of each process's own peak as the kernel keeps it, with shared pages counted in each.\n\n"
        "| workers | cache | seconds | `cp` | ratio | peak GB | bound GB |\n|---|---|---|---|---|---|---|\n"
        f"{rows}\n\n"
        "The first process got SIGKILL at a random moment, and the same command was run again:\n\n"
        "| workers | killed after s | second run s | result identical |\n|---|---|---|---|\n"
        f"{kills}\n\n"
        f"Planning a Llama of 70B on the meta device (`rewrite-model plan`): {result['plan_70b_seconds']} s in all, "
        f"{result['plan_70b_peak_gb']} GB.\n\n"
        f"{facts}\n- command: `{result['command']}`\n"
    )
