"""The processes that train together, as Accelerate sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from rewriter.errors import UsageError
from rewriter.tracing.tracer import reason

if TYPE_CHECKING:
    from accelerate import Accelerator


def join_processes(precision: str | None) -> Accelerator:
    """Start accelerate for one process, on a GPU or the CPU.

    Args:
        precision: dtype of autocast, ``no``, ``bf16`` or ``fp16``; None for what the launcher says.

    Raises:
        UsageError: accelerate is not installed, the machine lacks the precision, or there are several processes.
    """
    try:
        from accelerate import Accelerator
    except ImportError as error:
        raise UsageError(
            expected="the accelerate package for fine-tuning",
            found=reason(error),
            remedy="run `pip install network-rewriter[finetune]`",
        ) from error
    try:
        # Unless it is told that there are CPUs alone, accelerate takes each process of torchrun for one by itself.
        accelerator = Accelerator(cpu=not torch.accelerator.is_available(), mixed_precision=precision)
    except ValueError as error:
        raise UsageError(
            expected="a precision that accelerate offers on this machine",
            found=reason(error),
            remedy="give --precision no or bf16",
        ) from error
    if accelerator.num_processes > 1:
        raise UsageError(
            expected="one process",
            found=str(accelerator.num_processes),
            remedy="run `rewrite-model finetune` without torchrun or accelerate launch",
        )
    return accelerator
