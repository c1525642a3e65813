"""Plan one model of the zoo, without its weights where possible, and record what the rewriter sees."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import fx, nn

import rewriter
from benchmarks.executed import executed_activations, never_seen
from benchmarks.zoo_model import Inputs, ZooModel, drawn
from rewriter.counting import count_parameters
from rewriter.errors import NoSiteError
from rewriter.tracing.trace import reason

_RUNNABLE: Final = 50_000_000  # parameters of a model that is run with weights when it cannot run without
_PATH: Final = re.compile(r"\b\w+(\.\w+)+\b|(?<!\w)\d+(\.\w+)*\b")


@dataclass(frozen=True)
class PlanRow:
    """What planning one model showed.

    Attributes:
        library: where the model comes from.
        name: its name there.
        family: the line of the table it is counted in.
        method: always ``plan``.
        crash: the first line of the exception that stopped it; empty when it went through.
        device: where its weights were: ``meta`` or ``cpu``.
        parameters: number of parameters.
        graphs: number of traced graphs.
        untraced: number of modules whose code could not be traced.
        sites: number of sites.
        kinds: the same by kind, as JSON.
        counted: the MLPs that a person counts in its source; None where nobody did.
        note: what is subtle about the count.
        misses: number of activations that are no site.
        reasons: the same by reason, module paths replaced by ``PATH``, as JSON.
        executed: activation operations in one forward; None where the model could not be run.
        never_seen: modules that run an activation that is neither site nor miss, as JSON; None as before.
        plan_s: processor seconds of ``rewriter.plan`` with ``ga``.
        trace_s: processor seconds of ``torch.fx.symbolic_trace``; None where that fails.
    """

    library: str
    name: str
    family: str
    method: str = "plan"
    crash: str = ""
    device: str = ""
    parameters: int = 0
    graphs: int = 0
    untraced: int = 0
    sites: int = 0
    kinds: str = "{}"
    counted: int | None = None
    note: str = ""
    misses: int = 0
    reasons: str = "{}"
    executed: int | None = None
    never_seen: str | None = None
    plan_s: float | None = None
    trace_s: float | None = None


def check_plan(entry: ZooModel) -> PlanRow:
    """Plan one model; an exception becomes a row with its first line, never an exception."""
    row = PlanRow(entry.library, entry.name, entry.family, counted=entry.counted, note=entry.note)
    try:
        model, inputs, device = load_planned(entry)
        examples = drawn(inputs, device=device) if inputs else None
        capture = rewriter.capture(model, examples)
        plan_s, _ = _timed(lambda: _plan(model, examples))
    except Exception as error:  # whatever happens to one model must not stop the run
        return PlanRow(
            entry.library, entry.name, entry.family, crash=reason(error), counted=entry.counted, note=entry.note
        )
    known = [site.path for site in capture.sites] + [miss.path for miss in capture.misses]
    known += [untraced.path for untraced in capture.untraced]
    executed, unseen = _executed(entry, model, inputs, device, known)
    return replace(
        row,
        device=device,
        parameters=count_parameters(model),
        graphs=len(capture.graphs),
        untraced=len(capture.untraced),
        sites=len(capture.sites),
        kinds=json.dumps(Counter(site.kind for site in capture.sites)),
        misses=len(capture.misses),
        reasons=json.dumps(Counter(_PATH.sub("PATH", miss.reason) for miss in capture.misses)),
        executed=executed,
        never_seen=None if unseen is None else json.dumps(unseen),
        plan_s=plan_s,
        trace_s=_trace_seconds(model),
    )


def load_planned(entry: ZooModel) -> tuple[nn.Module, Inputs, str]:
    """Build a model on the meta device, or on the CPU when its constructor reads values; say where it is."""
    try:
        with torch.device("meta"):
            model, inputs = entry.load()
    except Exception:  # a constructor may do anything with values that are not there
        return *entry.load(), "cpu"
    devices = [weight.device.type for weight in model.parameters()]  # some constructors make a few elsewhere
    return model, inputs, "meta" if "meta" in devices or not devices else devices[0]


def _plan(model: nn.Module, examples: dict[str, Any] | None) -> None:
    try:
        rewriter.plan(model, "ga", example_inputs=examples)
    except NoSiteError:
        return


def _trace_seconds(model: nn.Module) -> float | None:
    try:
        return _timed(lambda: fx.symbolic_trace(model))[0]
    except Exception:  # a forward may raise anything when it is given proxies
        return None


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return round(time.process_time() - started, 4), result


def _executed(
    entry: ZooModel, model: nn.Module, inputs: Inputs, device: str, known: list[str]
) -> tuple[int | None, list[str] | None]:
    if not inputs:
        return None, None
    try:
        with torch.device(device):
            executed = executed_activations(model, drawn(inputs, device=device))
    except Exception:  # code that reads values cannot run without them
        if device == "cpu" or count_parameters(model) > _RUNNABLE:
            return None, None
        real, inputs = entry.load()
        return _executed(entry, real, inputs, "cpu", known)
    return sum(executed.values()), never_seen(executed, known)
