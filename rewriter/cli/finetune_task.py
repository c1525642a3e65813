"""From a folder and a user's wishes to a task for fine-tuning."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from rewriter.cli.opening import open_folder
from rewriter.errors import UsageError
from rewriter.finetune.data.spec import read_examples
from rewriter.finetune.data.takes import what_it_takes
from rewriter.finetune.examples import hold_out
from rewriter.finetune.finetuning import Task
from rewriter.finetune.trial import require_fit
from rewriter.finetune.wishes import Wishes, channels
from rewriter.recipe import Recipe
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import load_source
from rewriter.storage import RECIPE
from rewriter.storage.reports import read_report

if TYPE_CHECKING:
    from accelerate import Accelerator


def finetune_task(directory: Path, wishes: Wishes, accelerator: Accelerator, *, shard: bool) -> Task:
    """Restore the rewritten model, load its teacher and open the data.

    The rewritten model is annealed by default, unless its weights are those of the new functions already: after a warm
    start, or an earlier fine-tuning.

    Raises:
        UsageError: the folder, the data or an option does not fit, or the teacher's weights are not known.
        CheckpointError: weights do not fit.
    """
    from passes.anneal import begin_anneal
    from passes.penalty import adversarial_parameters
    from passes.turning import turn_signs

    opened = open_folder(directory)
    recipe, model = opened.recipe, opened.model
    assert recipe.source is not None
    takes = what_it_takes(model, recipe.source.spec, opened.inputs, channels(wishes.mean), channels(wishes.std))
    examples = read_examples(wishes.data, takes)
    if wishes.test is not None:
        test = read_examples(wishes.test, takes)
    else:
        examples, test = hold_out(examples, wishes.seed)
    for part, name in ((examples, wishes.data), (test, wishes.test or wishes.data)):
        require_fit(model, part, name)
    adapted = recipe.options.get("init") == "warm" or bool(read_report(directory).finetunings)
    settings = wishes.settings(
        model,
        len(examples),
        labelled=examples.labelled,
        annealed=not adapted,
        precision=str(accelerator.mixed_precision),
    )
    teacher = _teacher(recipe, wishes.teacher_checkpoint, needed=settings.distill > 0)
    move, turned = _keep, frozenset[str]()
    if settings.anneal_steps != 0:
        structure = load_source(recipe.source.spec, trained=False).model
        shapes = example_inputs(opened.inputs) if opened.inputs else None
        turned = turn_signs(model, recipe, structure, shapes)
        anneal = begin_anneal(model, recipe, settings.anneal_steps or 1, original=teacher, turned=turned)
        move = anneal.move
    return Task(
        student=model,
        teacher=teacher,
        examples=examples,
        test=test,
        settings=settings,
        folder=state_folder(directory),
        save_every=60 * wishes.save_minutes,
        data=wishes.data,
        digest=hashlib.sha256((directory / RECIPE).read_bytes()).hexdigest(),
        penalised=adversarial_parameters(model, recipe),
        move=move,
        turned=turned,
        shard=shard,
    )


def state_folder(directory: Path) -> Path:
    """Return the folder beside a rewritten model's in which the state of its unfinished fine-tuning is kept."""
    return directory.absolute().parent / f".{directory.name}-finetune"


def _keep(weight: float) -> None:
    pass


def _teacher(recipe: Recipe, checkpoint: Path | None, *, needed: bool) -> nn.Module | None:
    source = recipe.source
    assert source is not None
    if checkpoint is None and source.checkpoint is not None:
        if not needed:
            return None
        raise UsageError(
            expected=f"--teacher-checkpoint with the weights of {source.spec}, which came from {source.checkpoint}",
            found="none",
            remedy="give them, or learn from labels alone with --distill 0",
        )
    return load_source(source.spec, checkpoint=checkpoint).model
