"""Rewrite one model of the zoo with one method and check every promise on the result."""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import rewriter
from benchmarks.executed_mlps import executed_mlps
from benchmarks.kept import BrokenPromiseError, require_kept
from benchmarks.zoo_model import ZooModel, drawn
from rewriter.errors import NoSiteError
from rewriter.evaluation import call, evaluating
from rewriter.tracing.trace import reason


@dataclass(frozen=True)
class RewriteRow:
    """What rewriting one model showed.

    Attributes:
        library: where the model comes from.
        name: its name there.
        family: the line of the table it is counted in.
        method: the method.
        outcome: ``ok``, ``failed``, ``no site`` or ``out of scope``.
        reason: what failed first, or why there is no site; empty when all is well.
        mlps: activations of the original that run between two linear maps (see `executed_mlps`), seen by the rewriter
            or not; None where it could not be run.
        sites: number of rewritten sites.
        graphs: number of modules whose code was edited, since it called an activation as a function.
        generated: whether the rewritten model generated text; False where it is no such model.
        seconds: wall-clock seconds of all checks, building the model included.
    """

    library: str
    name: str
    family: str
    method: str
    outcome: str = "ok"
    reason: str = ""
    mlps: int | None = None
    sites: int = 0
    graphs: int = 0
    generated: bool = False
    seconds: float = 0.0


def check_rewrite(entry: ZooModel, method: str) -> RewriteRow:
    """Rewrite one model and check it; an exception becomes a row with its first line, never an exception."""
    row = RewriteRow(entry.library, entry.name, entry.family, method)
    if entry.out_of_scope is not None:
        return replace(row, outcome="out of scope", reason=entry.out_of_scope)
    started = time.perf_counter()
    try:
        torch.manual_seed(0)
        model, specs = entry.load()
        if not specs:
            raise BrokenPromiseError("nothing known about what forward takes")
        inputs = drawn(specs, 2)
        row = replace(row, mlps=executed_mlps(model, inputs))
        row = _checked(row, entry, model, inputs)
    except NoSiteError as error:
        row = replace(row, outcome="no site", reason=error.found)
    except Exception as error:  # whatever happens to one model must not stop the run
        row = replace(row, outcome="failed", reason=reason(error))
    return replace(row, seconds=round(time.perf_counter() - started, 2))


def _checked(row: RewriteRow, entry: ZooModel, model: nn.Module, inputs: Mapping[str, Any]) -> RewriteRow:
    """Rewrite a model and check what it keeps, forward, backward, restore and ``generate``.

    Raises:
        NoSiteError: the method rewrites nothing in this model.
        BrokenPromiseError: a promise does not hold.
    """
    _require_finite(_run(model, inputs), "the original's outputs")
    recipe = rewriter.plan(model, row.method, example_inputs=inputs)
    result = rewriter.apply(model, recipe)  # not run yet: some models keep state in attributes
    row = replace(row, sites=len(recipe.sites), graphs=require_kept(model, result.model, recipe))
    _require_finite(_run(result.model, inputs), "outputs")
    new = _new_parameters(model, result.model)
    _require_gradients(result.model, inputs, new)
    with torch.no_grad():
        for parameter in new.values():
            parameter.mul_(1.001)  # so that a restore without the saved weights is seen
    _require_restored(entry, result, inputs)
    return replace(row, generated=_require_generation(model, result.model, inputs))


def _new_parameters(model: nn.Module, rewritten: nn.Module) -> dict[str, nn.Parameter]:
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    return {name: p for name, p in rewritten.named_parameters() if shapes.get(name) != p.shape}


def _require_gradients(model: nn.Module, inputs: Mapping[str, Any], new: Mapping[str, nn.Parameter]) -> None:
    missing = dict(new)
    for training in (False, True):  # auxiliary heads run in training only, dropped layers in evaluation only
        if not missing:
            break
        model.train(training)
        model.zero_grad()
        losses = [value.float().square().mean() for value in _floats(call(model, inputs)) if value.requires_grad]
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        missing = {name: p for name, p in missing.items() if p.grad is None}
        for name in new.keys() - missing.keys():
            gradient = new[name].grad
            if gradient is not None and not bool(torch.isfinite(gradient).all()):
                raise BrokenPromiseError(f"backward: the gradient of {name} is not finite")
    model.eval()
    if missing:
        raise BrokenPromiseError(f"backward: no gradient for {len(missing)} of {len(new)}, first {next(iter(missing))}")


def _require_restored(entry: ZooModel, result: rewriter.Result, inputs: Mapping[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        rewriter.save(result, Path(folder) / "saved")
        torch.manual_seed(1)
        fresh, _ = entry.load()
        restored = rewriter.restore(fresh, Path(folder) / "saved")
    before, after = _floats(_run(result.model, inputs)), _floats(_run(restored, inputs))
    differing = Counter(torch.equal(a, b) for a, b in zip(before, after, strict=True))[False]
    if differing:
        raise BrokenPromiseError(f"restore: {differing} of {len(before)} outputs differ")


def _require_generation(model: Any, rewritten: Any, inputs: Mapping[str, Any]) -> bool:
    """Let both models generate, where they can, and compare what comes out by its shape."""
    if not (callable(getattr(model, "can_generate", None)) and model.can_generate()):
        return False
    prompt = {name: value for name, value in inputs.items() if not name.startswith("decoder_")}
    before, after = (
        m.generate(**prompt, min_new_tokens=3, max_new_tokens=3, do_sample=False) for m in (model, rewritten)
    )
    if after.shape != before.shape or after.dtype != before.dtype:
        raise BrokenPromiseError(f"generate: {list(after.shape)} tokens in the place of {list(before.shape)}")
    return True


def _run(model: nn.Module, inputs: Mapping[str, Any]) -> Any:
    torch.manual_seed(0)  # some models draw random numbers in evaluation mode too, such as masks
    with evaluating(model):
        return call(model, inputs)


def _require_finite(outputs: Any, what: str) -> None:
    if not all(bool(torch.isfinite(value).all()) for value in _floats(outputs)):
        raise BrokenPromiseError(f"{what} are not finite")


def _floats(outputs: Any) -> list[Tensor]:
    return [v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()]
