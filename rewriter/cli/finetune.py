"""``rewrite-model finetune``: a rewritten model learns, with the original one as its teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rewriter.cli.arguments import FolderArgument, JsonOption
from rewriter.cli.finetune_failure import one_failure
from rewriter.cli.finetune_result import FinetuneProgress, figures_table, write_result
from rewriter.cli.finetune_task import finetune_task
from rewriter.cli.output import console, print_json
from rewriter.finetune.finetuning import finetune
from rewriter.finetune.processes import join_processes
from rewriter.finetune.wishes import Wishes
from rewriter.storage.replacing import finish_replacing

DataOption = Annotated[
    str,
    typer.Option(
        metavar="DATA",
        help="an image folder, FILE.npz (x, y), FILE.txt or torchvision:NAME?root=DIR&…",
    ),
]


def finetune_command(
    directory: FolderArgument,
    data: DataOption,
    test: Annotated[
        str | None, typer.Option(metavar="DATA", help="what to measure on; default: a tenth of the data, held out")
    ] = None,
    teacher_checkpoint: Annotated[
        Path | None, typer.Option(metavar="FILE_OR_DIR", help="the original weights, where SOURCE alone has others")
    ] = None,
    epochs: Annotated[float | None, typer.Option(help="passes over the data; default: 3, unless limited below")] = None,
    steps: Annotated[int | None, typer.Option(help="number of steps, in place of epochs")] = None,
    max_minutes: Annotated[float | None, typer.Option(help="stop after this time; rates and anneal follow it")] = None,
    batch_size: Annotated[int, typer.Option(help="examples per step, all processes together")] = 64,
    optimizer: Annotated[
        str | None, typer.Option(help="sgd or adamw; default: sgd for models with batch norms")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="highest learning rate; default: 0.01 for sgd, 5e-4")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="of matrices; default: 5e-4 for sgd, 0.05")] = None,
    anneal_steps: Annotated[
        int | None, typer.Option(help="steps from the old activations to the new; default: 40 % of the way; 0: none")
    ] = None,
    penalty: Annotated[float, typer.Option(help="weight decay of SA's adversarial branches")] = 0.05,
    distill: Annotated[
        float | None, typer.Option(help="share of the teacher in the loss; default: 0.5 with labels, 1 without")
    ] = None,
    temperature: Annotated[float, typer.Option(help="softens the logits that are compared")] = 2.0,
    augment: Annotated[str, typer.Option(help="of training images: crop, flip, crop,flip or none")] = "none",
    mean: Annotated[str | None, typer.Option(help="of each channel of pixels in [0, 1], with commas between")] = None,
    std: Annotated[str | None, typer.Option(help="deviation of each channel, with commas between")] = None,
    precision: Annotated[
        str | None, typer.Option(help="of autocast: no, bf16 or fp16; default: the launcher's")
    ] = None,
    save_minutes: Annotated[float, typer.Option(min=0, help="minutes between two states to go on from")] = 1.0,
    seed: Annotated[int, typer.Option(help="of the order, the augmentation and the dropout")] = 0,
    shard: Annotated[bool, typer.Option("--shard", help="share the parameters out among the processes (FSDP)")] = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune the rewritten model in DIR on labels, the original's outputs, or both; DIR is replaced at the end."""
    wishes = Wishes(
        data=data,
        test=test,
        teacher_checkpoint=teacher_checkpoint,
        epochs=epochs,
        steps=steps,
        max_minutes=max_minutes,
        batch_size=batch_size,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        anneal_steps=anneal_steps,
        penalty=penalty,
        distill=distill,
        temperature=temperature,
        augment=augment,
        mean=mean,
        std=std,
        precision=precision,
        save_minutes=save_minutes,
        seed=seed,
    )
    with one_failure():
        _finetune(directory.resolve(), wishes, shard=shard, as_json=as_json)  # its siblings hold state and new folder


def _finetune(directory: Path, wishes: Wishes, *, shard: bool, as_json: bool) -> None:
    accelerator = join_processes(wishes.precision)
    if accelerator.is_main_process:
        finish_replacing(directory)
    accelerator.wait_for_everyone()
    task = finetune_task(directory, wishes, accelerator, shard=shard)
    with FinetuneProgress(shown=accelerator.is_main_process) as progress:
        finetuned = finetune(task, accelerator, progress)
    if accelerator.is_main_process:
        write_result(directory, task.folder, finetuned)
        if as_json:
            print_json(finetuned.record)
        else:
            to = console(as_json)
            to.print(figures_table(finetuned.record))
            to.print(f"wrote {directory}/: weights, recipe, report, finetune.csv and finetune.png")
    accelerator.wait_for_everyone()
    accelerator.end_training()
