"""The processes that train together, as Accelerate sees them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import torch

from rewriter.errors import UsageError
from rewriter.tracing.trace import reason

if TYPE_CHECKING:
    from accelerate import Accelerator

_OWN_WAYS = {
    "ACCELERATE_USE_FSDP": "--use_fsdp",
    "ACCELERATE_USE_DEEPSPEED": "--use_deepspeed",
    "ACCELERATE_USE_MEGATRON_LM": "--use_megatron_lm",
}


def join_processes(precision: str | None) -> Accelerator:
    """Start accelerate: one process, or as many as ``torchrun`` or ``accelerate launch`` started, on GPUs or the CPU.

    Args:
        precision: dtype of autocast, ``no``, ``bf16`` or ``fp16``; None for what the launcher says.

    Raises:
        UsageError: accelerate is not installed, the machine lacks the precision, or the launcher is to split the model
            in a way of its own.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise UsageError(
            expected="the accelerate package for fine-tuning",
            found=reason(error),
            remedy="run `pip install network-rewriter[finetune]`",
        ) from error
    _require_whole_models()
    try:
        # Unless it is told that there are CPUs alone, accelerate takes each process of torchrun for one by itself.
        return Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=precision)
    except ValueError as error:
        raise UsageError(
            expected="a precision that accelerate offers on this machine",
            found=reason(error),
            remedy="give --precision no or bf16",
        ) from error


def require_shares(processes: int, batch_size: int, *, shard: bool, precision: str) -> None:
    """Check that processes can share the work.

    Args:
        processes: how many there are.
        batch_size: examples per step, all processes together.
        shard: whether the parameters are shared out too.
        precision: of autocast.

    Raises:
        UsageError: a batch cannot be shared evenly, or the parameters cannot be shared out.
    """
    if batch_size % processes:
        raise UsageError(
            expected=f"a batch size that {processes} processes can share evenly",
            found=str(batch_size),
            remedy="give a multiple with --batch-size",
        )
    if shard and processes == 1:
        raise UsageError(
            expected="several processes for --shard",
            found="one",
            remedy="start them with `torchrun --nproc-per-node N -m rewriter.cli.main finetune …`, or leave it out",
        )
    if shard and precision == "fp16":
        raise UsageError(
            expected="bf16 or no reduced precision with --shard", found="fp16", remedy="give --precision bf16 or no"
        )


def _require_whole_models() -> None:
    for name, option in _OWN_WAYS.items():
        if os.environ.get(name, "false").lower() == "true":
            raise UsageError(
                expected="a launcher that leaves the model whole",
                found=f"accelerate launch with {option}",
                remedy="launch without it and give --shard to `rewrite-model finetune`",
            )
