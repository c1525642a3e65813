"""Back-ends for rewritten models: ONNX, TorchScript, torch.export, and the proof of parity."""

from export.aoti import export_aoti
from export.comparison import Comparison, Parity
from export.onnx import export_onnx
from export.onnx_size import NodeCounts, count_nodes
from export.options import ExportOptions
from export.parity import compare
from export.pipeline import check_exports, export_model, exports_in
from export.program import export_program
from export.report import ExportReport
from export.targets import TARGETS
from export.torchscript import export_torchscript

__all__ = [
    "TARGETS",
    "Comparison",
    "ExportOptions",
    "ExportReport",
    "NodeCounts",
    "Parity",
    "check_exports",
    "compare",
    "count_nodes",
    "export_aoti",
    "export_model",
    "export_onnx",
    "export_program",
    "export_torchscript",
    "exports_in",
]
