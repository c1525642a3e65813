"""The engine: sources, checkpoints, tracing, sites, recipes, surgery, validation, storage."""

from rewriter.doors import Capture, Result, apply, capture, graph_pass, plan, rewrite
from rewriter.errors import (
    CaptureError,
    CheckpointError,
    ExportError,
    IllConditionedError,
    NoSiteError,
    RewriterError,
    UsageError,
    ValidationError,
)
from rewriter.methods import Method, MethodConfig, Placement, register
from rewriter.recipe import Recipe
from rewriter.report import Report
from rewriter.storage import restore, save

__all__ = [
    "Capture",
    "CaptureError",
    "CheckpointError",
    "ExportError",
    "IllConditionedError",
    "Method",
    "MethodConfig",
    "NoSiteError",
    "Placement",
    "Recipe",
    "Report",
    "Result",
    "RewriterError",
    "UsageError",
    "ValidationError",
    "apply",
    "capture",
    "graph_pass",
    "plan",
    "register",
    "restore",
    "rewrite",
    "save",
]
