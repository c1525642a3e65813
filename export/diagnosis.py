"""Says, in words, where an export starts to differ from eager PyTorch."""

from __future__ import annotations

from export.agreement import TOLERANCES, agreement
from export.bisecting import Divergence, first_divergence
from export.exporter import one_line, silenced
from export.pair import Pair
from export.steps import Recorder, record_call
from export.targets import TARGETS
from export.trials import Trial


def diagnosis(pair: Pair, target: str, trial: Trial) -> str:
    """Run both sides on the inputs once more with every value inside watched, and name the first that differs.

    It has an answer for every export; the reason, where no value inside can be compared.
    """
    record = TARGETS[target].record
    if record is None:
        return f"what is inside {pair.path.name} cannot be watched, so no node is named"
    try:
        with silenced():
            divergence = _divergence(pair, record, trial)
    except Exception as error:
        return f"no node is named, since {pair.path.name} does not run with its values watched ({one_line(error)})"
    if divergence is None:
        return (
            "every value inside agrees when it is watched, so the outputs have another order or nodes are fused wrongly"
        )
    return _in_words(divergence)


def _divergence(pair: Pair, record: Recorder, trial: Trial) -> Divergence | None:
    reference = record_call(pair.view.call, list(pair.named(trial).values()), pair.view.model)
    exported = record(pair.path, pair.named(trial))
    tolerance = TOLERANCES[pair.dtype]
    outputs = zip(pair.eager(trial), pair.exported(trial), strict=True)
    failed = [index for index, ((_, y), z) in enumerate(outputs) if not agreement(y, z, tolerance).passed]
    return first_divergence(reference, exported, failed, tolerance)


def _in_words(divergence: Divergence) -> str:
    step, exported = divergence.reference, divergence.exported
    node = "" if exported is None else f"node {exported.node!r} ({exported.operation})" if exported.node else ""
    if step is None:
        assert exported is not None
        return f"it has every value of the model and others beside them, the first in {node or exported.operation}"
    module = f"module {step.module!r} ({step.operation})" if step.module else f"the model's own {step.operation}"
    where = f"{node}, in {module}" if node else module
    growth = "grows step by step, and passes the tolerance" if divergence.gradual else "jumps"
    errors = f"from {divergence.before:.1g} to {divergence.after:.1g}"
    return f"the first to differ is {where}, where the error {growth} {errors}"
