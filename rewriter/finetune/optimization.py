"""The optimizer of a fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from rewriter.finetune.settings import FinetuneSettings

_MOMENTUM = 0.9


def make_optimizer(
    model: nn.Module, settings: FinetuneSettings, penalised: Sequence[nn.Parameter] = ()
) -> torch.optim.Optimizer:
    """Return SGD with Nesterov momentum, or AdamW, over the trainable parameters of a model.

    Args:
        model: what is trained.
        settings: which optimizer and the decays.
        penalised: parameters with the decay ``settings.penalty``; of the others matrices have ``weight_decay`` and
            vectors and scalars none.
    """
    special = {id(parameter) for parameter in penalised}
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    kinds: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in trainable:
        decay = settings.weight_decay if parameter.ndim >= 2 else 0.0
        decay = settings.penalty if id(parameter) in special else decay
        # Scalars apart: a sharded model keeps them whole, and no group of parameters may hold both kinds of tensor.
        kinds.setdefault((decay, parameter.ndim == 0), []).append(parameter)
    groups: list[dict[str, Any]] = [{"params": own, "weight_decay": decay} for (decay, _), own in kinds.items()]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.lr)
