"""Save and restore: weights as safetensors, structure as a recipe, both or nothing."""

from rewriter.storage.folder import RECIPE, REPORT, WEIGHTS, save
from rewriter.storage.restoring import restore

__all__ = ["RECIPE", "REPORT", "WEIGHTS", "restore", "save"]
