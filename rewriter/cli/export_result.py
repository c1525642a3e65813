"""What ``rewrite-model export`` tells when the files are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from rewriter.cli.output import print_json
from rewriter.cli.parity_table import show_parity

if TYPE_CHECKING:
    from export import NodeCounts, Parity


def print_result(parity: Parity, directory: Path) -> None:
    """Print one JSON object on stdout: ``comparisons`` as in parity.json, ``files``, and ``onnx_nodes`` with ONNX."""
    from export import ExportReport

    nodes = _nodes(parity, directory)
    print_json(ExportReport(comparisons=parity.comparisons, files=_files(parity), onnx_nodes=nodes))


def show_result(to: Console, parity: Parity, directory: Path) -> None:
    """Print the comparisons, the size of the ONNX graph, and what was written."""
    show_parity(to, parity)
    counts = _nodes(parity, directory)
    if counts is not None:
        simplified = "OnnxSlim not at hand" if counts.simplified is None else f"{counts.simplified} after OnnxSlim"
        to.print(f"ONNX graph: {counts.exported} nodes, {simplified}")
    to.print(f"wrote {', '.join(str(directory / name) for name in _files(parity))} and parity.json")


def _files(parity: Parity) -> tuple[str, ...]:
    from export import TARGETS

    return tuple(TARGETS[name].filename for name in parity.targets)


def _nodes(parity: Parity, directory: Path) -> NodeCounts | None:
    from export import TARGETS, count_nodes

    return count_nodes(directory / TARGETS["onnx"].filename) if "onnx" in parity.targets else None
