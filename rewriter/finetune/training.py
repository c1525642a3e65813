"""The training loop: any number of processes, resumable, the same for the same seed."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from pydantic import JsonValue
from torch import Tensor, nn

from rewriter.errors import ValidationError
from rewriter.evaluation import call
from rewriter.finetune.augmentation import augmented
from rewriter.finetune.budget import Budget
from rewriter.finetune.examples import Batch, Examples, endless_order
from rewriter.finetune.log import LogRow
from rewriter.finetune.objective import Objective
from rewriter.finetune.outputs import main_output
from rewriter.finetune.settings import FinetuneSettings
from rewriter.finetune.sharding import average_whole_gradients
from rewriter.finetune.state import Position, load_state, read_position, save_state

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True)
class Lesson:
    """Who learns what, and how.

    Attributes:
        student: the model, as ``Accelerator.prepare`` returned it.
        optimizer: of its parameters, prepared too.
        teacher: in eval mode, on the same device; None to learn from labels alone.
        examples: to learn from.
        settings: how.
        move: sets the weight of the new functions, from 0 to 1.
        folder: where the state of the unfinished training is kept.
        save_every: seconds of training between two states.
        run: everything that the outcome depends on, for telling whether a state belongs to this training.
        on_step: called after each step with the progress from 0 to 1 and the step's row of the log.
    """

    student: nn.Module
    optimizer: torch.optim.Optimizer
    teacher: nn.Module | None
    examples: Examples
    settings: FinetuneSettings
    move: Callable[[float], None]
    folder: Path
    save_every: float
    run: dict[str, JsonValue]
    on_step: Callable[[float, LogRow], None] = field(default=lambda progress, row: None)


def train(lesson: Lesson, accelerator: Accelerator) -> Position:
    """Train, from the beginning or from where the same training stopped.

    One batch is shared out among the processes, so that their number changes the sums' rounding alone (and dropout and
    the batch statistics of batch norms, which each process has for itself). Every step's random numbers follow from the
    seed, the step and, for dropout, the process. A loss that is not finite also ends the state, from which no other
    rate could go on.

    Returns:
        Where it ended, with the log.

    Raises:
        UsageError: a state is there that belongs to another training.
        ValidationError: the loss is no longer finite.
    """
    settings, budget = lesson.settings, Budget(lesson.settings)
    plain_optimizer = getattr(lesson.optimizer, "optimizer", lesson.optimizer)
    position = _main_position(lesson, accelerator)
    if position is None:
        position = Position(run=lesson.run, step=0, elapsed=0.0, rows=())
    else:
        load_state(lesson.folder, position, lesson.student, plain_optimizer, main=accelerator.is_main_process)
    objective = Objective(
        settings.distill,
        settings.temperature,
        classes=lesson.examples.labelled,
        across=lambda tensor: accelerator.reduce(tensor.detach(), reduction="mean"),
    )
    rows, step, started = list(position.rows), position.step, time.monotonic() - position.elapsed
    saved = elapsed = position.elapsed
    batches = _batches(lesson, accelerator, step)
    lesson.student.train()
    with torch.random.fork_rng():
        while (progress := budget.progress(step, elapsed)) < 1:
            rate, weight = budget.rate(progress), budget.anneal_weight(step, progress)
            for group in plain_optimizer.param_groups:
                group["lr"] = rate
            lesson.move(weight)
            torch.manual_seed(_seed(settings.seed, step, accelerator.process_index))
            loss = _step(lesson, objective, next(batches), accelerator)
            step, before = step + 1, elapsed
            elapsed, mean_loss = _shared(time.monotonic() - started, loss, accelerator)
            if not math.isfinite(mean_loss):
                if accelerator.is_main_process:
                    shutil.rmtree(lesson.folder, ignore_errors=True)
                accelerator.wait_for_everyone()  # a launcher ends all processes as soon as one fails
                raise ValidationError(
                    expected="a finite loss", found=f"{mean_loss} at step {step}", remedy="lower the rate with --lr"
                )
            speed = settings.batch_size / max(elapsed - before, 1e-9)
            rows.append(
                LogRow(step=step, seconds=elapsed, loss=mean_loss, lr=rate, anneal=weight, examples_per_second=speed)
            )
            lesson.on_step(budget.progress(step, elapsed), rows[-1])
            if elapsed - saved >= lesson.save_every:
                here = Position(run=lesson.run, step=step, elapsed=elapsed, rows=tuple(rows))
                save_state(lesson.folder, here, lesson.student, plain_optimizer, main=accelerator.is_main_process)
                saved = elapsed
    lesson.move(1.0)
    lesson.student.eval()
    return Position(run=lesson.run, step=step, elapsed=elapsed, rows=tuple(rows))


def _main_position(lesson: Lesson, accelerator: Accelerator) -> Position | None:
    """Return where the main process' files stand; other machines may have none."""
    from accelerate.utils import broadcast_object_list

    position = read_position(lesson.folder, lesson.run) if accelerator.is_main_process else None
    [shared] = broadcast_object_list([position.model_dump_json() if position is not None else None])
    return Position.model_validate_json(shared) if shared is not None else None


def _step(lesson: Lesson, objective: Objective, batch: Batch, accelerator: Accelerator) -> Tensor:
    batch = batch.to(accelerator.device)
    theirs = None
    with accelerator.autocast():
        if lesson.teacher is not None and objective.distill > 0:
            with torch.no_grad():
                theirs = main_output(call(lesson.teacher, batch.inputs)).float()
        ours = main_output(call(lesson.student, batch.inputs)).float()
    loss = objective(ours, theirs, batch.labels, batch.mask)
    accelerator.backward(loss)
    average_whole_gradients(lesson.student)
    lesson.optimizer.step()
    lesson.optimizer.zero_grad()
    return loss.detach()


def _batches(lesson: Lesson, accelerator: Accelerator, first: int) -> Iterator[Batch]:
    settings = lesson.settings
    order: Iterator[Sequence[int]] = endless_order(len(lesson.examples), settings.batch_size, settings.seed, first)
    for step, indices in enumerate(order, first):
        own = indices[accelerator.process_index :: accelerator.num_processes]
        generator = torch.Generator().manual_seed(_seed(settings.seed, step, 0))

        def change(images: Tensor, generator: torch.Generator = generator) -> Tensor:
            process, processes = accelerator.process_index, accelerator.num_processes
            return augmented(images, settings.augment, generator, process=process, processes=processes)

        yield lesson.examples.batch(own, change if settings.augment else None)


def _seed(seed: int, step: int, process: int) -> int:
    return ((seed * 1_000_003 + step) * 1_000_003 + process) % 2**63


def _shared(elapsed: float, loss: Tensor, accelerator: Accelerator) -> tuple[float, float]:
    """Return the main process' time and the mean loss, the same on every process."""
    if accelerator.num_processes == 1:
        return elapsed, float(loss)
    own = [elapsed if accelerator.is_main_process else 0.0, float(loss) / accelerator.num_processes]
    total: Tensor = accelerator.reduce(torch.tensor(own, device=accelerator.device), reduction="sum")
    return float(total[0]), float(total[1])
