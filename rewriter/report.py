"""The report: what a rewrite did, for people and programs."""

from __future__ import annotations

from collections import Counter

from pydantic import BaseModel, ConfigDict

from rewriter.finetune.record import FinetuneRecord
from rewriter.recipe import MissRecord, Recipe, SiteRecord
from rewriter.warm.record import WarmRecord


class Totals(BaseModel):
    """Sums over a rewrite.

    Attributes:
        sites: number of rewritten sites.
        misses: number of activations and modules left as they are.
        refused: the same by reason.
        parameters_before: of the whole model, tied parameters counted once.
        parameters_after: the same after the rewrite.
        resized_before: parameters of the rewritten chains of MLPs.
        resized_after: the same after the rewrite.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sites: int
    misses: int
    refused: dict[str, int]
    parameters_before: int
    parameters_after: int
    resized_before: int
    resized_after: int


class Report(BaseModel):
    """What a rewrite did: the sites, what was left and why, the totals, and what fine-tunings achieved since."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    sites: tuple[SiteRecord, ...]
    misses: tuple[MissRecord, ...]
    totals: Totals
    finetunings: tuple[FinetuneRecord, ...] = ()
    warm: WarmRecord | None = None


def report_of(recipe: Recipe, warm: WarmRecord | None = None) -> Report:
    """Sum a recipe up, with what its warm start did if it had one."""
    resized = [site for site in recipe.sites if site.hidden is not None]
    return Report(
        method=recipe.method,
        sites=recipe.sites,
        misses=recipe.misses,
        totals=Totals(
            sites=len(recipe.sites),
            misses=len(recipe.misses),
            refused=dict(Counter(miss.reason for miss in recipe.misses).most_common()),
            parameters_before=recipe.parameters_before,
            parameters_after=recipe.parameters_after,
            resized_before=sum(site.parameters_before for site in resized),
            resized_after=sum(site.parameters_after for site in resized),
        ),
        warm=warm,
    )
