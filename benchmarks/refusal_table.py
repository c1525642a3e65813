"""The part of the result page about the activations that are no sites: out of scope, or refused for another reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rewriter.sites.out_of_scope import OUT_OF_SCOPE, out_of_scope

Row = Mapping[str, str]


@dataclass(frozen=True)
class Account:
    """What became of the activation calls of some models.

    Attributes:
        sites: those that a method may rewrite.
        beyond: those that no method is for, by the beginning of their reason.
        refused: those that are refused for any other reason, by reason.
        never_seen: modules that ran an activation which is none of these, where that could be checked.
    """

    sites: int
    beyond: Counter[str]
    refused: Counter[str]
    never_seen: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.sites + self.beyond.total() + self.refused.total() + self.never_seen

    @property
    def refused_share(self) -> float:
        """The part of all that is refused or never seen; 0 when there are none."""
        return (self.refused.total() + self.never_seen) / self.total if self.total else 0.0


def account(rows: Sequence[Row]) -> Account:
    """Sum the activation calls of rows of `PlanRow` as text."""
    beyond, refused = Counter[str](), Counter[str]()
    for row in rows:
        for reason, count in json.loads(row["reasons"]).items():
            documented = out_of_scope(reason)
            if documented is None:
                refused[reason] += count
            else:
                beyond[documented.reason] += count
    never_seen = sum(len(json.loads(row["never_seen"])) for row in rows if row["never_seen"])
    return Account(sum(int(row["sites"]) for row in rows), beyond, refused, never_seen)


def refusal_lines(rows: Sequence[Row]) -> list[str]:
    """Write the totals and the two tables of reasons."""
    found = account(rows)
    lines = [
        "### Activations",
        "",
        f"{found.total:,} activation calls: {found.sites:,} sites, {found.beyond.total():,} out of scope,",
        f"{found.refused.total():,} refused for another reason, {found.never_seen:,} never seen. The last two are "
        f"{found.refused_share:.2%} of all.",
        "The reasons are explained in [why-not.md](../../docs/why-not.md).",
        "",
        "| out of scope | reason |",
        "|--:|---|",
    ]
    lines += [f"| {found.beyond[entry.reason]:,} | {entry.reason} |" for entry in OUT_OF_SCOPE]
    lines += ["", "| refused | reason |", "|--:|---|"]
    cells = ((count, reason.replace("|", "\\|")) for reason, count in found.refused.most_common())
    return lines + [f"| {count:,} | {reason} |" for count, reason in cells]
