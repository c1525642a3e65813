"""Rewrites an ONNX graph into one that computes the same function with fewer passes over memory."""

from export.graph.lightening import lighten

__all__ = ["lighten"]
