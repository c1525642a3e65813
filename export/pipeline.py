"""Exports a model to a directory, where only files that agree with eager arrive, and checks them again later."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic
from torch import nn

from export.comparison import Parity
from export.exporter import one_line
from export.options import AS_IT_IS, ExportOptions
from export.parity import BATCH_SIZES, prove
from export.targets import TARGETS
from rewriter.errors import UsageError, ValidationError
from rewriter.names import require_known
from rewriter.sources.inputs import InputSpec

PARITY_FILE = "parity.json"


def export_model(
    model: nn.Module,
    specs: Sequence[InputSpec],
    directory: Path,
    targets: Sequence[str],
    *,
    metadata: Mapping[str, str] | None = None,
    options: ExportOptions = AS_IT_IS,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    real: Sequence[Any] = (),
) -> Parity:
    """Write ``model`` to ``directory`` in the formats ``targets``, each compared with eager before it gets there.

    All files are made beside the directory first and moved into it when every one of them agrees, so a failure leaves
    the directory, or its absence, as it was. ``parity.json`` keeps the comparisons of targets exported earlier.

    Args:
        model: any model; it stays as it was.
        specs: its inputs, whose names are those of ``forward``'s parameters.
        directory: where the files go; it is made if its parent exists.
        targets: names from ``TARGETS``.
        metadata: entries written into every file, such as the recipe's hash.
        options: what the user chose about the files.
        batch_sizes: the batch sizes to compare.
        real: batches of real inputs to compare on, beside random ones; each as the model's ``forward`` takes it.

    Returns:
        the comparisons of this call.

    Raises:
        UsageError: an unknown target, no target, no spec, or no place for the directory.
        ExportError: a back-end cannot export the model.
        ValidationError: an export does not compute what the model computes.
    """
    names = list(dict.fromkeys(require_known(name, TARGETS, "export target") for name in targets))
    if not names:
        raise UsageError(expected="an export target", found="none", remedy=f"choose from {', '.join(TARGETS)}")
    if not directory.parent.is_dir() or (directory.exists() and not directory.is_dir()):
        raise UsageError(
            expected="a directory, or a new name in one", found=str(directory), remedy="choose another directory"
        )
    earlier = _recorded(directory).without(names)
    parity = Parity()
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix=f".{directory.name}-export-") as temporary:
        staging = Path(temporary)
        for name in names:
            path = staging / TARGETS[name].filename
            TARGETS[name].export(model, specs, path, metadata=metadata, options=options)
            parity += prove(model, specs, path, name, batch_sizes, real=real)
        made = list(staging.iterdir())
        record = staging / PARITY_FILE
        record.write_text((earlier + parity).model_dump_json(indent=2) + "\n", encoding="utf-8")
        directory.mkdir(exist_ok=True)
        for file in (*made, record):
            os.replace(file, directory / file.name)
        written = {file.name for file in made}
        for name in names:  # weights that lay beside an earlier, larger export
            for file in directory.glob(f"{TARGETS[name].filename}.*"):
                if file.name not in written:
                    file.unlink()
    return parity


def exports_in(directory: Path) -> list[str]:
    """List the targets that there are files of in a directory."""
    return [name for name, target in TARGETS.items() if (directory / target.filename).is_file()]


def check_exports(
    model: nn.Module,
    specs: Sequence[InputSpec],
    directory: Path,
    *,
    batch_sizes: Sequence[int] = BATCH_SIZES,
    real: Sequence[Any] = (),
    unopened: Collection[str] = (),
) -> Parity:
    """Compare ``model`` with every export found in ``directory``; a directory without exports gives an empty result.

    Args:
        model: the rewritten model.
        specs: what it takes.
        directory: where the exports are.
        batch_sizes: at which they are compared.
        real: batches of real inputs to compare on, beside random ones.
        unopened: targets whose files are only looked for; see `Target.holds_code`.

    Raises:
        ValidationError: an export does not compute what the model computes, is recorded in ``parity.json`` but gone, or
            ``parity.json`` is not one.
    """
    found = exports_in(directory)
    for name in _recorded(directory).targets:
        if name not in found:
            raise ValidationError(
                expected=f"the {name} export that {PARITY_FILE} records",
                found=f"no such file in {directory}",
                remedy=f"export to {name} again",
            )
    parity = Parity()
    for name in found:
        if name in unopened:
            continue
        parity += prove(model, specs, directory / TARGETS[name].filename, name, batch_sizes, real=real)
    return parity


def _recorded(directory: Path) -> Parity:
    try:
        return Parity.model_validate_json((directory / PARITY_FILE).read_bytes())
    except FileNotFoundError:
        return Parity()
    except (OSError, pydantic.ValidationError) as error:
        raise ValidationError(
            expected=f"a readable {directory / PARITY_FILE}",
            found=f"{error.error_count()} errors in it" if isinstance(error, ValueError) else one_line(error),
            remedy="delete it and export again",
        ) from error
