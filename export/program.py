"""torch.export: a model as an ATen graph, saved as ``.pt2``, and loaded again without its Python code."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from export.axes import EXAMPLE_BATCH, dynamic_shapes
from export.exporter import exporting
from export.runner import METADATA_FILE, Runner
from export.view import ExportView, portable_view
from rewriter.sources.inputs import InputSpec


def exported_program(view: ExportView, specs: Sequence[InputSpec]) -> ExportedProgram:
    """Trace ``view`` into an ATen graph whose batch and sequence axes are dynamic.

    Raises:
        Exception: whatever ``torch.export`` raises; call it inside ``exporting``.
    """
    program = torch.export.export(
        view, view.examples(specs, EXAMPLE_BATCH), dynamic_shapes=dynamic_shapes(specs), strict=False
    )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # file paths of the machine that exports
    return program


def export_program(
    model: nn.Module, specs: Sequence[InputSpec], path: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write ``model`` to ``path`` in the ``.pt2`` format; its inputs are positional, in the order of ``specs``.

    ``metadata`` becomes the extra file ``metadata.json`` of the archive.

    Raises:
        ExportError: ``torch.export`` cannot trace or save the model.
    """
    with exporting("torch.export"):
        program = exported_program(portable_view(model, specs), specs)
        torch.export.save(program, path, extra_files={METADATA_FILE: json.dumps(dict(metadata or {}))})


def load_program(path: Path) -> Runner:
    """Load a ``.pt2`` file as a function from input tensors, by name and in order, to output tensors."""
    module = torch.export.load(path).module()

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        output = module(*inputs.values())
        return [output] if isinstance(output, Tensor) else list(output)

    return run
