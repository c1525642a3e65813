"""What an export found and wrote, as one JSON object."""

from __future__ import annotations

from export.comparison import Parity
from export.onnx_size import NodeCounts


class ExportReport(Parity):
    """All comparisons of one export, and what it wrote.

    Attributes:
        files: the names of the files.
        onnx_nodes: the size of the ONNX graph; None where none was written.
    """

    files: tuple[str, ...]
    onnx_nodes: NodeCounts | None = None
