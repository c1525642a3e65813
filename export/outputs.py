"""Reads a model's output, whatever its structure, as named tensors in a fixed order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from torch import Tensor

from rewriter.errors import ExportError


def named_tensors(output: Any) -> list[tuple[str, Tensor]]:
    """Flatten ``output`` to ``(name, tensor)`` pairs; ``None`` is dropped.

    A mapping (such as transformers' ``ModelOutput``) gives its keys as names, a named tuple its fields. The elements of
    a tuple or list share their parent's name and are numbered from the second on: ``output``, ``output_1``, …

    Raises:
        ExportError: a leaf is not a tensor, or there is none.
    """
    tensors = list(_walk(output, ""))
    if not tensors:
        raise ExportError(expected="a model that returns tensors", found="no tensor", remedy="return at least one")
    return tensors


def output_names(output: Any, input_names: Iterable[str]) -> list[str]:
    """Name every tensor of ``output``, each name once and none equal to an input's."""
    taken = set(input_names)
    names: list[str] = []
    for name, _ in named_tensors(output):
        free = name
        while free in taken:
            free += "_output"
        taken.add(free)
        names.append(free)
    return names


def flatten_output(output: Any) -> Tensor | tuple[Tensor, ...]:
    """Return the tensors of ``output`` in the order of ``named_tensors``: one alone, or a tuple."""
    tensors = tuple(tensor for _, tensor in named_tensors(output))
    return tensors[0] if len(tensors) == 1 else tensors


def _walk(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name or "output", value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(item, f"{name}_{key}" if name else str(key))
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from _walk(dict(zip(value._fields, value, strict=True)), name)
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from _walk(item, f"{name or 'output'}_{index}" if index else name)
    elif value is not None:
        raise ExportError(
            expected="an output made of tensors, tuples, lists and dictionaries",
            found=f"a {type(value).__name__} at {name or 'output'!r}",
            remedy="wrap the model so that it returns only tensors",
        )
