"""How far a rewritten model is from the original on calibration inputs: at its sites and at its outputs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.warm.watching import rows, run, seeing

_OUTPUT = "output "  # no path of a module has a space


class Comparison:
    """Squared errors at places in two models, and the spread of the original's values there."""

    def __init__(self) -> None:
        self._errors: dict[str, float] = defaultdict(float)
        self._moments: dict[str, list[Any]] = {}

    def add(self, place: str, expected: Tensor, found: Tensor) -> None:
        """Take in rows ``[N, C]`` of the original and of the rewritten model."""
        expected, found = expected.double(), found.double()
        self._errors[place] += float((found - expected).square().sum())
        seen = self._moments.setdefault(place, [0, 0.0, 0.0])
        seen[0] += len(expected)
        seen[1] = seen[1] + expected.sum(0)
        seen[2] += float(expected.square().sum())

    def error(self, place: str) -> float | None:
        """Give the root of the summed squared errors over the summed squared distances from the mean; None: unseen."""
        if place not in self._moments:
            return None
        count, sums, squares = self._moments[place]
        spread = squares - float((sums / count).square().sum()) * count
        # One row, or constant ones, have no spread; their size is what an error is measured by.
        spread = spread if spread > 1e-12 * squares else squares
        return float((self._errors[place] / max(spread, 1e-300)) ** 0.5)

    @property
    def outputs(self) -> float | None:
        """The largest error of the model's outputs."""
        errors = (self.error(place) for place in self._moments if place.startswith(_OUTPUT))
        return max((error for error in errors if error is not None), default=None)


def output_channels_dim(output: Tensor) -> int:
    """Give the dimension of a model's output that holds its channels: the second of images, else the last."""
    return 1 if output.ndim > 3 else -1


def compare(original: nn.Module, rewritten: nn.Module, places: Mapping[str, int], inputs: Sequence[Any]) -> Comparison:
    """Run both models on the same inputs.

    Args:
        original: in eval mode.
        rewritten: in eval mode.
        places: paths of modules, with the dimension of their output that holds the channels.
        inputs: calibration inputs.

    Raises:
        UsageError: a model cannot run on them, or the original's outputs are not finite.
    """
    comparison = Comparison()
    with torch.no_grad():
        for given in inputs:
            (left, outputs), (right, found) = _seen(original, places, given), _seen(rewritten, places, given)
            if not all(bool(torch.isfinite(value).all()) for value in outputs):
                raise UsageError(
                    expected="finite outputs of the original on the calibration inputs",
                    found="NaN or infinity",
                    remedy="check the inputs and the model's weights",
                )
            for place, values in left.items():
                for one, other in zip(values, right.get(place, []), strict=False):
                    if one.shape == other.shape:
                        dim = places[place]
                        comparison.add(place, rows(one, dim, given), rows(other, dim, given))
            for number, (one, other) in enumerate(zip(outputs, found, strict=True)):
                dim = output_channels_dim(one)
                comparison.add(f"{_OUTPUT}{number}", rows(one, dim, given), rows(other, dim, given))
    return comparison


def places_of(recipe: Recipe, rewritten: nn.Module) -> dict[str, tuple[str, int]]:
    """Give for each site the module whose output is compared, with the dimension of its channels.

    That is the second layer of an MLP, unless it makes the values of the next site; the packed experts; or the new
    function of a site that keeps its layers.
    """
    made = {site.producer for site in recipe.sites if site.hidden is not None}
    experts = {record.path for record in recipe.experts}
    places: dict[str, tuple[str, int]] = {}
    for site in recipe.sites:
        path = site.producer if site.producer in experts else site.consumer if site.hidden else site.module
        if path is None and site.hidden is not None:
            path = site.module
        if path is not None and (path not in made or path in experts):
            places[site.path] = (path, site.channels_dim)
    return places


def _seen(model: nn.Module, places: Mapping[str, int], given: Any) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
    values: dict[str, list[Tensor]] = defaultdict(list)
    with seeing(model, list(places), lambda path, _, left: values[path].append(left)):
        return values, run(model, given)
