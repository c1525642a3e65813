"""Which files the weights of a source are read from."""

from __future__ import annotations

from pathlib import Path

from rewriter.checkpoints.files import files_of
from rewriter.errors import CheckpointError
from rewriter.sources.spec import parse_spec


def weight_files(text: str, checkpoint: Path | None) -> tuple[Path, ...]:
    """List the files of a checkpoint, or those in the folder of an ``hf:`` source without one.

    Empty where the weights come from code, from a library's own cache, or from a folder of links that transformers
    follows and this project does not.

    Args:
        text: the source, as `load_source` takes it.
        checkpoint: the weights it is given, if any.

    Raises:
        CheckpointError: the checkpoint cannot be read.
    """
    if checkpoint is not None:
        return files_of(checkpoint)
    spec = parse_spec(text)
    folder = Path(spec.name).expanduser()
    if spec.scheme != "hf" or not folder.is_dir():
        return ()
    try:
        return files_of(folder)
    except CheckpointError:
        return ()
