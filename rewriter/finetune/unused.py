"""Parameters that the outputs do not depend on."""

from __future__ import annotations

import torch
from torch import nn

from rewriter.evaluation import call, evaluating
from rewriter.finetune.examples import Batch
from rewriter.finetune.outputs import main_output


def has_unused(model: nn.Module, example: Batch) -> bool:
    """Say whether a model has trainable parameters without a part in its output, for which processes must not wait.

    Such are the layers of an output that is not learnt from, and experts that no token chose.

    Args:
        model: with no gradients yet; it has none afterwards.
        example: a single one, since of many there may be one for every expert.
    """
    with evaluating(model), torch.enable_grad():
        torch.autograd.backward(main_output(call(model, example.inputs)).float().sum())
    unused = any(parameter.grad is None for parameter in model.parameters() if parameter.requires_grad)
    model.zero_grad(set_to_none=True)
    return unused
