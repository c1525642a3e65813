"""Exactness: a plan that is carried out with the same functions, widths and weights must change nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_map_only

from rewriter.counting import count_parameters
from rewriter.errors import ValidationError
from rewriter.recipe import Recipe, SiteRecord
from rewriter.sites import Site, match
from rewriter.sites.recognition import computes
from rewriter.sites.region import RegionFunction
from rewriter.sites.site import Hidden
from rewriter.surgery.copies import copied
from rewriter.tracing import trace
from rewriter.tracing.trace import reason
from rewriter.validation.carried_out import carried_out, name_of_function
from rewriter.validation.evidence import Evidence, difference, noise, observed, one_random_state
from rewriter.validation.exact_recipe import exact_recipe, groups_of, restricted, wider_recipe
from rewriter.validation.reference import disturb, reference

_TOLERANCE: Final = {torch.float64: 1e-9, torch.float32: 1e-5}
_ROUGH_TOLERANCE: Final = 1e-2
_ROUNDINGS: Final = 30  # how much more another order of operations may change than one rounding of every weight
_MOST_NOISE: Final = 0.05
_MOST_IN_DOUBLE: Final = 2 * 10**8  # parameters of a model that is compared in double precision from the start


def check_exact(model: nn.Module, recipe: Recipe, inputs: Any) -> str | None:
    """Carry a plan out exactly on a copy, and compare what the copy computes with what the model computes.

    Every site keeps its function and all branches get the old weights. Then the outputs, and what every module gives
    whose layers change together or not at all, must be equal up to rounding: with the old hidden widths, in eval mode
    and, from one random state, in train mode; and where widths change, with twice the old widths in eval mode, every
    unit there twice. Besides, each function must be called where and as often as its layer is, get that layer's values
    and not another's, and be the one that the plan names. Weights that are all alike, such as zeros, are drawn first,
    on both sides. The model is not changed.

    Args:
        model: the model that the recipe was made for, with weights.
        recipe: the plan.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Returns:
        Why nothing could be compared, or not all of it; None when everything is equal.

    Raises:
        ValidationError: something differs; the first site that causes it is named.
    """
    if not recipe.sites:
        return None
    if any(parameter.is_meta for parameter in model.parameters()):
        return "the model has no weights: it is on the meta device"
    checked: _Checked | None = None
    double_first = count_parameters(model) <= _MOST_IN_DOUBLE
    for dtype in (torch.float64, None) if double_first else (None, torch.float64):
        attempt = _Checked(model, recipe, inputs, dtype)
        if attempt.reason is not None:
            checked = checked or (None if dtype is not None else attempt)
            continue
        checked = attempt
        error = checked.error(recipe)
        if error is None or dtype is not None:
            break
    assert checked is not None
    if checked.reason is not None:
        return checked.reason
    if error is not None and checked.forget_what_varies():
        error = checked.error(recipe)
    if error is None:
        return checked.left_out(recipe)
    first, error = _first_fault(checked, recipe, error)
    raise ValidationError(
        expected="the same outputs from the same functions, widths and weights",
        found=f"{error}, first with {first.path} ({first.activation} fed by {first.producer})",
        remedy=f"exclude {first.path} and report the model: the plan or the surgery is wrong there",
    )


class _Checked:
    """A model on inputs, in one dtype; None for its own."""

    def __init__(self, model: nn.Module, recipe: Recipe, inputs: Any, dtype: torch.dtype | None) -> None:
        self.reason: str | None = None
        self._dtype = dtype
        self._inputs = tree_map_only(Tensor, self._converted, inputs)
        self._want: dict[str, Evidence] = {}
        self._noise: dict[str, float] = {}
        self._calls: dict[str, Evidence] = {}
        self._varying: list[str] = []
        self._sites: Mapping[str, Site] = {}
        try:
            self._model = reference(model, dtype)
            self._layers = [path for path, _ in self._model.named_modules() if path]
            runs = self._observed(copied(self._model))
        except Exception as error:  # it may refuse to be copied, or to change its dtype
            self.reason = f"the model does not run on the example inputs: {reason(error)}"
            return
        self._want = {mode: run for mode, run in runs.items() if isinstance(run, Evidence)}
        if "eval" not in self._want:  # some models train on other inputs, such as labels
            self.reason = f"the model does not run on the example inputs: {runs['eval']}"
            return
        with one_random_state(self._model):
            self._sites = {site.address.path: site for site in match(trace(self._model, self._inputs)).sites}
        if lost := [site.path for site in recipe.sites if site.path not in self._sites]:
            self.reason = f"{lost[0]} is not found on these inputs"
        elif not self._want["eval"].outputs and not any(self._want["eval"].marks.values()):
            self.reason = "neither the model nor a module of it gives a tensor"

    def error(self, recipe: Recipe) -> str | None:
        """Say what is wrong with the plan carried out exactly, or None."""
        for site in recipe.sites:
            found = self._sites[site.path]
            if found.original is not None and not computes(found.activation, found.original()):
                return f"{site.path} does not compute {site.activation}"
        wider = wider_recipe(recipe, self._sites)
        wrong = self._wrong(recipe, exact_recipe(recipe), ("eval", "train"), "")
        if wrong is None and wider is not None:  # not in train mode: dropout draws other numbers for other widths
            wrong = self._wrong(recipe, wider, ("eval",), " with twice the units")
        return wrong

    def forget_what_varies(self) -> bool:
        """Leave out the modes in which the model gives other outputs every time; say whether there are any."""
        again = self._observed(copied(self._model))
        for mode, want in list(self._want.items()):
            found = again[mode]
            if isinstance(found, str) or difference(want, found, lambda path: True, self._tolerance) is not None:
                del self._want[mode]
                self._varying.append(mode)
        return bool(self._varying)

    def left_out(self, recipe: Recipe) -> str | None:
        """Say what of a plan was not compared, or None; to be asked when all else is equal."""
        if self._varying:
            return f"the model gives other outputs every time in {' and '.join(self._varying)} mode"
        missing = [
            s.path for s in recipe.sites if not any(run.calls[name_of_function(s)] for run in self._calls.values())
        ]
        if not missing:
            return None
        return f"the example inputs do not reach {len(missing)} of {len(recipe.sites)} sites, such as {missing[0]}"

    def _wrong(self, plan: Recipe, recipe: Recipe, modes: Sequence[str], widths: str) -> str | None:
        try:
            made, functions = carried_out(self._model, plan, recipe, self._sites)
        except Exception as error:  # layers that do not fit together raise anything
            return f"it cannot be carried out: {reason(error)}"
        found = self._observed(made, [mode for mode in modes if mode in self._want], functions)
        if not widths:
            self._calls = {mode: got for mode, got in found.items() if isinstance(got, Evidence)}
        for mode, got in found.items():
            if isinstance(got, str):
                return f"it does not run in {mode} mode{widths}: {got}"
            wrong = (
                self._difference(mode, got, plan) or self._miscalled(got, plan) or self._left_behind(mode, got, plan)
            )
            if wrong is not None and not (mode == "train" and self._is_same_without_dropout(plan, recipe)):
                return f"{wrong} in {mode} mode{widths}"
        return None

    def _is_same_without_dropout(self, plan: Recipe, recipe: Recipe) -> bool:
        """Say whether only dropout differs: ahead of an activation it draws other numbers for other widths."""
        if all(site.placement.branches == 1 for site in plan.sites):
            return False
        made, functions = carried_out(self._model, plan, recipe, self._sites)
        want, got = (
            self._observed(_undropped(copied(self._model))),
            self._observed(_undropped(made), functions=functions),
        )
        before, after = want["train"], got["train"]
        if isinstance(before, str) or isinstance(after, str):
            return False
        allowed = min(max(self._tolerance, _ROUNDINGS * self._noise.get("train", 0.0)), _MOST_NOISE)
        return difference(before, after, _Comparable(plan, self._sites), allowed) is None

    def _difference(self, mode: str, got: Evidence, recipe: Recipe) -> str | None:
        comparable = _Comparable(recipe, self._sites)
        found = difference(self._want[mode], got, comparable, self._tolerance)
        if found is None:
            return None
        if not self._noise:
            again = self._observed(disturb(copied(self._model), max(run.eps for run in self._want.values())))
            self._noise = {m: noise(self._want[m], run) for m, run in again.items() if isinstance(run, Evidence)}
        allowed = _ROUNDINGS * self._noise.get(mode, 0.0)
        if not self._tolerance < allowed < _MOST_NOISE:
            return found
        return difference(self._want[mode], got, comparable, allowed)

    def _miscalled(self, got: Evidence, recipe: Recipe) -> str | None:
        for site in recipe.sites:
            strangers = got.fed_by[name_of_function(site)] - {site.producer}
            if strangers:
                return f"the function of {site.path} gets what {min(strangers)} gives"
            before = next(iter(self._calls.values())).calls
            layer, function = site.producer, name_of_function(site)
            if got.calls[layer] and not got.calls[function]:
                return f"the function of {site.path} is never called, though {layer} is"
            if got.calls[layer] == before[layer] and got.calls[function] != before[function]:
                return f"the function of {site.path} is called {got.calls[function]} times, not {before[function]}"
        return None

    def _left_behind(self, mode: str, got: Evidence, recipe: Recipe) -> str | None:
        """Say which function is called more or less often than by the model, though every site calls what it had.

        What formulas of several calls are made of is left out, since code keeps what it computes ahead of a formula;
        so are packed experts, which may be computed one by one.
        """
        sites = [self._sites[site.path] for site in recipe.sites]
        parts: Counter[str] = Counter()
        for original in (site.original() for site in sites if site.original is not None):
            if isinstance(original, RegionFunction) and original.steps > 1:
                inputs = torch.zeros(1, 1, dtype=self._dtype)
                parts += observed(original, inputs, training=False, layers=()).activations
        if recipe.experts:
            return None
        before, after = self._want[mode].activations, got.activations
        for name in sorted({*before, *after} - {*parts}):
            if before[name] != after[name]:
                return f"{name} is computed {after[name]} times, not {before[name]}"
        return None

    @property
    def _tolerance(self) -> float:
        kinds = {value.dtype for value in self._model.parameters() if value.is_floating_point()}
        outputs = (value for run in self._want.values() for value in run.outputs)
        kinds |= {value.dtype for value in outputs if value.is_floating_point()}
        return max((_TOLERANCE.get(kind, _ROUGH_TOLERANCE) for kind in kinds), default=0.0)

    def _converted(self, value: Tensor) -> Tensor:
        return value.to(self._dtype) if self._dtype is not None and value.is_floating_point() else value.clone()

    def _observed(
        self,
        model: nn.Module,
        modes: Sequence[str] = ("eval", "train"),
        functions: Mapping[str, nn.Module] | None = None,
    ) -> dict[str, Evidence | str]:
        """Run a model in one mode after the other; give what was seen, or why it does not run."""
        found: dict[str, Evidence | str] = {}
        for mode in modes:
            inputs = tree_map_only(Tensor, torch.clone, self._inputs)
            try:
                training = mode == "train"
                found[mode] = observed(model, inputs, training=training, layers=self._layers, functions=functions)
            except Exception as error:  # a user's forward may raise anything
                found[mode] = reason(error)
        return found


def _undropped(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            module.p = 0.0
    return model


class _Comparable:
    """Says which modules give the same before and after a rewrite.

    Those do that hold no layer of a site whose values change, or all of them and its last layer.
    """

    def __init__(self, recipe: Recipe, sites: Mapping[str, Site]) -> None:
        self._changing: list[tuple[set[str], str]] = []
        for record in recipe.sites:
            if record.placement.branches > 1:
                site = sites[record.path]
                inner = site.hidden.inner if isinstance(site.hidden, Hidden) else site.lone.inner if site.lone else ()
                partner = [record.partner] if record.partner is not None else []
                lone = [site.lone.path] if site.lone is not None else []
                layers = {record.producer, *partner, *lone, *(one.path for one in inner)}
                self._changing.append((layers, record.consumer or record.module or f"{record.owner}.{record.path}"))

    def __call__(self, path: str) -> bool:
        for layers, last in self._changing:
            inside = [layer == path or layer.startswith(f"{path}.") for layer in layers]
            if any(inside) and not (all(inside) and last.startswith(f"{path}.")):
                return False
        return True


def _first_fault(checked: _Checked, recipe: Recipe, error: str | None) -> tuple[SiteRecord, str | None]:
    """Find the first site, in order of depth, with which the plan goes wrong, by halving."""
    groups = groups_of(recipe)
    low, high = 0, len(groups)  # the first `low` groups are right, the first `high` are wrong
    while high - low > 1:
        middle = (low + high) // 2
        found = checked.error(restricted(recipe, groups[:middle]))
        low, high, error = (middle, high, error) if found is None else (low, middle, found)
    return groups[high - 1][0], error
