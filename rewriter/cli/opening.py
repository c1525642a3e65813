"""Opening what a command was given: a source, or a folder of a rewritten model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from rewriter.cli.foreign_recipe import require_foreign_harmless
from rewriter.cli.output import console
from rewriter.errors import UsageError
from rewriter.recipe import Recipe, SourceRecord
from rewriter.recipe.digests import digest_files
from rewriter.sources.inputs import InputSpec, parse_input_shape
from rewriter.sources.source import Source, load_source
from rewriter.sources.structure import load_structure
from rewriter.storage import RECIPE, restore


@dataclass(frozen=True)
class Opened:
    """A rewritten model restored from its folder, with what its ``forward`` takes."""

    model: nn.Module
    recipe: Recipe
    source: SourceRecord
    inputs: tuple[InputSpec, ...]


def open_source(
    text: str,
    checkpoint: Path | None,
    input_shape: str | None,
    *,
    weights: bool = True,
    trust_pickle: bool = False,
) -> Source:
    """Build the model that a command's SOURCE and options name.

    Args:
        text: the SOURCE.
        checkpoint: trained weights for it.
        input_shape: what ``--input-shape`` says.
        weights: False when its shapes are enough; a checkpoint is read all the same, since it may not fit.
        trust_pickle: run the code that the checkpoint's pickles hold, and say so on stderr.

    Raises:
        UsageError: it cannot be built.
        CheckpointError: its weights cannot be loaded.
    """
    shape = parse_input_shape(input_shape) if input_shape is not None else None
    if checkpoint is None and not weights:
        return load_structure(text, input_shape=shape)
    warn_of_trust(checkpoint, trust_pickle)
    return load_source(text, checkpoint=checkpoint, input_shape=shape, trust_pickle=trust_pickle)


def warn_of_trust(checkpoint: Path | None, trust_pickle: bool) -> None:
    """Say on stderr that ``--trust-pickle`` was given, where it has a meaning."""
    if trust_pickle and checkpoint is not None:
        console(as_json=True).print(f"warning: --trust-pickle: code in the pickles of {checkpoint} is run")


def record_of(source: Source, checkpoint: Path | None, files: Iterable[Path] = ()) -> SourceRecord:
    """Record a source in a recipe, with digests of the ``files`` that its weights were read from."""
    name = checkpoint.name if checkpoint is not None else None
    return SourceRecord(spec=source.spec, checkpoint=name, files=digest_files(files), inputs=source.inputs)


def open_folder(directory: Path) -> Opened:
    """Restore the rewritten model that a folder holds, from the source its recipe names.

    Raises:
        UsageError: there is no recipe, it names no source, or the source cannot be built.
        CheckpointError: the weights do not fit, or the source is code that lies in the folder.
        ValidationError: the parameters are not those the recipe promises.
    """
    recipe = Recipe.read(directory / RECIPE)
    if recipe.source is None:
        raise UsageError(
            expected="a recipe that names its source",
            found=f"none in {directory / RECIPE}",
            remedy="restore it in Python with rewriter.restore, or pass source=SourceRecord(...) to rewriter.plan",
        )
    require_foreign_harmless(recipe.source.spec, directory)
    fresh = load_source(recipe.source.spec, trained=False)
    return Opened(restore(fresh.model, directory).eval(), recipe, recipe.source, recipe.source.inputs)
