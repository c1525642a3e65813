"""What a fine-tuning achieved, as the report keeps it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, JsonValue


class Figures(BaseModel):
    """One model on the examples to measure on.

    Attributes:
        accuracy: fraction labelled right; None without labels.
        loss: mean cross-entropy in nats; None without labels.
        agreement: with the original model: the fraction given the same class, or for features the mean cosine; None
            without a teacher.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    accuracy: float | None
    loss: float | None
    agreement: float | None


class FinetuneRecord(BaseModel):
    """One fine-tuning.

    Attributes:
        data: what it learnt from.
        examples: how many there were.
        measured_on: how many the figures are of.
        original: figures of the original model; None without a teacher.
        before: of the rewritten model before.
        after: of the rewritten model after.
        steps: number of steps.
        seconds: of training.
        processes: how many trained together.
        turned: paths of the sites whose signs were turned for the anneal.
        settings: as they were resolved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: str
    examples: int
    measured_on: int
    original: Figures | None
    before: Figures
    after: Figures
    steps: int
    seconds: float
    processes: int
    turned: tuple[str, ...]
    settings: dict[str, JsonValue]
