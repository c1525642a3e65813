"""The Python doors: rewrite, plan, apply, restore, capture, graph_pass."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.fx.passes.infra.pass_base import PassResult

from rewriter.errors import NoSiteError, UsageError
from rewriter.recipe import Recipe, SourceRecord, draft
from rewriter.report import Report, report_of
from rewriter.sites import Miss, Site, match
from rewriter.surgery import operate
from rewriter.tracing import TracedGraph, Untraced, trace
from rewriter.tracing.tracer import reason
from rewriter.validation import check_budget, check_finite


@dataclass(frozen=True)
class Capture:
    """What the rewriter sees of a model.

    Attributes:
        graphs: the traced graphs, outer ones first.
        sites: the linear→activation sites, in order of depth.
        misses: the activations that are no site, with reasons.
        untraced: the modules whose code could not be traced, with reasons.
    """

    graphs: tuple[TracedGraph, ...]
    sites: tuple[Site, ...]
    misses: tuple[Miss, ...]
    untraced: tuple[Untraced, ...]


@dataclass(frozen=True)
class Result:
    """A rewritten model, the recipe it was made by, and the report."""

    model: nn.Module
    recipe: Recipe
    report: Report


def capture(model: nn.Module) -> Capture:
    """Trace a model and find its sites; nothing is changed."""
    traced = trace(model)
    matches = match(traced)
    return Capture(traced.graphs, matches.sites, matches.misses, traced.untraced)


def plan(
    model: nn.Module,
    method: str,
    *,
    source: SourceRecord | None = None,
    calibration: Iterable[Any] | None = None,
    **options: Any,
) -> Recipe:
    """Plan a rewrite; nothing is changed, and without calibration the weights are not read.

    Args:
        model: any module, on any device, ``meta`` too.
        method: a name that ``rewrite-model list methods`` shows.
        source: where the model came from, for the recipe.
        calibration: example inputs, each a tensor, a tuple of arguments or a dict of keyword arguments; a method that
            measures what enters the activations, such as ``eafo``, runs the model on them.
        options: of the engine (see `RewriteOptions`) and of the method.

    Raises:
        UsageError: an unknown method or option, or a value that does not fit.
        NoSiteError: the method rewrites nothing in this model; the message has the reasons.
        CaptureError: a module could not be captured and ``strict=True`` was given.
    """
    recipe = draft(model, method, options, source=source, calibration=calibration)
    if not recipe.sites:
        reasons = Counter(miss.reason for miss in recipe.misses).most_common(3)
        found = "; ".join(f"{count} × {reason}" for reason, count in reasons) or "no known activation at all"
        raise NoSiteError(
            expected=f"at least one site for method {method!r}", found=found, remedy="try another method or model"
        )
    return recipe


def apply(model: nn.Module, recipe: Recipe, *, inplace: bool = False, example_inputs: Any = None) -> Result:
    """Carry a recipe out.

    Args:
        model: the model that the recipe was made for.
        recipe: what to do.
        inplace: work on the model itself instead of a copy.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments; when given, the rewritten model
            is run once and its outputs must be finite.

    Raises:
        UsageError: the recipe was made for another model, the model cannot be copied, or the root's own code must be
            replaced, which cannot be done in place.
        ValidationError: the parameter budget or finite values do not hold.
    """
    if (
        inplace
        and not isinstance(model, fx.GraphModule)
        and any(s.module is None and not s.owner for s in recipe.sites)
    ):
        raise UsageError(
            expected="activations that a submodule replacement reaches",
            found="one in the code of the model itself",
            remedy="leave inplace=True out and use result.model",
        )
    rewritten = operate(model if inplace else _copy(model), recipe)
    check_budget(rewritten, recipe)
    if example_inputs is not None:
        check_finite(rewritten, example_inputs)
    return Result(rewritten, recipe, report_of(recipe))


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:  # whatever the model holds may refuse to be copied
        raise UsageError(
            expected="a model that copy.deepcopy can copy", found=reason(error), remedy="work on it with inplace=True"
        ) from error


def rewrite(
    model: nn.Module, method: str, *, inplace: bool = False, example_inputs: Any = None, **options: Any
) -> Result:
    """Plan and apply in one call; see `plan` and `apply` for arguments and errors."""
    return apply(model, plan(model, method, **options), inplace=inplace, example_inputs=example_inputs)


def graph_pass(
    method: str, *, calibration: Iterable[Any] | None = None, **options: Any
) -> Callable[[fx.GraphModule], PassResult]:
    """Make a pass over GraphModules that composes with ``torch.fx.passes.infra.pass_manager.PassManager``.

    The pass edits the graph it is given, in place; a graph without a site is returned unmodified.

    Raises:
        UsageError: when the pass runs: an unknown method or option, or a value that does not fit.
    """

    def rewrite_graph(graph_module: fx.GraphModule) -> PassResult:
        recipe = draft(graph_module, method, options, calibration=calibration)
        if not recipe.sites:
            return PassResult(graph_module, False)
        apply(graph_module, recipe, inplace=True)
        return PassResult(graph_module, True)

    return rewrite_graph
