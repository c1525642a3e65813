"""Streaming: a checkpoint of any size is rewritten tensor by tensor, without ever being in memory as a whole."""

from rewriter.streaming.stream import stream

__all__ = ["stream"]
