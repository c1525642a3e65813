"""What a user asks of a fine-tuning, before defaults are filled in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from torch import nn

from rewriter.errors import UsageError
from rewriter.finetune.settings import FinetuneSettings, default_decay, default_optimizer, default_rate

_EPOCHS = 3.0
_DISTILL = 0.5


@dataclass(frozen=True)
class Wishes:
    """The options of ``rewrite-model finetune``; None where the default is wanted."""

    data: str
    test: str | None
    teacher_checkpoint: Path | None
    epochs: float | None
    steps: int | None
    max_minutes: float | None
    batch_size: int
    optimizer: str | None
    lr: float | None
    weight_decay: float | None
    anneal_steps: int | None
    penalty: float
    distill: float | None
    temperature: float
    augment: str
    mean: str | None
    std: str | None
    precision: str | None
    save_minutes: float
    seed: int

    def share_of_teacher(self, *, labelled: bool) -> float:
        """Return the share of the teacher in the loss.

        Raises:
            UsageError: labels are wanted and there are none.
        """
        if labelled:
            return _DISTILL if self.distill is None else self.distill
        if self.distill not in (None, 1.0):
            raise UsageError(
                expected="data with labels, or --distill 1", found=f"none in {self.data}", remedy="leave --distill out"
            )
        return 1.0

    def settings(
        self, model: nn.Module, examples: int, *, labelled: bool, annealed: bool, precision: str
    ) -> FinetuneSettings:
        """Fill the defaults in.

        Args:
            model: the rewritten model.
            examples: how many there are to learn from.
            labelled: whether they have labels.
            annealed: whether there is an anneal unless the user says otherwise.
            precision: of autocast, as the launcher and the user decided.

        Raises:
            UsageError: a value does not fit.
        """
        optimizer = self.optimizer or default_optimizer(model)
        steps = self.steps
        if steps is None and (self.epochs is not None or self.max_minutes is None):
            epochs = _EPOCHS if self.epochs is None else self.epochs
            steps = max(1, math.ceil(epochs * examples / self.batch_size)) if epochs > 0 else 0
        try:
            return FinetuneSettings.model_validate(
                {
                    "steps": steps,
                    "seconds": 60 * self.max_minutes if self.max_minutes is not None else None,
                    "batch_size": self.batch_size,
                    "optimizer": optimizer,
                    "lr": default_rate(optimizer) if self.lr is None else self.lr,
                    "weight_decay": default_decay(optimizer) if self.weight_decay is None else self.weight_decay,
                    "anneal_steps": self.anneal_steps if annealed or self.anneal_steps is not None else 0,
                    "penalty": self.penalty,
                    "distill": self.share_of_teacher(labelled=labelled),
                    "temperature": self.temperature,
                    "augment": [] if self.augment == "none" else self.augment.split(","),
                    "precision": precision,
                    "seed": self.seed,
                }
            )
        except ValidationError as error:
            first = error.errors()[0]
            raise UsageError(
                expected=f"a valid {first['loc'][0]} ({first['msg']})",
                found=repr(first["input"]),
                remedy="change that option",
            ) from None


def channels(text: str | None) -> tuple[float, ...] | None:
    """Read one number for each channel, such as ``0.485,0.456,0.406``.

    Raises:
        UsageError: a part is no number.
    """
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            expected="numbers with commas between", found=repr(text), remedy="write such as 0.485,0.456,0.406"
        ) from None
