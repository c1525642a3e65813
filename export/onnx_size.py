"""How many nodes an ONNX graph has, and how many a simplifier leaves of them."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path

import onnx
from pydantic import BaseModel, ConfigDict

from export.exporter import silenced

_LARGEST_MESSAGE = 2**31 - 1


class NodeCounts(BaseModel):
    """The nodes of an ONNX graph.

    Attributes:
        exported: in the file.
        simplified: after OnnxSlim; None where it is not installed, fails, or the weights pass 2 GB.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    exported: int
    simplified: int | None


def count_nodes(path: Path) -> NodeCounts:
    """Count the nodes of the ONNX file at ``path``, which is only read, and what OnnxSlim would leave of them."""
    exported = len(onnx.load(path, load_external_data=False).graph.node)
    return NodeCounts(exported=exported, simplified=_simplified(path))


def _simplified(path: Path) -> int | None:
    external = path.with_name(f"{path.name}.data")
    size = path.stat().st_size + (external.stat().st_size if external.is_file() else 0)
    if size > _LARGEST_MESSAGE or importlib.util.find_spec("onnxslim") is None:
        return None
    try:
        with silenced():
            return len(importlib.import_module("onnxslim").slim(str(path)).graph.node)
    except Exception:  # it is asked for an opinion, and owes none
        return None
