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
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trainable if id(p) in special], "weight_decay": settings.penalty},
        {
            "params": [p for p in trainable if id(p) not in special and p.ndim >= 2],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for p in trainable if id(p) not in special and p.ndim < 2], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=settings.lr)
