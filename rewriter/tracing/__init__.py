"""Capture: what a model's code does, recorded on example inputs or traced symbolically."""

from rewriter.tracing.recording import trace
from rewriter.tracing.trace import Trace, TracedGraph, Untraced

__all__ = ["Trace", "TracedGraph", "Untraced", "trace"]
