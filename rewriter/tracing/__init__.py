"""Capture: symbolic traces of a model as deep as its code allows, and records of the code that they leave out."""

from rewriter.tracing.recording import record
from rewriter.tracing.trace import Trace, TracedGraph, Untraced, adopt, trace

__all__ = ["Trace", "TracedGraph", "Untraced", "adopt", "record", "trace"]
