"""The difference that a rewrite made: per site, in the source, per tensor, and in what the model computes."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from torch import nn

from rewriter.comparison.original import Original, Weights
from rewriter.comparison.outputs import WHOLE, relative_errors
from rewriter.comparison.source import SourceChange, source_changes
from rewriter.comparison.tensors import Names, TensorChange, changes_of_shape, compare_names
from rewriter.recipe import Recipe, SiteRecord
from rewriter.surgery.placed import placed


class SiteDifference(BaseModel):
    """What a rewrite changed at one site.

    Attributes:
        path: the site's name.
        before: the function that it had.
        after: the function that it has.
        tensors: those of its layers and functions that have another shape, are new or are gone.
        parameters_before: as the recipe counts them, see `SiteRecord`.
        parameters_after: the same after the rewrite.
        measured_at: path of the module whose output is compared: the last layer of the site, or its function.
        error: relative error of that output, see `relative_errors`; None where it could not be compared.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    before: str
    after: str
    tensors: tuple[TensorChange, ...]
    parameters_before: int
    parameters_after: int
    measured_at: str
    error: float | None


class Difference(BaseModel):
    """What a rewrite, and any training since, changed.

    Attributes:
        method: of the rewrite.
        original_weights: what the rewritten model is compared with; ``none``: with the structure alone.
        sites: in order of depth.
        source: what changed in the code of modules that call their activations themselves.
        names: of the tensors, by what became of them.
        parameters_before: of the whole model.
        parameters_after: the same after the rewrite.
        error: relative error of the model's outputs; None without the original's weights or without known inputs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    original_weights: Weights
    sites: tuple[SiteDifference, ...]
    source: tuple[SourceChange, ...]
    names: Names
    parameters_before: int
    parameters_after: int
    error: float | None


def compare(original: Original, rewritten: nn.Module, recipe: Recipe, inputs: Any = None) -> Difference:
    """Compare a rewritten model with its original; neither is changed.

    Args:
        original: what the recipe was made for.
        rewritten: what the recipe made of it, trained since or not.
        recipe: the recipe.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments that both models are run on.

    Raises:
        UsageError: the recipe was made for other code than the original's.
        ValidationError: a model cannot be run on the inputs.
    """
    before, after = original.model.state_dict(), rewritten.state_dict()
    places = {site.path: _measured_at(site, recipe) for site in recipe.sites}
    errors: dict[str, float | None] = {}
    if inputs is not None and original.weights != "none":
        errors = relative_errors(original.model, rewritten, [*places.values(), WHOLE], inputs)
    tensors = _by_site(recipe, changes_of_shape(before, after), rewritten)
    return Difference(
        method=recipe.method,
        original_weights=original.weights,
        sites=tuple(
            SiteDifference(
                path=site.path,
                before=site.activation,
                after=site.placement.function,
                tensors=tuple(tensors[site.path]),
                parameters_before=site.parameters_before,
                parameters_after=site.parameters_after,
                measured_at=places[site.path],
                error=errors.get(places[site.path]),
            )
            for site in recipe.sites
        ),
        source=source_changes(original.model, rewritten, recipe),
        names=compare_names(before, after),
        parameters_before=recipe.parameters_before,
        parameters_after=recipe.parameters_after,
        error=errors.get(WHOLE),
    )


def _measured_at(site: SiteRecord, recipe: Recipe) -> str:
    if site.consumer is not None:
        return site.consumer
    if site.producer in {record.path for record in recipe.experts}:
        return site.producer
    return site.module if site.module is not None else site.owner


def _by_site(recipe: Recipe, changes: list[TensorChange], rewritten: nn.Module) -> dict[str, list[TensorChange]]:
    """Give every change to the site whose layers or function it belongs to, or stands nearest to."""
    found: dict[str, list[TensorChange]] = {site.path: [] for site in recipe.sites}
    paths = {
        site.path: [
            path
            for path in (site.producer, site.partner, site.consumer, placed(rewritten, site), site.path)
            if path is not None
        ]
        for site in recipe.sites
    }
    for change in changes:
        parts = change.name.split(".")
        nearest = max(paths, key=lambda site: max(_shared(parts, path) for path in paths[site]))
        found[nearest].append(change)
    return found


def _shared(parts: list[str], path: str) -> int:
    count = 0
    for part, other in zip(parts, path.split("."), strict=False):
        if part != other:
            break
        count += 1
    return count
