"""Examples of text, cut into tokens by the source's own tokenizer."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewriter.errors import UsageError
from rewriter.finetune.data.takes import Takes
from rewriter.finetune.examples import Batch, Change
from rewriter.tracing.trace import reason

_MOST_TOKENS = 128


class TextExamples:
    """Lines of text.

    Attributes:
        lines: the texts.

    Args:
        lines: the texts.
        takes: what the model takes; the source must be one of transformers.

    Raises:
        UsageError: the source has no tokenizer.
    """

    def __init__(self, lines: Sequence[str], takes: Takes) -> None:
        self.lines = lines
        self._tokenizer = _tokenizer(takes.source)

    @property
    def labelled(self) -> bool:
        """Whether the batches have labels."""
        return False

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.lines)

    def batch(self, indices: Sequence[int], change: Change | None = None) -> Batch:
        """Give some of them; see `rewriter.finetune.examples.Examples`."""
        tokens = self._tokenizer(
            [self.lines[index] for index in indices],
            padding=True,
            truncation=True,
            max_length=_MOST_TOKENS,
            return_tensors="pt",
        )
        return Batch(dict(tokens), None)


def read_lines(path: Path, takes: Takes) -> TextExamples:
    """Read a text file, plain or compressed with gzip, one example a line; empty lines are left out.

    Raises:
        UsageError: the file is unreadable or empty, or the source has no tokenizer.
    """
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise UsageError(
            expected=f"a text file in UTF-8 at {path}", found=reason(error), remedy="check the path, or write it again"
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(expected=f"lines of text in {path}", found="none", remedy="name another file")
    return TextExamples(lines, takes)


def _tokenizer(source: str) -> Any:
    scheme, _, name = source.partition(":")
    if scheme != "hf":
        raise UsageError(
            expected="a transformers model, whose tokenizer reads text",
            found=f"the source {source!r}",
            remedy="give tensors in an .npz file, named as the parameters of forward",
        )
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=Path(name).is_dir(), trust_remote_code=False)
    except Exception as error:  # whatever is missing or damaged
        raise UsageError(
            expected=f"a tokenizer beside the model {name}", found=reason(error), remedy="put its files there"
        ) from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer
