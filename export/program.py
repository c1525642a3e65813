"""torch.export: a model as an ATen graph, saved as ``.pt2``, and loaded again without its Python code."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.axes import EXAMPLE_BATCH, dynamic_shapes, resized
from export.exporter import exporting, one_line
from export.options import AS_IT_IS, ExportOptions
from export.runner import METADATA_FILE, Runner
from export.view import ExportView, portable_view
from rewriter.errors import ExportError, RewriterError
from rewriter.sources.inputs import InputSpec


def exported_program(view: ExportView, specs: Sequence[InputSpec], *, dynamic_size: bool = False) -> ExportedProgram:
    """Trace ``view`` into an ATen graph whose batch and sequence axes, and sizes on request, are dynamic.

    Raises:
        ExportError: the height or width cannot vary.
        Exception: whatever else ``torch.export`` raises; call it inside ``exporting``.
    """
    try:
        if dynamic_size:
            view.call(*view.examples(resized(specs), 1))
        program = _traced(view, specs, dynamic_size)
    except Exception as error:
        if not dynamic_size or isinstance(error, RewriterError) or not _traces(view, specs):
            raise
        raise ExportError(
            expected="a model whose images may vary in height and width",
            found=one_line(error),
            remedy="leave --dynamic-size out, since this model fixes its size",
        ) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # file paths of the machine that exports
    return program


def export_program(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    options: ExportOptions = AS_IT_IS,
) -> None:
    """Write ``model`` to ``path`` in the ``.pt2`` format; its inputs are positional, in the order of ``specs``.

    ``metadata`` becomes the extra file ``metadata.json`` of the archive.

    Raises:
        ExportError: ``torch.export`` cannot trace or save the model, or not with the size dynamic.
    """
    with exporting("torch.export"):
        view = portable_view(model, specs, options.dtype)
        program = exported_program(view, specs, dynamic_size=options.dynamic_size)
        entries = {**(metadata or {}), **options.as_metadata()}
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(entries)})


def load_program(path: Path) -> Runner:
    """Load a ``.pt2`` file as a function from input tensors, by name and in order, to output tensors."""
    module = torch.export.load(path).module()

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        output = module(*inputs.values())
        return [output] if isinstance(output, Tensor) else list(output)

    return run


def _traced(view: ExportView, specs: Sequence[InputSpec], dynamic_size: bool) -> ExportedProgram:
    shapes = dynamic_shapes(specs, dynamic_size=dynamic_size)
    examples = view.examples(specs, EXAMPLE_BATCH)
    try:
        return torch.export.export(view, examples, dynamic_shapes=shapes, strict=False)
    except Exception:
        # Code that asks for len() gets a plain number there; as bytecode it is followed symbolically.
        with contextlib.suppress(Exception):
            return torch.export.export(view, examples, dynamic_shapes=shapes, strict=True)
        raise


def _traces(view: ExportView, specs: Sequence[InputSpec]) -> bool:
    try:
        _traced(view, specs, False)
    except Exception:
        return False
    return True
