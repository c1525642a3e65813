"""Exactness: a plan that is carried out with the same functions, widths and weights must change nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only

from rewriter.errors import ValidationError
from rewriter.evaluation import call
from rewriter.layouts import layout_of
from rewriter.recipe import ChannelwiseRecord, LinearRecord, Recipe, SiteRecord
from rewriter.sites import Site, match
from rewriter.surgery.copies import copied
from rewriter.surgery.operation import operate
from rewriter.tracing import trace
from rewriter.tracing.trace import reason
from rewriter.warm.carrying import Axis, carried
from rewriter.warm.layers import carry

_TOLERANCE = {torch.float64: 1e-7, torch.float32: 1e-4}
_ROUGH_TOLERANCE = 5e-2
_SEED = 0


class SameFunction(nn.Module):
    """The function that a site had, of packed branches that are all alike: of each in turn, channel by channel.

    Args:
        function: what the site computed.
        branches: n; the input has ``n·h`` channels, the output h.
        dim: the dimension of the channels.
    """

    def __init__(self, function: nn.Module, branches: int, dim: int) -> None:
        super().__init__()
        self.function, self.branches, self.dim = function, branches, dim

    def forward(self, packed: Tensor) -> Tensor:
        """Compute it; every branch is read."""
        if self.branches > 1:
            parts = torch.stack(packed.chunk(self.branches, self.dim))
            shape = [1] * parts.ndim
            shape[self.dim % packed.ndim + 1] = -1
            units = parts.shape[self.dim % packed.ndim + 1]
            turns = torch.arange(units, device=packed.device) % self.branches
            packed = parts.gather(0, turns.view(shape).expand(1, *parts.shape[1:]))[0]
        return self.function(packed)  # type: ignore[no-any-return]


def check_exact(model: nn.Module, recipe: Recipe, inputs: Any) -> str | None:
    """Carry a plan out exactly on a copy, and compare what the copy computes with what the model computes.

    Every site keeps its function and its hidden width, and all branches get the old weights; then the outputs must
    be equal up to rounding, in eval mode and, from one random state, in train mode. The model is not changed.

    Args:
        model: the model that the recipe was made for, with weights.
        recipe: the plan.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Returns:
        Why there is nothing to compare, or None when the outputs are equal.

    Raises:
        ValidationError: they differ; the first site that causes it is named.
    """
    if not recipe.sites:
        return None
    found = {site.address.path: site for site in match(trace(model, inputs)).sites}
    if lost := [site.path for site in recipe.sites if site.path not in found]:
        return f"{lost[0]} is not found on these inputs"
    for dtype in (None, torch.float64):
        checked = _Checked(model, found, inputs, dtype)
        if checked.reason is not None:
            return checked.reason
        error = checked.error(recipe)
        if error is None:
            return None
    if not checked.is_repeatable():
        return "the model gives other outputs every time"
    first, error = _first_fault(checked, recipe, error)
    raise ValidationError(
        expected="the same outputs from the same functions, widths and weights",
        found=f"{error}, first with {first.path} ({first.activation} fed by {first.producer})",
        remedy=f"exclude {first.path} and report the model: the plan or the surgery is wrong there",
    )


def exact_recipe(recipe: Recipe) -> Recipe:
    """Give the plan that keeps every hidden width; low-rank factors are left out."""
    feeds = {path: site for site in recipe.sites for path in (site.producer, site.partner) if path is not None}
    return recipe.model_copy(
        update={
            "sites": tuple(
                site.model_copy(update={"hidden": (site.hidden[0], site.hidden[0]) if site.hidden else None})
                for site in recipe.sites
            ),
            "linears": tuple(_of_old_width(record, feeds.get(record.path)) for record in recipe.linears),
            "channelwise": tuple(
                record.model_copy(update={"after": record.branches * record.before}) for record in recipe.channelwise
            ),
            "experts": tuple(
                record.model_copy(update={"hidden": (record.hidden[0], record.hidden[0])}) for record in recipe.experts
            ),
            "options": {**recipe.options, "init": "warm", "width": "keep"},
        }
    )


def _of_old_width(record: LinearRecord, fed: SiteRecord | None) -> LinearRecord:
    (fan_in, fan_out), units = record.before, record.after[1]
    if record.site is None and fed is not None and fed.hidden is not None:
        fan_out = units // fed.hidden[1] * fed.hidden[0]
    return record.model_copy(update={"after": (fan_in, fan_out), "rank": None})


@dataclass(frozen=True)
class _Outputs:
    eval: list[Tensor]
    train: list[Tensor] | None


class _Checked:
    """A model on inputs, in one dtype."""

    def __init__(self, model: nn.Module, sites: Mapping[str, Site], inputs: Any, dtype: torch.dtype | None) -> None:
        self.reason: str | None = None
        self._model, self._sites, self._dtype = model, sites, dtype
        self._inputs = tree_map_only(Tensor, self._converted, inputs)
        self._copy = self._fresh()
        try:
            self._expected = self._outputs(self._copy)
        except Exception as error:  # a user's forward may raise anything
            self.reason = f"the model does not run on the example inputs: {reason(error)}"

    def error(self, recipe: Recipe) -> str | None:
        """Say how the outputs of the plan carried out exactly differ, or None."""
        try:
            found = self._outputs(self._carried_out(exact_recipe(recipe)))
        except Exception as error:  # layers that do not fit together raise anything
            return f"it does not run: {reason(error)}"
        for mode in ("eval", "train"):
            want, got = getattr(self._expected, mode), getattr(found, mode)
            if want is not None and (difference := self._difference(want, got)) is not None:
                return f"{difference} in {mode} mode"
        return None

    def is_repeatable(self) -> bool:
        """Say whether the model gives the same outputs from the same random state."""
        again = self._outputs(self._fresh())
        return self._difference(self._expected.eval, again.eval) is None

    def _fresh(self) -> nn.Module:
        made = copied(self._model)
        return made.to(self._dtype) if self._dtype is not None else made

    def _converted(self, value: Tensor) -> Tensor:
        return value.to(self._dtype) if self._dtype is not None and value.is_floating_point() else value.clone()

    def _carried_out(self, recipe: Recipe) -> nn.Module:
        original, made = self._fresh(), self._fresh()
        functions = {site.path: self._function(site) for site in recipe.sites}
        operate(made, recipe, functions)
        carry(original, made, recipe, {})
        for record in recipe.linears:
            lone = next((s for s in recipe.sites if s.producer == record.path and s.hidden and not s.consumer), None)
            if lone is not None:
                _repeat(original.get_submodule(record.path), made.get_submodule(record.path), record)
        return made

    def _function(self, site: SiteRecord) -> nn.Module:
        original = self._sites[site.path].original
        inside = str(site.module)  # of packed experts
        made = original() if original is not None else copied(self._model.get_submodule(inside))
        device = next(self._model.parameters()).device
        same = SameFunction(made, site.placement.branches, site.channels_dim).to(device)
        producer = self._model.get_submodule(site.producer)
        return (same.to(self._dtype) if self._dtype is not None else same).train(producer.training)

    @torch.no_grad()
    def _outputs(self, model: nn.Module) -> _Outputs:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_SEED)
            found = _tensors(call(model.eval(), tree_map_only(Tensor, torch.clone, self._inputs)))
            torch.manual_seed(_SEED)
            try:
                trained = _tensors(call(model.train(), tree_map_only(Tensor, torch.clone, self._inputs)))
            except Exception:  # some models train on other inputs, such as labels
                trained = None
        return _Outputs(found, trained)

    def _difference(self, want: Sequence[Tensor], got: Sequence[Tensor] | None) -> str | None:
        if got is None or [value.shape for value in want] != [value.shape for value in got]:
            return "outputs of other shapes"
        for number, (one, other) in enumerate(zip(want, got, strict=True)):
            if not one.is_floating_point():
                continue
            finite = one.isfinite()
            if not torch.equal(finite, other.isfinite()):
                return f"output {number} is not finite where it was"
            size = float(one[finite].abs().max()) if finite.any() else 0.0
            distance = float((one - other)[finite].abs().max()) if finite.any() else 0.0
            if distance > _TOLERANCE.get(one.dtype, _ROUGH_TOLERANCE) * size:
                return f"output {number} differs by {distance:.3g} of {size:.3g}"
        return None


def _first_fault(checked: _Checked, recipe: Recipe, error: str | None) -> tuple[SiteRecord, str | None]:
    """Find the first site, in order of depth, with which the plan goes wrong, by halving."""
    groups = _groups(recipe)
    low, high = 0, len(groups)  # the first `low` groups are right, the first `high` are wrong
    while high - low > 1:
        middle = (low + high) // 2
        found = checked.error(_restricted(recipe, groups[:middle]))
        low, high, error = (middle, high, error) if found is None else (low, middle, found)
    return groups[high - 1][0], error


def _groups(recipe: Recipe) -> list[list[SiteRecord]]:
    """Group the sites that can only be rewritten together: chains, turns of one loop, and all low-rank splits."""
    groups: dict[object, list[SiteRecord]] = {}
    for site in recipe.sites:
        turns = (site.owner, site.address.code and site.address.code.name) if site.address.turn is not None else None
        lone = "lone" if site.hidden is not None and site.consumer is None and not _is_experts(site, recipe) else None
        groups.setdefault(turns or lone or site.chain, []).append(site)
    return list(groups.values())


def _restricted(recipe: Recipe, groups: Sequence[Sequence[SiteRecord]]) -> Recipe:
    sites = [site for group in groups for site in group]
    chains = {site.chain for site in sites}
    sites = [site for site in recipe.sites if site.chain in chains or site in sites]
    names = {site.path for site in sites}
    layers = {path for site in sites for path in (site.producer, site.partner, site.consumer) if path is not None}
    lone = any(site.hidden is not None and site.consumer is None for site in sites)

    def taken(record: LinearRecord | ChannelwiseRecord) -> bool:
        if record.site is not None:
            return record.site in names
        return record.path in layers or (lone and isinstance(record, ChannelwiseRecord))

    return recipe.model_copy(
        update={
            "sites": tuple(sites),
            "linears": tuple(filter(taken, recipe.linears)),
            "channelwise": tuple(filter(taken, recipe.channelwise)),
            "experts": tuple(record for record in recipe.experts if record.path in layers),
        }
    )


def _is_experts(site: SiteRecord, recipe: Recipe) -> bool:
    return site.producer in {record.path for record in recipe.experts}


def _repeat(old: nn.Module, new: nn.Module, record: LinearRecord) -> None:
    """Give all branches of a lone layer the old weights."""
    layout = layout_of(old)
    assert layout is not None
    axis = Axis(torch.arange(record.before[1]), record.before[1], record.after[1] // record.before[1])
    with torch.no_grad():
        for name, dim in (("weight", layout.units_dim), ("bias", 0)):
            if isinstance(values := getattr(old, name, None), Tensor):
                new.get_parameter(name).copy_(carried(values.detach(), dim, axis))


def _tensors(outputs: Any) -> list[Tensor]:
    leaves = tree_leaves(outputs)
    inside = [leaf for one in leaves if hasattr(one, "__dict__") for leaf in tree_leaves(list(vars(one).values()))]
    return [leaf for leaf in [*leaves, *inside] if isinstance(leaf, Tensor)]
