"""Restore: the structure from the recipe, the weights from safetensors, whole or in shards, strictly."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from rewriter.checkpoints.files import files_of
from rewriter.checkpoints.loading import load_checkpoint
from rewriter.errors import CheckpointError
from rewriter.recipe import Recipe
from rewriter.recipe.digests import require_unchanged
from rewriter.storage.folder import RECIPE, weights_in
from rewriter.surgery.operation import operate
from rewriter.validation import check_budget
from rewriter.wrapped import require_plain


def restore(model: nn.Module, directory: str | Path) -> nn.Module:
    """Turn a fresh original model into the rewritten one that a folder holds.

    Args:
        model: the original architecture with any weights; it is rewritten in place.
        directory: a folder that `save` or ``rewrite-model apply`` wrote.

    Returns:
        The same model, rewritten, whose outputs equal the saved one's bit for bit.

    Raises:
        UsageError: there is no readable recipe, or it was made for another model.
        ValidationError: the rewritten structure has not the parameters the recipe promises.
        CheckpointError: the weights are unreadable, do not fit, or are not those that the recipe was written with.
    """
    directory = Path(directory)
    recipe = Recipe.read(directory / RECIPE)
    if recipe.result is not None:
        require_unchanged(directory, recipe.result.files)
    _require_room(directory, recipe)
    require_plain(model)
    rewritten = operate(model, recipe)
    check_budget(rewritten, recipe)
    load_checkpoint(rewritten, weights_in(directory))
    return rewritten


def _require_room(directory: Path, recipe: Recipe) -> None:
    """Check that the weights can be as many as the recipe says, before memory is taken for them."""
    size = sum(file.stat().st_size for file in files_of(weights_in(directory)))
    if recipe.parameters_after > size:
        raise CheckpointError(
            expected=f"the weights of {recipe.parameters_after} parameters",
            found=f"{size} bytes in {str(directory)!r}",
            remedy="fetch the folder again",
        )
