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
from rewriter.finetune.record import FinetuneRecord
from rewriter.finetune.settings import FinetuneSettings
from rewriter.finetune.training import Lesson, train

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
    if any(isinstance(module, nn.Conv2d) for module in task.student.modules()):
        for model in (task.student, task.teacher):
            if model is not None:  # the layout that convolutions are fastest in
                model.to(memory_format=torch.channels_last)
    optimizer = make_optimizer(task.student, settings, task.penalised)
    student, optimizer = accelerator.prepare(task.student, optimizer)
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
    weights = accelerator.get_state_dict(student)
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
    main = accelerator.is_main_process
    return Finetuned(_finite(weights) if main else {}, record, end.rows)


def _finite(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise ValidationError(
            expected="finite weights", found=f"others in {broken[0]}", remedy="lower the rate with --lr"
        )
    return {name: tensor.detach().cpu() for name, tensor in weights.items()}
