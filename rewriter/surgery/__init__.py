"""Apply: carry a recipe out on a model's own module tree."""

from rewriter.surgery.operation import operate

__all__ = ["operate"]
