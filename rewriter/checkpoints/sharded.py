"""Sharded checkpoints: an index that says in which file each tensor lies."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Any

from rewriter.checkpoints.folder_file import file_in
from rewriter.checkpoints.formats import Format, detect_format
from rewriter.checkpoints.json_object import LARGEST, parse_object
from rewriter.checkpoints.layout import state_dict_in
from rewriter.checkpoints.listing import count_and_name
from rewriter.checkpoints.single_file import read_file
from rewriter.checkpoints.stored import Stored
from rewriter.errors import CheckpointError


def read_sharded(index: Path, *, trust_pickle: bool = False) -> dict[str, Stored]:
    """List the tensors of all shards that an index (``*.index.json``) names; no value is read.

    Args:
        index: the index.
        trust_pickle: see `read_file`.

    Raises:
        CheckpointError: the index or a shard is unreadable, unsafe or missing, or a tensor is not in the one shard that
            the index says, or in two.
    """
    shards: dict[str, set[str]] = defaultdict(set)
    for key, name in weight_map(index).items():
        shards[name].add(key)
    found: dict[str, Stored] = {}
    for name, keys in sorted(shards.items()):
        file = file_in(index.parent, name)
        kind = detect_format(file)
        if kind not in (Format.SAFETENSORS, Format.TORCH):
            raise _not_as_indexed(f"files of weights in {str(index)!r}", name)
        held = state_dict_in(read_file(file, kind, trust_pickle=trust_pickle), repr(str(file)))
        differences = {
            "missing": keys - held.keys(),
            "that the index does not place there": held.keys() - keys,
            "that another shard has too": held.keys() & found.keys(),
        }
        if any(differences.values()):
            raise _not_as_indexed(
                f"the tensors that {index.name} places in {name}", f"{str(file)!r} with {count_and_name(differences)}"
            )
        found.update(held)
    return found


def weight_map(index: Path) -> dict[str, str]:
    """Read from an index which file holds each tensor; no other file is looked at.

    Raises:
        CheckpointError: it cannot be read, or is no index.
    """
    try:
        with index.open("rb") as file:
            content = parse_object(file.read(LARGEST + 1))
        files: Any = content.get("weight_map")
        if not isinstance(files, dict) or not files:
            raise ValueError("no weight_map")
        if not all(isinstance(name, str) for name in files.values()):
            raise ValueError("a weight_map that does not lead to file names")
    except (ValueError, OSError) as error:
        raise CheckpointError(
            expected="an index of shards",
            found=f"{str(index)!r}: {textwrap.shorten(str(error), 200)}",
            remedy="fetch or save it again",
        ) from error
    return files


def _not_as_indexed(expected: str, found: str) -> CheckpointError:
    return CheckpointError(expected=expected, found=found, remedy="fetch the index and its shards from one place again")
