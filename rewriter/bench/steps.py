"""What one step does: a forward pass, or a whole training step, on inputs that are there already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.bench.interleaved import Call
from rewriter.bench.settings import Settings
from rewriter.evaluation import call
from rewriter.finetune.outputs import main_output
from rewriter.sources.inputs import InputSpec, example_inputs

LEARNING_RATE: Final = 1e-4
MOMENTUM: Final = 0.9


def placed(model: nn.Module, settings: Settings) -> nn.Module:
    """Move a model to the device, dtype and layout of the settings; it is the same object."""
    return model.to(  # type: ignore[call-overload,no-any-return]
        device=settings.device, dtype=settings.dtype, memory_format=settings.memory_format
    )


def placed_inputs(specs: tuple[InputSpec, ...], batch_size: int, settings: Settings) -> dict[str, Tensor]:
    """Draw a batch for every spec, on the device and in the dtype and layout of the settings."""
    drawn = example_inputs(specs, batch_size, dtype=settings.dtype, device=settings.device)
    return {
        name: value.contiguous(memory_format=settings.memory_format) if value.dim() == 4 else value
        for name, value in drawn.items()
    }


def ready(model: nn.Module, mode: str) -> nn.Module:
    """Return what runs a model: itself, or in the mode ``compiled`` what ``torch.compile`` makes of it."""
    if mode != "compiled":
        return model
    compiled: nn.Module = torch.compile(model)  # type: ignore[assignment]
    return compiled


def inference_step(model: nn.Module, inputs: Mapping[str, Tensor], settings: Settings, mode: str) -> Call:
    """Return a call of one forward pass in eval mode without gradients."""
    model.eval()
    forward = ready(model, mode)

    def step() -> None:
        with torch.no_grad(), settings.autocast():
            call(forward, inputs)

    return step


def training_step(model: nn.Module, inputs: Mapping[str, Tensor], settings: Settings, mode: str) -> Call:
    """Return a call of one training step: forward, loss, backward, SGD with momentum.

    The loss is the cross entropy with random classes where the main output is ``[N, classes]``, else its mean square.
    """
    model.train()
    forward = ready(model, mode)
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        optimizer.zero_grad()
        with settings.autocast():
            output = main_output(call(forward, inputs))
            loss = _loss(output, generator)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def _loss(output: Tensor, generator: torch.Generator) -> Tensor:
    if output.dim() != 2:
        return output.float().square().mean()
    targets = torch.randint(output.shape[1], output.shape[:1], generator=generator)
    return F.cross_entropy(output, targets.to(output.device))
