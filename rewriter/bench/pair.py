"""What is compared: a model and its rewrite."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from rewriter.doors import rewrite
from rewriter.errors import UsageError
from rewriter.recipe import Recipe
from rewriter.sources.inputs import InputSpec, example_inputs
from rewriter.sources.source import Source


@dataclass(frozen=True)
class Pair:
    """A model before and after its rewrite.

    Attributes:
        spec: the source, from which the original can be built again.
        original: the model before.
        rewritten: the model after; it shares nothing with the original.
        recipe: how it was rewritten.
        inputs: what both take.
    """

    spec: str
    original: nn.Module
    rewritten: nn.Module
    recipe: Recipe
    inputs: tuple[InputSpec, ...]

    def __post_init__(self) -> None:
        if not self.inputs:
            raise UsageError(
                expected="the shape of the model's inputs", found="none", remedy="give it with --input-shape"
            )

    @property
    def name(self) -> str:
        """The source as tables show it: of a folder only the last two names."""
        scheme, _, rest = self.spec.partition(":")
        return f"{scheme}:{'/'.join(Path(rest).parts[-2:])}" if Path(rest).is_dir() else self.spec

    @property
    def variants(self) -> dict[str, nn.Module]:
        """Both models by what tables call them."""
        return {"original": self.original, "rewritten": self.rewritten}

    @property
    def recipe_hash(self) -> str:
        """The first 16 hexadecimal digits of the sha256 of the recipe without what is known of its result."""
        content = self.recipe.model_copy(update={"result": None, "source": None}).model_dump_json()
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def rewritten_pair(source: Source, options: Mapping[str, Any]) -> Pair:
    """Rewrite a copy of a source's model; ``options`` are those of `rewriter.rewrite`, the method included.

    Raises:
        RewriterError: as `rewriter.rewrite` does; a UsageError when the inputs are unknown.
    """
    inputs = example_inputs(source.inputs) if source.inputs else None
    result = rewrite(source.model, example_inputs=inputs, **options)
    return Pair(source.spec, source.model, result.model, result.recipe, source.inputs)
