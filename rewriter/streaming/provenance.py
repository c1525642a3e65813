"""What a stream's result depends on, and what its recipe says of the files on both sides."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch

from rewriter.checkpoints.matching import Match
from rewriter.checkpoints.stored import Assembled
from rewriter.recipe import Recipe
from rewriter.recipe.digests import FileDigest, digest_file
from rewriter.recipe.provenance import ResultRecord, software
from rewriter.streaming.composition import streamed
from rewriter.streaming.shard_file import Written
from rewriter.streaming.shards import Shard


def files_of(match: Match) -> dict[str, Path]:
    """List the files that a checkpoint's tensors lie in, by a name that no shard of the result has."""
    files: set[Path] = set()
    for key, stored in match.given.items():
        tensor = streamed(key, stored)
        files.update([part.file for _, part in tensor.parts] if isinstance(tensor, Assembled) else [tensor.file])
    return {f"source/{file.name}": file for file in sorted(files)}


def name_of_work(recipe: Recipe, shards: Iterable[Shard], files: Mapping[str, Path]) -> str:
    """Name everything that the bytes of the result depend on; a file is known by its path, size and time of change."""
    state = {str(file.resolve()): [file.stat().st_size, file.stat().st_mtime_ns] for file in files.values()}
    headers = [hashlib.sha256(shard.header).hexdigest() for shard in shards]
    parts = [torch.__version__, recipe.model_dump(mode="json"), state, headers]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def with_digests(recipe: Recipe, sources: Mapping[str, Written], shards: Mapping[str, Written], index: Path) -> Recipe:
    """Add to a recipe which files were read, if it names its source, and which were written."""
    written = sorted([*_digests(shards), digest_file(index)], key=lambda digest: digest.name)
    source = recipe.source
    if source is not None:
        source = source.model_copy(update={"files": tuple(_digests(sources))})
    result = ResultRecord(files=tuple(written), made_with=software())
    return recipe.model_copy(update={"source": source, "result": result})


def _digests(files: Mapping[str, Written]) -> list[FileDigest]:
    return [FileDigest(name=name, size=found.size, sha256=found.sha256) for name, found in sorted(files.items())]
