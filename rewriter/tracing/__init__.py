"""Capture: symbolic traces of a model, as many and as deep as its code allows."""

from rewriter.tracing.trace import Trace, TracedGraph, Untraced, adopt, trace

__all__ = ["Trace", "TracedGraph", "Untraced", "adopt", "trace"]
