"""Compare: a rewritten model with the original it was made from, tensor by tensor and output by output."""

from rewriter.comparison.difference import Difference, compare
from rewriter.comparison.original import Original, find_original

__all__ = ["Difference", "Original", "compare", "find_original"]
