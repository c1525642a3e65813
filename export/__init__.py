"""Back-ends for rewritten models: ONNX, TorchScript, torch.export, and the proof of parity."""

from export.onnx import export_onnx
from export.parity import Comparison, Parity, compare
from export.pipeline import check_exports, export_model, exports_in
from export.program import export_program
from export.targets import TARGETS
from export.torchscript import export_torchscript

__all__ = [
    "TARGETS",
    "Comparison",
    "Parity",
    "check_exports",
    "compare",
    "export_model",
    "export_onnx",
    "export_program",
    "export_torchscript",
    "exports_in",
]
