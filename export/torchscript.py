"""TorchScript: a frozen module that loads wherever torch does."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from export.axes import EXAMPLE_BATCH
from export.exporter import exporting, silenced
from export.options import AS_IT_IS, ExportOptions
from export.outputs import named_tensors
from export.program import exported_program
from export.runner import METADATA_FILE, Runner
from export.view import ExportView, portable_view
from rewriter.sources.inputs import InputSpec


def export_torchscript(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    options: ExportOptions = AS_IT_IS,
) -> None:
    """Write ``model`` to ``path``, scripted where it can be and else traced; inputs are positional, as in ``specs``.

    A scripted model keeps the structure of its output, a traced one returns a tensor or a tuple of tensors.
    ``metadata`` becomes the extra file ``metadata.json`` of the archive.

    Raises:
        ExportError: the model can be neither scripted nor traced.
    """
    with exporting("TorchScript"):
        view = portable_view(model, specs, options.dtype)
        frozen = _script(view) or _trace(view, specs) or _script_program(view, specs)
        entries = {**(metadata or {}), **options.as_metadata()}
        torch.jit.save(frozen, path, _extra_files={METADATA_FILE: json.dumps(entries)})


def load_torchscript(path: Path) -> Runner:
    """Load a TorchScript file on the CPU as a function from input tensors, in order, to output tensors."""
    with silenced():
        module = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        return [tensor for _, tensor in named_tensors(module(*inputs.values()))]

    return run


def _script(view: ExportView) -> torch.jit.ScriptModule | None:
    if view.by_keyword or view.converts:
        return None
    try:
        frozen: torch.jit.ScriptModule = torch.jit.freeze(torch.jit.script(view.model))
    except Exception:  # the compiler has many ways to refuse Python, and each of them means: trace
        return None
    return frozen


def _trace(view: ExportView, specs: Sequence[InputSpec]) -> torch.jit.ScriptModule | None:
    """Trace the model; None where its code asks for ``len()``, a number that the trace holds fast."""
    traced = torch.jit.trace(view, view.examples(specs, EXAMPLE_BATCH), check_trace=False)  # type: ignore[no-untyped-call]
    frozen: torch.jit.ScriptModule = torch.jit.freeze(traced)
    others = view.examples(specs, EXAMPLE_BATCH + 1)
    return None if _runs(view, others) and not _runs(frozen, others) else frozen


def _runs(program: Callable[..., Any], examples: Sequence[Tensor]) -> bool:
    try:
        with torch.no_grad():
            program(*examples)
    except Exception:  # whatever a model says to a batch that it does not take
        return False
    return True


def _script_program(view: ExportView, specs: Sequence[InputSpec]) -> torch.jit.ScriptModule:
    """Script what ``torch.export`` makes of the model, whose sizes are symbols."""
    module = exported_program(view, specs).module()
    for node in list(module.graph.nodes):
        if node.target is torch.ops.aten.sym_size.int:
            node.op, node.target = "call_method", "size"
        elif isinstance(node.target, torch._ops.OpOverload):
            node.target = node.target.overloadpacket  # the compiler knows no other names
        elif node.op == "call_module" and not node.users:  # what checks the inputs
            module.graph.erase_node(node)
    module.graph.set_codegen(fx.graph.CodeGen())
    frozen: torch.jit.ScriptModule = torch.jit.freeze(torch.jit.script(fx.GraphModule(module, module.graph)).eval())
    return frozen
