"""A whole fine-tuning: measure, train, measure again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from rewriter.errors import ValidationError
from rewriter.finetune.examples import Examples
from rewriter.finetune.log import LogRow
from rewriter.finetune.measuring import measure
from rewriter.finetune.optimization import make_optimizer
from rewriter.finetune.processes import require_shares
from rewriter.finetune.record import FinetuneRecord
from rewriter.finetune.settings import FinetuneSettings
from rewriter.finetune.sharding import shard
from rewriter.finetune.state import whole_weights
from rewriter.finetune.training import Lesson, train
from rewriter.finetune.unused import has_unused

if TYPE_CHECKING:
    from accelerate import Accelerator

OnProgress = Callable[[str, float, LogRow | None], None]


@dataclass(frozen=True)
class Task:
    """What is fine-tuned.

    Attributes:
        student: the rewritten model, in which `move` works.
        teacher: the original model, or None.
        examples: to learn from.
        test: to measure on.
        settings: how.
        folder: for the state of the unfinished training.
        save_every: seconds of training between two states.
        data: how the user named the examples.
        digest: tells the weights it starts from.
        penalised: parameters with a decay of their own.
        move: sets the weight of the new functions, from 0 to 1.
        turned: paths of sites whose signs were turned.
        shard: whether the processes share the student's parameters out.
    """

    student: nn.Module
    teacher: nn.Module | None
    examples: Examples
    test: Examples
    settings: FinetuneSettings
    folder: Path
    save_every: float
    data: str
    digest: str
    penalised: Sequence[nn.Parameter] = ()
    move: Callable[[float], None] = field(default=lambda weight: None)
    turned: frozenset[str] = frozenset()
    shard: bool = False


@dataclass(frozen=True)
class Finetuned:
    """What came out.

    Attributes:
        weights: the state dict of the student, on the CPU; empty on all but the main process.
        record: for the report.
        rows: the log.
    """

    weights: dict[str, Tensor]
    record: FinetuneRecord
    rows: tuple[LogRow, ...]


def finetune(task: Task, accelerator: Accelerator, on_progress: OnProgress) -> Finetuned:
    """Fine-tune a rewritten model; every process calls it.

    Args:
        task: what to do.
        accelerator: knows the processes.
        on_progress: called with what is going on, how far it is (0 to 1), and while training the row of the log.

    Raises:
        UsageError: the settings do not fit the data or the processes, or an unfinished training was another one.
        ValidationError: the loss is no longer finite.
    """
    settings = task.settings
    require_shares(accelerator.num_processes, settings.batch_size, shard=task.shard, precision=settings.precision)
    if not task.shard and any(isinstance(module, nn.Conv2d) for module in task.student.modules()):
        for model in (task.student, task.teacher):
            if model is not None:  # the layout that convolutions are fastest in
                model.to(memory_format=torch.channels_last)
    student, optimizer = _shared_out(task, accelerator)
    teacher = task.teacher
    if teacher is not None:
        teacher = teacher.requires_grad_(False).eval().to(accelerator.device)  # whole on each device
    task.move(1.0)
    before, original = measure(
        student,
        teacher,
        task.test,
        settings.batch_size,
        accelerator,
        lambda done, count: on_progress("measuring", done / count, None),
    )
    run: dict[str, JsonValue] = {
        **settings.model_dump(mode="json"),
        "data": task.data,
        "examples": len(task.examples),
        "weights": task.digest,
        "turned": [*sorted(task.turned)],
    }
    lesson = Lesson(
        student=student,
        optimizer=optimizer,
        teacher=teacher,
        examples=task.examples,
        settings=settings,
        move=task.move,
        folder=task.folder,
        save_every=task.save_every,
        run=run,
        on_step=lambda progress, row: on_progress("training", progress, row),
    )
    end = train(lesson, accelerator)
    after, _ = measure(
        student,
        teacher,
        task.test,
        settings.batch_size,
        accelerator,
        lambda done, count: on_progress("measuring again", done / count, None),
    )
    weights = whole_weights(student)
    record = FinetuneRecord(
        data=task.data,
        examples=len(task.examples),
        measured_on=len(task.test),
        original=original,
        before=before,
        after=after,
        steps=end.step,
        seconds=end.elapsed,
        processes=accelerator.num_processes,
        turned=tuple(sorted(task.turned)),
        settings=settings.model_dump(mode="json"),
    )
    return Finetuned(_finite(weights), record, end.rows)


def _shared_out(task: Task, accelerator: Accelerator) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the student as it runs in this process, with an optimizer of its parameters."""
    from accelerate.utils import DistributedDataParallelKwargs

    penalised: Sequence[nn.Parameter] = task.penalised
    if not task.shard:
        if accelerator.num_processes > 1:
            unused = has_unused(task.student, task.examples.batch([0]))
            accelerator.ddp_handler = DistributedDataParallelKwargs(find_unused_parameters=unused)
        prepared = accelerator.prepare(task.student, make_optimizer(task.student, task.settings, penalised))
        return prepared[0], prepared[1]
    special = {id(parameter) for parameter in penalised}
    names = [name for name, parameter in task.student.named_parameters() if id(parameter) in special]
    shard(task.student, accelerator.device, accelerator.num_processes)
    penalised = [task.student.get_parameter(name) for name in names]  # other objects now
    return task.student, accelerator.prepare(make_optimizer(task.student, task.settings, penalised))


def _finite(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ValidationError(
            expected="finite weights", found=f"others in {broken[0]}", remedy="lower the rate with --lr"
        )
    return dict(weights)
