"""Anneal: trained activations move to their new form while the model trains (training only; nothing of it is saved).

A rewritten site starts as the original activation f and ends as the method's function: it computes
``(1 - t)·f + t·function``, exactly f at t = 0 and exactly the function at t = 1. The blend is a forward hook on the
function, so that the modules, the parameters and the names in the state dict are those of the rewritten model
throughout, and the function's own parameters train from the start. With n packed branches f is taken of their mean,
which is f itself where the branches are equal. A site whose signs were turned starts from ``-f(-x)``.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from passes.layers.packing import unpack
from passes.original import original_activation
from rewriter.errors import UsageError
from rewriter.recipe import Recipe, SiteRecord
from rewriter.surgery.placed import placed_function


class Anneal:
    """The anneal of one model; as a context manager it finishes at the end.

    Attributes:
        steps: how many steps the whole way takes.
        weight: t, from 0 (the original activations) to 1 (the method's functions).
    """

    def __init__(self, steps: int, starts: Sequence[tuple[nn.Module, Start]]) -> None:
        self.steps = steps
        self.weight = 0.0
        self._handles = [
            function.register_forward_hook(self._blend_from(start), with_kwargs=True) for function, start in starts
        ]

    def at(self, step: int) -> None:
        """Set the weight for a step, counted from 0; from ``steps`` on it is 1."""
        self.move(min(1.0, step / self.steps) if self.steps else 1.0)

    def move(self, weight: float) -> None:
        """Set the weight."""
        self.weight = weight

    def finish(self) -> None:
        """Leave the method's plain functions."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def __enter__(self) -> Anneal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.finish()

    def _blend_from(self, start: Start) -> Any:
        def blend(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            if self.weight >= 1.0:
                return output
            before = start(args[0] if args else next(iter(kwargs.values())))
            return torch.lerp(before.to(output.dtype), output, self.weight)  # exact at both ends

        return blend


@dataclass(frozen=True)
class Start:
    """What a site computes at the start: the original activation of the mean of its branches.

    Attributes:
        original: the original activation.
        branches: how many are packed.
        dim: the channels' dimension.
        turned: whether the signs around the activation were turned, so that it must be ``-f(-x)``.
    """

    original: nn.Module
    branches: int
    dim: int
    turned: bool

    def __call__(self, packed: Tensor) -> Tensor:
        """Map ``n·h`` channels to ``h``."""
        first, *others = unpack(packed, self.branches, self.dim)
        if others:  # the mean, in a form that is exact where the branches are equal
            first = first + sum(other - first for other in others) / self.branches
        original = self.original.to(first.device)
        before: Tensor = -original(-first) if self.turned else original(first)
        return before


def begin_anneal(
    model: nn.Module,
    recipe: Recipe,
    steps: int,
    *,
    original: nn.Module | None = None,
    turned: Collection[str] = (),
) -> Anneal:
    """Start annealing a rewritten model, which computes the original activations until the anneal is moved on.

    Args:
        model: the rewritten model.
        recipe: what it was rewritten by.
        steps: how many steps the whole way takes.
        original: the original model; needed only where an activation has values of its own, as a trained PReLU does,
            or is not known by a formula.
        turned: paths of the sites whose signs `turn_signs` turned.

    Raises:
        UsageError: the model is not the one that the recipe made, ``original`` is needed, or an activation is neither
            known nor a module of the original model.
    """
    starts = []
    for site in recipe.sites:
        before = _original_activation(site, original)
        start = Start(before, site.placement.branches, site.channels_dim, site.path in turned)
        starts.append((placed_function(model, site), start))
    return Anneal(steps, starts)


def _original_activation(site: SiteRecord, model: nn.Module | None) -> nn.Module:
    plain = original_activation(site)
    if plain is not None and (site.module is None or not any(True for _ in plain.parameters())):
        return plain
    if site.module is None:
        raise UsageError(
            expected="original activations that are modules, or have a formula",
            found=f"the {site.activation} that is called at {site.path}",
            remedy="rewrite without that site (exclude), or do not anneal",
        )
    if model is None:
        raise UsageError(
            expected=f"the original model, which has the {site.activation} at {site.path}",
            found="none",
            remedy="pass original=model",
        )
    return copy.deepcopy(model.get_submodule(site.module)).requires_grad_(False)
