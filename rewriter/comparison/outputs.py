"""How far the outputs of a rewritten model are from the original's, at its sites and at its end."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from rewriter.errors import ValidationError
from rewriter.evaluation import call, evaluating
from rewriter.tracing.trace import reason

WHOLE = ""
"""The path of the model itself."""


def relative_errors(
    original: nn.Module, rewritten: nn.Module, paths: Iterable[str], inputs: Any
) -> dict[str, float | None]:
    """Run two models on the same inputs in eval mode and compare what the modules at some paths return.

    Both are compared as they stand in their models: a module of the rewritten one gets what the rewritten modules
    before it made.

    Args:
        original: the model before.
        rewritten: the model after.
        paths: of modules; `WHOLE` for the models themselves.
        inputs: a tensor, a tuple of arguments or a dict of keyword arguments.

    Returns:
        For every path ‖y' − y‖ / ‖y‖ in float64, over all floating-point tensors and all calls; None where the module
        is not called, returns other shapes, or returned nothing but zeros.

    Raises:
        ValidationError: a model cannot be run on the inputs.
    """
    wanted = list(dict.fromkeys(paths))
    before = _outputs(original, wanted, inputs)
    after = _outputs(rewritten, wanted, inputs)
    return {path: _error(before[path], after[path]) for path in wanted}


def _outputs(model: nn.Module, paths: list[str], inputs: Any) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = defaultdict(list)
    modules = dict(model.named_modules(remove_duplicate=False))
    with ExitStack() as hooks, evaluating(model):
        for path in paths:
            if path in modules:
                hooks.callback(modules[path].register_forward_hook(_keeper(found[path])).remove)
        try:
            call(model, inputs)
        except Exception as error:  # a user's forward may raise anything
            raise ValidationError(
                expected="a model that runs on example inputs",
                found=reason(error),
                remedy="apply again with an --input-shape that the model takes",
            ) from error
    return found


def _keeper(kept: list[Tensor]) -> Any:
    def hook(module: nn.Module, arguments: Any, output: Any) -> None:
        leaves = [value for value in tree_leaves(output) if isinstance(value, Tensor) and value.is_floating_point()]
        kept.extend(value.detach().to(device="cpu", copy=True) for value in leaves)

    return hook


def _error(before: list[Tensor], after: list[Tensor]) -> float | None:
    if not before or [value.shape for value in before] != [value.shape for value in after]:
        return None
    pairs = [(old.double(), new.double()) for old, new in zip(before, after, strict=True)]
    distance = torch.stack([(new - old).square().sum() for old, new in pairs]).sum().sqrt()
    size = torch.stack([old.square().sum() for old, _ in pairs]).sum().sqrt()
    if distance == 0:
        return 0.0
    return float(distance / size) if size > 0 else None
