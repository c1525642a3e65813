"""The warm start: the rewritten model takes over what the original knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from rewriter.calibration import listed
from rewriter.errors import UsageError
from rewriter.evaluation import evaluating
from rewriter.recipe import Recipe, RewriteOptions, SiteRecord
from rewriter.surgery.placed import placed_function
from rewriter.warm.distillation import autocast, distil, faster_precision
from rewriter.warm.layers import carry
from rewriter.warm.moments import Moments
from rewriter.warm.outputs import Comparison, compare, places_of
from rewriter.warm.record import SiteWarmth, WarmRecord
from rewriter.warm.refitting import can_refit, features_of, refit
from rewriter.warm.sensitivity import sensitivities
from rewriter.warm.units import fittest
from rewriter.warm.watching import moved, rows, run, seeing

OnProgress = Callable[[str, int, int], None]

_HELD_OUT, _MOST_HELD_OUT = 0.1, 8
_MOST_POSITIONS = 32_768
_SENSITIVITY_INPUTS = 8
_EXACT = 1e-5


def warm_start(
    original: nn.Module,
    rewritten: nn.Module,
    recipe: Recipe,
    calibration: Iterable[Any] | None,
    on_progress: OnProgress | None = None,
) -> WarmRecord:
    """Give the new layers of a rewritten model weights made from those in their place, and fit them to data.

    Without calibration: every branch gets the weights of the kept units, all of them where the width allows; then a
    decomposition computes what the original did. With it: units are chosen by what they contribute, the second layers
    are regressed one after the other, each on the rewritten ones before it, and what is left of the time is spent on
    distillation. Nothing is fitted where the copies are exact already.

    Args:
        original: the model that the recipe was made for; not changed.
        rewritten: what it became; the weights of its new layers change.
        recipe: what was done; its options say how long it may take.
        calibration: example inputs, each a tensor, a tuple of arguments or a dict of keyword arguments, and best a
            batch. A tenth of them, at most eight, are held out to measure
            the errors. None: the weights alone are used.
        on_progress: called with what is done now, how much of it is done, and how much there is.

    Raises:
        UsageError: there are no inputs, or the model cannot run on them, or gives values that are not finite.
    """
    started = time.perf_counter()
    if next(rewritten.parameters()).device.type == "meta":
        return WarmRecord(inputs=0)
    if calibration is None:
        carry(original, rewritten, recipe, {})
        return WarmRecord(inputs=0, seconds=round(time.perf_counter() - started, 3))
    options = RewriteOptions.model_validate({n: recipe.options[n] for n in ("init", "warm_seconds", "warm_steps")})
    device = next(original.parameters()).device
    inputs = [moved(given, device) for given in listed(calibration)]
    with torch.inference_mode(False), torch.random.fork_rng(), evaluating(original), evaluating(rewritten):
        warming = _Warming(original, rewritten, recipe, inputs, on_progress or _unseen)
        carry(original, rewritten, recipe, warming.chosen_units())
        before = warming.compare()
        refitted = steps = 0
        if (before.outputs or 0.0) > _EXACT:
            refitted = warming.refit()
            fitted = warming.compare()
            left = options.warm_seconds - (time.perf_counter() - started)
            steps = warming.distil(recipe.seed, left, options.warm_steps)
            after = warming.better(fitted) if steps else fitted
        else:
            after = before
    return WarmRecord(
        inputs=len(inputs),
        refitted=refitted,
        steps=steps,
        precision=warming.precision,
        seconds=round(time.perf_counter() - started, 3),
        output_before=before.outputs,
        output_after=after.outputs,
        sites=tuple(warming.warmth(site, before, after) for site in recipe.sites),
    )


class _Warming:
    def __init__(
        self, original: nn.Module, rewritten: nn.Module, recipe: Recipe, inputs: list[Any], on_progress: OnProgress
    ) -> None:
        held_out = min(max(1, round(_HELD_OUT * len(inputs))), _MOST_HELD_OUT)
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(recipe.seed)).tolist()
        shuffled = [inputs[i] for i in order]
        self.held_out, self.inputs = shuffled[:held_out], shuffled[held_out:] or shuffled
        self.original, self.rewritten, self.recipe, self.on_progress = original, rewritten, recipe, on_progress
        self.places = places_of(recipe, rewritten)
        self.device = next(original.parameters()).device
        self.precision = faster_precision(self.device)
        self.second = {
            site.path: site
            for site in recipe.sites
            if site.consumer and site.path in self.places and can_refit(rewritten.get_submodule(site.consumer))
        }
        self.targets: dict[str, list[list[Tensor]]] = {path: [] for path in self.second}
        self.regressed: list[Any] = []
        self.refitted: list[tuple[nn.Parameter, Tensor]] = []
        self.positions = 0

    def chosen_units(self) -> dict[str, Tensor]:
        """Choose the units that are kept; on the way, note the original's outputs that will be regressed."""
        narrowed = {path: site for path, site in self.second.items() if _narrowed(site) and self._pointwise(site)}
        channels = {str(site.consumer): site.channels_dim for site in self.second.values()}
        seen = {path: Moments() for path in narrowed}
        for done, given in enumerate(self.inputs):
            if self.positions >= _MOST_POSITIONS:
                break
            self.positions += self._note(given, seen)
            self.on_progress("measuring units", done + 1, len(self.inputs))
        weights = {}
        if narrowed:
            few = self.inputs[:_SENSITIVITY_INPUTS]
            weights = sensitivities(self.original, channels, few, self.recipe.seed)
        kept = {}
        for done, (path, site) in enumerate(narrowed.items()):
            assert site.hidden is not None
            moments = seen[path]
            cross = moments.cross
            weight = weights.get(str(site.consumer), torch.ones(cross.shape[1], device=cross.device))
            kept[path] = fittest(moments.gram, cross, weight, site.hidden[1])
            self.on_progress("choosing units", done + 1, len(narrowed))
        return kept

    def refit(self) -> int:
        """Regress the second layers in order of depth, each on what the ones before it make of the inputs now."""
        needed = max((site.hidden[1] for site in self.second.values() if site.hidden), default=0)
        if self.second and self.positions < needed:
            raise UsageError(
                expected=f"calibration inputs with at least {needed} positions, one for each hidden unit",
                found=str(self.positions),
                remedy="give more of them, or none to copy the weights alone",
            )
        for done, (path, site) in enumerate(self.second.items()):
            context = autocast(self.device, self.precision)
            refit(self.rewritten, str(site.consumer), self.targets[path], self.regressed, context)
            self.on_progress("regressing second layers", done + 1, len(self.second))
        self.targets.clear()
        return len(self.second)

    def distil(self, seed: int, seconds: float, steps: int | None) -> int:
        """Train the new weights for what is left of the time."""
        trained = [p for p in self._new_parameters() if p.dtype in (torch.float32, torch.float64)]
        if not trained or (steps is None and seconds <= 0) or steps == 0:
            return 0
        self.refitted = [(parameter, parameter.detach().clone()) for parameter in trained]
        return distil(
            self.original,
            self.rewritten,
            trained,
            {site.producer: site.channels_dim for site in self.recipe.sites},
            self.inputs,
            seed=seed,
            seconds=seconds,
            steps=steps,
            precision=self.precision,
            on_step=lambda done, total: self.on_progress("distilling", done, total),
        )

    def better(self, fitted: Comparison) -> Comparison:
        """Compare again; where distillation did not bring the outputs nearer, take it back."""
        distilled = self.compare()
        if (distilled.outputs or 0.0) <= (fitted.outputs or 0.0):
            return distilled
        with torch.no_grad():
            for parameter, values in self.refitted:
                parameter.copy_(values)
        return fitted

    def compare(self) -> Comparison:
        """Measure the errors on the inputs that nothing is fitted to."""
        return compare(self.original, self.rewritten, dict(self.places.values()), self.held_out)

    def warmth(self, site: SiteRecord, before: Comparison, after: Comparison) -> SiteWarmth:
        """Record the errors of one site."""
        place = self.places.get(site.path, ("", 0))[0]
        return SiteWarmth(path=site.path, before=before.error(place), after=after.error(place))

    def _note(self, given: Any, seen: Mapping[str, Moments]) -> int:
        made: dict[str, list[Tensor]] = {path: [] for path in self.second}
        paths = {str(site.consumer): path for path, site in self.second.items()}
        most = 0

        def see(place: str, entered: Tensor, left: Tensor) -> None:
            nonlocal most
            path = paths[place]
            site = self.second[path]
            values = rows(left, site.channels_dim, given)
            made[path].append(values.to(torch.bfloat16 if self.precision == "bfloat16" else values.dtype))
            if path in seen:
                seen[path].add(features_of(self.original.get_submodule(place), entered, given), values)
            most = max(most, len(values))

        with torch.no_grad(), autocast(self.device, self.precision), seeing(self.original, list(paths), see):
            run(self.original, given)
        for path, values in made.items():
            self.targets[path].append(values)
        self.regressed.append(given)
        return most

    def _pointwise(self, site: SiteRecord) -> bool:
        """Whether each unit is one feature of the regression."""
        weight = self.original.get_submodule(str(site.consumer)).get_parameter("weight")
        return weight.ndim == 2 or weight[0, 0].numel() == 1

    def _new_parameters(self) -> list[nn.Parameter]:
        recipe = self.recipe
        changed = [r.path for r in recipe.linears] + [r.path for r in recipe.channelwise]
        changed += [record.path for record in recipe.experts]
        modules = [self.rewritten.get_submodule(path) for path in changed]
        modules += [placed_function(self.rewritten, site) for site in self.recipe.sites]
        found = {id(parameter): parameter for module in modules for parameter in module.parameters()}
        return list(found.values())


def _unseen(what: str, done: int, total: int) -> None:
    """Report nothing."""


def _narrowed(site: SiteRecord) -> bool:
    return site.hidden is not None and site.hidden[1] < site.hidden[0]
