"""Measuring a model beside its teacher, on all processes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.evaluation import call, evaluating
from rewriter.finetune.examples import Batch, Examples
from rewriter.finetune.objective import cross_entropy
from rewriter.finetune.outputs import main_output
from rewriter.finetune.record import Figures

if TYPE_CHECKING:
    from accelerate import Accelerator


def measure(
    student: nn.Module,
    teacher: nn.Module | None,
    examples: Examples,
    batch_size: int,
    accelerator: Accelerator,
    on_batch: Callable[[int, int], None],
) -> tuple[Figures, Figures | None]:
    """Measure a model and its teacher in one pass, in eval mode.

    Args:
        student: what is measured; every process runs it equally often.
        teacher: what it is compared with, or None.
        examples: all of them count.
        batch_size: of all processes together.
        accelerator: knows the processes.
        on_batch: called after each batch with the batches done and in all.

    Returns:
        The figures of both.
    """
    sums = torch.zeros(2, 4, dtype=torch.float64)  # for each model: right, loss, agreeing, examples
    starts = range(0, len(examples), batch_size)
    with evaluating(student):
        for done, start in enumerate(starts, 1):
            chosen = range(start, min(start + batch_size, len(examples)))
            own = list(chosen[accelerator.process_index :: accelerator.num_processes])
            batch = examples.batch(own or [start]).to(accelerator.device)  # sharded models wait for one another
            outputs = _outputs(student, batch, accelerator)
            theirs = _outputs(teacher, batch, accelerator) if teacher is not None else None
            if own:
                sums[0] += _sums(outputs, theirs, batch)
                sums[1] += _sums(theirs, theirs, batch) if theirs is not None else 0
            on_batch(done, len(starts))
    # A sum in float32, which every backend adds, is exact for counts up to 2^24.
    total: Tensor = accelerator.reduce(sums.to(accelerator.device, torch.float32), reduction="sum")
    ours, original = total.tolist()
    if teacher is None:
        return _figures(ours, examples.labelled, False), None
    return _figures(ours, examples.labelled, True), _figures(original, examples.labelled, True)


def _outputs(model: nn.Module, batch: Batch, accelerator: Accelerator) -> Tensor:
    with accelerator.autocast():
        output = call(model, batch.inputs)
    return main_output(output).float()


def _sums(outputs: Tensor, theirs: Tensor | None, batch: Batch) -> Tensor:
    count = len(outputs)
    sums = torch.zeros(4, dtype=torch.float64)
    sums[3] = count
    if batch.labels is not None:
        sums[0] = (
            float((outputs.argmax(-1) == batch.labels).double().flatten(1).mean(1).sum())
            if (batch.labels.ndim > 1)
            else float((outputs.argmax(-1) == batch.labels).sum())
        )
        sums[1] = float(cross_entropy(outputs, batch.labels)) * count
    if theirs is not None:
        sums[2] = _agreeing(outputs, theirs, batch)
    return sums


def _agreeing(outputs: Tensor, theirs: Tensor, batch: Batch) -> float:
    if batch.labels is not None:
        same = (outputs.argmax(-1) == theirs.argmax(-1)).double()
    else:
        same = F.cosine_similarity(outputs, theirs, dim=-1).double()
    if same.ndim == 1:
        return float(same.sum())
    kept = batch.mask.double() if batch.mask is not None and batch.mask.shape == same.shape else torch.ones_like(same)
    return float(((same * kept).flatten(1).sum(1) / kept.flatten(1).sum(1).clamp_min(1)).sum())


def _figures(sums: list[float], labelled: bool, taught: bool) -> Figures:
    right, loss, agreeing, count = sums
    return Figures(
        accuracy=right / count if labelled else None,
        loss=loss / count if labelled else None,
        agreement=agreeing / count if taught else None,
    )
