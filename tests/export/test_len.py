"""Models whose code asks for ``len()`` of a tensor, a plain number that must not be held fast."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from export.onnx import export_onnx
from export.onnx_runtime import load_onnx
from export.program import export_program, load_program
from export.torchscript import export_torchscript, load_torchscript
from rewriter.sources.inputs import InputSpec


class Asks(nn.Module):
    """Uses the length of its input as a size and as a number."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.fc2(F.gelu(self.fc1(x)))
        return (h.reshape(len(h), 2, 2) + torch.zeros(len(x), 1, 1)).flatten(1)


class Hidden(Asks):
    """Asks in a way that scripting does not understand."""

    def forward(self, x: Tensor, *rest: Tensor, **more: Tensor) -> Tensor:
        return super().forward(x)


SPECS = (InputSpec(name="x", shape=(4,)),)
BACKENDS = {
    "torch.export": (export_program, load_program, "model.pt2"),
    "TorchScript": (export_torchscript, load_torchscript, "model.ts"),
    "ONNX": (export_onnx, load_onnx, "model.onnx"),
}


@pytest.mark.parametrize("method", [None, "ga", "sa", "hdfgd", "swap"])
@pytest.mark.parametrize("kind", [Asks, Hidden])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.filterwarnings("ignore")
def test_the_export_takes_every_batch(backend: str, kind: type[Asks], method: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind().eval()
    if method is not None:
        options = {"activation": "silu"} if method == "swap" else {}
        model = rewriter.rewrite(model, method, example_inputs=torch.zeros(2, 4), **options).model.eval()
    export, load, name = BACKENDS[backend]
    export(model, SPECS, tmp_path / name)
    run = load(tmp_path / name)
    for batch in (1, 2, 3, 7):
        x = torch.randn(batch, 4)
        with torch.no_grad():
            torch.testing.assert_close(torch.as_tensor(run({"x": x})[0]), model(x), rtol=1e-4, atol=1e-5)
