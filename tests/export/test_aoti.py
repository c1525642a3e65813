from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from export.aoti import compiler, export_aoti, load_aoti
from export.archive import archive_metadata
from export.options import ExportOptions
from rewriter.errors import ExportError
from rewriter.sources.inputs import InputSpec

SPECS = (InputSpec(name="input", shape=(8,)),)


@pytest.mark.skipif(compiler() is None, reason="AOTInductor needs a C++ compiler")
def test_one_package_serves_every_batch_and_tells_how_it_was_made(tmp_path: Path) -> None:
    model, path = nn.Sequential(nn.Linear(8, 4), nn.Tanh()).eval(), tmp_path / "model.aoti.pt2"
    export_aoti(model, SPECS, path, metadata={"method": "sa"}, options=ExportOptions(precision="fp32"))
    assert list(tmp_path.iterdir()) == [path]
    run = load_aoti(path)
    for batch_size in (1, 7):
        tensor = torch.randn(batch_size, 8)
        torch.testing.assert_close(run({"input": tensor}), [model(tensor).detach()])
    assert archive_metadata(path) == {"method": "sa", "precision": "fp32"}


def test_a_machine_without_a_compiler_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ExportError, match=r"C\+\+ compiler .* found none on PATH"):
        export_aoti(nn.Linear(8, 4), SPECS, tmp_path / "model.aoti.pt2")
