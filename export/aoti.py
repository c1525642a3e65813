"""AOTInductor: a model compiled to machine code for processors like this one, in a ``.pt2`` package."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor, nn

from export.exporter import exporting
from export.options import AS_IT_IS, ExportOptions
from export.program import exported_program
from export.runner import METADATA_FILE, Runner
from export.view import portable_view
from rewriter.errors import ExportError
from rewriter.sources.inputs import InputSpec

_COMPILERS = ("c++", "g++", "clang++")


def export_aoti(
    model: nn.Module,
    specs: Sequence[InputSpec],
    path: Path,
    *,
    metadata: Mapping[str, str] | None = None,
    options: ExportOptions = AS_IT_IS,
) -> None:
    """Compile ``model`` for the CPU and write the package to ``path``; its inputs are positional, as in ``specs``.

    The axes that vary are those of the ``.pt2`` export. The package holds machine code and is opened with
    ``torch._inductor.aoti_load_package``, by the version of torch that wrote it.

    Raises:
        ExportError: there is no C++ compiler, ``torch.export`` cannot trace the model, or it does not compile.
    """
    if compiler() is None:
        raise ExportError(
            expected=f"a C++ compiler ({', '.join(_COMPILERS)}) for the target aoti",
            found="none on PATH",
            remedy="install one, or choose another target",
        )
    with exporting("AOTInductor"):
        program = exported_program(portable_view(model, specs, options.dtype), specs, dynamic_size=options.dynamic_size)
        torch._inductor.aoti_compile_and_package(program, package_path=str(path))
        with zipfile.ZipFile(path, "a") as package:
            root = PurePosixPath(package.namelist()[0]).parts[0]
            entries = {**(metadata or {}), **options.as_metadata()}
            package.writestr(f"{root}/extra/{METADATA_FILE}", json.dumps(entries))


def load_aoti(path: Path) -> Runner:
    """Load a package as a function from input tensors, by name and in order, to output tensors."""
    compiled = torch._inductor.aoti_load_package(str(path))

    def run(inputs: Mapping[str, Tensor]) -> list[Tensor]:
        output = compiled(*inputs.values())
        return [output] if isinstance(output, Tensor) else list(output)

    return run


def compiler() -> str | None:
    """Return the C++ compiler that is found first, None where there is none."""
    return next(filter(None, map(shutil.which, _COMPILERS)), None)
