"""The text that names a model: ``scheme:name``, and for libraries of models ``?key=value&…``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rewriter.errors import UsageError
from rewriter.names import require_known

SCHEMES: Final = ("timm", "torchvision", "hf", "py")
_WITH_OPTIONS: Final = ("timm", "torchvision")
_FORM: Final = "timm:NAME[?key=value&…], torchvision:NAME[?…], hf:DIR_OR_ID or py:package.module:factory"
_PYTHON_LITERALS: Final = {"True": True, "False": False, "None": None}


@dataclass(frozen=True)
class SourceSpec:
    """A parsed source text; ``str()`` gives its normal form.

    Attributes:
        scheme: one of ``SCHEMES``.
        name: the model's name, folder or factory.
        options: keyword arguments of the model's constructor.
    """

    scheme: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        query = "&".join(f"{key}={_written(value)}" for key, value in sorted(self.options.items()))
        return f"{self.scheme}:{self.name}" + (f"?{query}" if query else "")


def parse_spec(text: str) -> SourceSpec:
    """Split a source text into scheme, name and options.

    Values are read as JSON (``10``, ``0.5``, ``[7,7]``, ``true``) or as ``True``, ``False``, ``None``; any other value
    is a string. Nothing is percent-decoded. ``hf:`` and ``py:`` take no options: their whole rest is the name.

    Raises:
        UsageError: the scheme is unknown, the name is empty, or a part of the query is not a single ``key=value``.
    """
    scheme, colon, rest = text.strip().partition(":")
    if not colon:
        raise UsageError(expected=f"a source: {_FORM}", found=repr(text), remedy="begin it with a scheme and a colon")
    scheme = require_known(scheme.lower(), SCHEMES, "source scheme")
    name, _, query = rest.partition("?") if scheme in _WITH_OPTIONS else (rest, "", "")
    if not name.strip():
        raise UsageError(expected=f"a name after {scheme}:", found=repr(text), remedy=f"write {_FORM}")
    return SourceSpec(scheme, name.strip(), parse_query(query))


def parse_query(query: str) -> dict[str, Any]:
    """Split ``key=value&…`` into options; see `parse_spec` for how values are read.

    Raises:
        UsageError: a part is not a single ``key=value``.
    """
    options: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        key, equals, value = part.partition("=")
        if not (equals and key.isidentifier()) or key in options:
            raise UsageError(
                expected="options such as num_classes=10&drop_rate=0.1, each key once",
                found=repr(part),
                remedy="correct that part of the source",
            )
        options[key] = _read(value)
    return options


def _read(value: str) -> Any:
    if value in _PYTHON_LITERALS:
        return _PYTHON_LITERALS[value]
    try:
        return json.loads(value)
    except ValueError:
        return value


def _written(value: Any) -> str:
    as_is = isinstance(value, str) and _read(value) == value
    return value if as_is else json.dumps(value, separators=(",", ":"))
