"""How a fine-tuning runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Augmentation = Literal["crop", "flip"]

_RATES = {"sgd": 0.01, "adamw": 5e-4}
_DECAYS = {"sgd": 5e-4, "adamw": 0.05}


class FinetuneSettings(BaseModel):
    """What a user decides of a fine-tuning; everything that its outcome depends on besides model and data.

    Attributes:
        steps: how many steps; with ``seconds``, whichever comes first. One of the two is given.
        seconds: how long, the checks before and after it not counted.
        batch_size: examples per step, all processes together.
        optimizer: which.
        lr: the highest learning rate, reached after a twentieth of the way; from there it falls along a cosine.
        weight_decay: of matrices; vectors and scalars are not decayed.
        anneal_steps: steps from the original activations to the new functions; None for a part of the way, 0 for none.
        penalty: weight decay of the adversarial branches of SA instead.
        distill: share of the teacher in the loss, from 0 (labels alone) to 1 (teacher alone).
        temperature: that softens both models' logits when they are compared.
        augment: what is done to training images: ``crop`` (pad by an eighth and crop at random), ``flip`` (mirror).
        precision: the dtype of autocast, or ``no``.
        seed: of the order, the augmentation and the dropout.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: Annotated[int, Field(gt=0)] | None
    seconds: Annotated[float, Field(gt=0)] | None
    batch_size: Annotated[int, Field(gt=0)]
    optimizer: Literal["sgd", "adamw"]
    lr: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    anneal_steps: Annotated[int, Field(ge=0)] | None
    penalty: Annotated[float, Field(ge=0)]
    distill: Annotated[float, Field(ge=0, le=1)]
    temperature: Annotated[float, Field(gt=0)]
    augment: tuple[Augmentation, ...]
    precision: Literal["no", "bf16", "fp16"]
    seed: int


def default_optimizer(model: nn.Module) -> str:
    """Return SGD with momentum for models with batch norms, which are trained so, and AdamW for others."""
    return "sgd" if any(isinstance(module, _BatchNorm) for module in model.modules()) else "adamw"


def default_rate(optimizer: str) -> float:
    """Return a highest learning rate for short fine-tuning."""
    return _RATES.get(optimizer, _RATES["adamw"])


def default_decay(optimizer: str) -> float:
    """Return a weight decay."""
    return _DECAYS.get(optimizer, _DECAYS["adamw"])
