"""The Python doors: rewrite, plan, apply, restore, capture, graph_pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.fx.passes.infra.pass_base import PassResult

from rewriter.calibration import listed
from rewriter.errors import NoSiteError, UsageError, ValidationError
from rewriter.recipe import Recipe, SourceRecord, draft
from rewriter.report import Report, report_of
from rewriter.sites import Miss, Site, match
from rewriter.surgery.copies import copied
from rewriter.surgery.operation import operate
from rewriter.tracing import TracedGraph, Untraced, trace
from rewriter.validation import check_budget, check_finite
from rewriter.validation.exact import check_exact
from rewriter.warm import OnProgress, warm_start
from rewriter.wrapped import require_plain


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


def capture(model: nn.Module, example_inputs: Any = None) -> Capture:
    """Trace a model and find its sites; nothing is changed.

    Args:
        model: any module, on any device, ``meta`` too.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments; when given, code that cannot be
            traced is recorded as it runs on tensors of these shapes and dtypes, without any values.

    Raises:
        UsageError: the model is wrapped, compiled, sharded, or has lazy layers.
    """
    require_plain(model)
    traced = trace(model, example_inputs)
    matches = match(traced)
    return Capture(traced.graphs, matches.sites, matches.misses, traced.untraced)


def plan(
    model: nn.Module,
    method: str,
    *,
    source: SourceRecord | None = None,
    calibration: Iterable[Any] | None = None,
    example_inputs: Any = None,
    check: bool = False,
    **options: Any,
) -> Recipe:
    """Plan a rewrite; nothing is changed, and without calibration the weights are not read.

    Args:
        model: any module, on any device, ``meta`` too.
        method: a name that ``rewrite-model list methods`` shows.
        source: where the model came from, for the recipe.
        calibration: example inputs, each a tensor, a tuple of arguments or a dict of keyword arguments; a method that
            measures what enters the activations, such as ``eafo``, runs the model on them.
        example_inputs: see `capture`; without them, what only untraceable code connects stays unseen.
        check: carry the plan out exactly on a copy, and compare: see `rewriter.validation.check_exact`.
        options: of the engine (see `RewriteOptions`) and of the method.

    Raises:
        UsageError: an unknown method or option, or a value that does not fit.
        NoSiteError: the method rewrites nothing in this model; the message has the reasons.
        CaptureError: a module could not be captured and ``strict=True`` was given.
        ValidationError: with ``check``, the plan carried out exactly changes what the model computes.
    """
    recipe = draft(model, method, options, source=source, calibration=calibration, example_inputs=example_inputs)
    if not recipe.sites:
        reasons = Counter(miss.reason for miss in recipe.misses).most_common(3)
        found = "; ".join(f"{count} × {reason}" for reason, count in reasons) or "no known activation at all"
        raise NoSiteError(
            expected=f"at least one site for method {method!r}", found=found, remedy="try another method or model"
        )
    if check:
        _check(model, recipe, example_inputs)
    return recipe


def _check(model: nn.Module, recipe: Recipe, example_inputs: Any) -> None:
    if example_inputs is None:
        raise UsageError(expected="example inputs to check on", found="none", remedy="give example_inputs")
    why = check_exact(model, recipe, example_inputs)
    if why is not None:
        raise ValidationError(
            expected="outputs to compare", found=why, remedy="give inputs that the model runs on, or leave check out"
        )


def apply(
    model: nn.Module,
    recipe: Recipe,
    *,
    inplace: bool = False,
    example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    on_progress: OnProgress | None = None,
    check: bool = False,
) -> Result:
    """Carry a recipe out.

    Args:
        model: the model that the recipe was made for.
        recipe: what to do.
        inplace: work on the model itself instead of a copy.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments; when given, the rewritten model
            is run once and its outputs must be finite.
        calibration: example inputs that a warm start fits the new weights to: see `rewriter.warm.warm_start`.
        on_progress: called by a warm start with what it does, how much of it is done, and how much there is.
        check: first carry the recipe out exactly on a copy, and compare: see `rewriter.validation.check_exact`.

    Raises:
        UsageError: the recipe was made for another model, or the model cannot be copied, or run on a calibration input.
        ValidationError: the parameter budget or finite values do not hold; or with ``check``, the recipe carried out
            exactly changes what the model computes.
    """
    require_plain(model)
    if check:
        _check(model, recipe, example_inputs)
    warm = recipe.options.get("init") == "warm"
    original = copied(model) if warm and inplace else model
    rewritten = operate(model if inplace else copied(model), recipe)
    check_budget(rewritten, recipe)
    warmth = warm_start(original, rewritten, recipe, calibration, on_progress) if warm else None
    if example_inputs is not None:
        check_finite(rewritten, example_inputs)
    return Result(rewritten, recipe, report_of(recipe, warmth))


def rewrite(
    model: nn.Module,
    method: str,
    *,
    inplace: bool = False,
    example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    on_progress: OnProgress | None = None,
    check: bool = False,
    **options: Any,
) -> Result:
    """Plan and apply in one call; see `plan` and `apply` for arguments and errors."""
    inputs = _read_as_often_as_needed(calibration, options)
    recipe = plan(model, method, example_inputs=example_inputs, calibration=inputs, check=check, **options)
    return apply(
        model, recipe, inplace=inplace, example_inputs=example_inputs, calibration=inputs, on_progress=on_progress
    )


def _read_as_often_as_needed(calibration: Iterable[Any] | None, options: Mapping[str, Any]) -> Iterable[Any] | None:
    """Keep calibration inputs that both the plan and a warm start read, since an iterator gives them once."""
    return listed(calibration) if calibration is not None and options.get("init") == "warm" else calibration


def graph_pass(
    method: str, *, calibration: Iterable[Any] | None = None, **options: Any
) -> Callable[[fx.GraphModule], PassResult]:
    """Make a pass over GraphModules that composes with ``torch.fx.passes.infra.pass_manager.PassManager``.

    The pass edits the graph it is given, in place; a graph without a site is returned unmodified.

    Raises:
        UsageError: when the pass runs: an unknown method or option, or a value that does not fit.
    """

    def rewrite_graph(graph_module: fx.GraphModule) -> PassResult:
        inputs = _read_as_often_as_needed(calibration, options)
        recipe = draft(graph_module, method, options, calibration=inputs)
        if not recipe.sites:
            return PassResult(graph_module, False)
        apply(graph_module, recipe, inplace=True, calibration=inputs)
        return PassResult(graph_module, True)

    return rewrite_graph
