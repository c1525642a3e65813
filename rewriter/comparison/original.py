"""The original of a rewritten model: with its weights where they can be had, else its structure alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from rewriter.checkpoints.files import files_of
from rewriter.recipe import SourceRecord
from rewriter.recipe.digests import digest_files
from rewriter.sources.source import load_source
from rewriter.sources.structure import load_structure

Weights = Literal["recorded", "other", "unrecorded", "none"]


@dataclass(frozen=True)
class Original:
    """The model before the rewrite.

    Attributes:
        model: without values when there are no weights.
        weights: ``recorded``: byte for byte the files that the recipe names; ``other``: files that differ from these;
            ``unrecorded``: the recipe names no files, so nothing tells whether they are the ones; ``none``.
    """

    model: nn.Module
    weights: Weights


def find_original(source: SourceRecord, checkpoint: Path | None = None, *, trust_pickle: bool = False) -> Original:
    """Build the model that a recipe was made for.

    Without a checkpoint the weights are those that the source itself comes with: it is built twice, and random weights
    are not the same twice.

    Args:
        source: of the recipe.
        checkpoint: the original's weights.
        trust_pickle: run the code that the checkpoint's pickles hold.

    Raises:
        UsageError: the source cannot be built.
        CheckpointError: the checkpoint cannot be read safely, or is not the model's.
    """
    if checkpoint is not None:
        found = load_source(source.spec, checkpoint=checkpoint, trust_pickle=trust_pickle)
        return Original(found.model, _identity(source, checkpoint))
    if source.checkpoint is None:
        model, again = (_built(source.spec, seed) for seed in (0, 1))
        if _same_weights(model, again):
            return Original(model, "unrecorded")
    return Original(load_structure(source.spec).model, "none")


def _identity(source: SourceRecord, checkpoint: Path) -> Weights:
    if not source.files:
        return "unrecorded"
    # The same bytes under another name are the same weights.
    found, recorded = (
        sorted((digest.sha256, digest.size) for digest in digests)
        for digests in (digest_files(files_of(checkpoint)), source.files)
    )
    return "recorded" if found == recorded else "other"


def _built(spec: str, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return load_source(spec).model


def _same_weights(model: nn.Module, other: nn.Module) -> bool:
    before, after = model.state_dict(), other.state_dict()
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
