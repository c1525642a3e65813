"""The L2 penalty on the adversarial branches (NA paper; the method, section 3), in two equivalent forms.

The adversarial branches of a model are, at every site where SA put a split adversarial function A, all that A computes
from: the layer that feeds it (the rows of its matrix are the branches' own weights, packed) with its bias, and A's
coefficients. Nothing else is penalised.

The convention is that of weight decay: strength λ adds ``λ·w`` to the gradient of a parameter ``w``, so the loss term
is ``λ/2·Σw²``, and SGD trains alike with either form.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from passes.evaluation import precision
from passes.layers import SplitAdversarial
from passes.sa import is_adversarial
from rewriter.errors import UsageError
from rewriter.recipe import Recipe

STRENGTH = 0.05


def parameter_groups(model: nn.Module, recipe: Recipe, weight_decay: float = STRENGTH) -> list[dict[str, Any]]:
    """Return a model's parameters as groups for an optimizer: the adversarial branches, then the others.

    Args:
        model: a rewritten model.
        recipe: what it was rewritten by.
        weight_decay: of the adversarial branches; the others have the optimizer's own.

    Returns:
        One or two groups; a group that would be empty is left out. Every parameter is in one group.

    Raises:
        UsageError: the model is not the one that the recipe made.
    """
    adversarial = adversarial_parameters(model, recipe)
    known = {id(parameter) for parameter in adversarial}
    others = [parameter for parameter in model.parameters() if id(parameter) not in known]
    groups: list[dict[str, Any]] = [{"params": adversarial, "weight_decay": weight_decay}, {"params": others}]
    return [group for group in groups if group["params"]]


def adversarial_penalty(model: nn.Module, recipe: Recipe, strength: float = STRENGTH) -> Tensor:
    """Return ``strength/2·Σw²`` over the adversarial branches, to be added to the loss; 0 where there are none.

    Args:
        model: a rewritten model.
        recipe: what it was rewritten by.
        strength: λ; the paper's is 0.05, and 0.005, 0.08 and 0.15 in single experiments.

    Returns:
        A 0-dimensional tensor, float32 or float64.

    Raises:
        UsageError: the model is not the one that the recipe made.
    """
    squares = [precision.widen(w).square().sum() for w in adversarial_parameters(model, recipe)]
    return torch.stack(squares).sum() * (strength / 2) if squares else torch.zeros(())


def adversarial_parameters(model: nn.Module, recipe: Recipe) -> list[nn.Parameter]:
    """Return the parameters of a model's adversarial branches, each once.

    Raises:
        UsageError: the model is not the one that the recipe made.
    """
    sites = [site for site in recipe.sites if is_adversarial(site.placement.settings)]
    functions = [module for module in model.modules() if isinstance(module, SplitAdversarial)]
    if len(functions) != len(sites):
        raise UsageError(
            expected=f"the model that the recipe made, with {len(sites)} split adversarial functions",
            found=f"a {type(model).__name__} with {len(functions)}",
            remedy="pass result.model and result.recipe of one rewrite",
        )
    branches = [*(_producer(model, site.producer) for site in sites), *functions]
    return list({id(p): p for branch in branches for p in branch.parameters()}.values())


def _producer(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        raise UsageError(
            expected=f"a model with the layer {path!r}",
            found=f"a {type(model).__name__} without it",
            remedy="pass the rewritten model itself, not a wrapper around it",
        ) from None
