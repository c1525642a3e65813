"""Restore: the structure from the recipe, the weights from safetensors, strictly."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from rewriter.checkpoints.loading import load_checkpoint
from rewriter.recipe import Recipe
from rewriter.storage.folder import RECIPE, WEIGHTS
from rewriter.surgery import operate
from rewriter.validation import check_budget


def restore(model: nn.Module, directory: str | Path) -> nn.Module:
    """Turn a fresh original model into the rewritten one that a folder holds.

    Args:
        model: the original architecture with any weights; it is rewritten in place.
        directory: a folder that `save` or ``rewrite-model apply`` wrote.

    Returns:
        The rewritten model, whose outputs equal the saved one's bit for bit; a new object only when the code of the
        model itself was replaced by a graph.

    Raises:
        UsageError: there is no readable recipe, or it was made for another model.
        ValidationError: the rewritten structure has not the parameters the recipe promises.
        CheckpointError: the weights are unreadable or do not fit.
    """
    directory = Path(directory)
    recipe = Recipe.read(directory / RECIPE)
    rewritten = operate(model, recipe)
    check_budget(rewritten, recipe)
    load_checkpoint(rewritten, directory / WEIGHTS)
    return rewritten
