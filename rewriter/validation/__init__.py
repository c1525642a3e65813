"""Validate: the promises a rewritten model must keep before anybody sees it."""

from rewriter.validation.budget import check_budget
from rewriter.validation.values import check_finite

__all__ = ["check_budget", "check_finite"]
