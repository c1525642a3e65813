"""What comparing exports with eager PyTorch found; the content of ``parity.json``."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict

from export.agreement import Agreement
from export.trials import Origin, Trial


class Comparison(Agreement):
    """The agreement of one output of one target on one batch of inputs.

    Attributes:
        target: the name of the export target.
        output: the name of the output.
        inputs: where the inputs came from.
        batch_size: the number of examples.
        sequence_length: of the first input that has one.
        image_size: height and width of the first input of images.
        weights: the dtype of the weights, which sets the tolerance.
    """

    target: str
    output: str
    inputs: Origin = "random"
    batch_size: int
    sequence_length: int | None
    image_size: tuple[int, int] | None = None
    weights: str = "float32"

    def is_of(self, trial: Trial) -> bool:
        """Whether these were the inputs."""
        mine = (self.inputs, self.batch_size, self.sequence_length, self.image_size)
        return mine == (trial.origin, trial.batch_size, trial.sequence_length, trial.image_size)


class Parity(BaseModel):
    """All comparisons of the exports in a directory."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    comparisons: tuple[Comparison, ...] = ()

    @property
    def targets(self) -> list[str]:
        """The names of the targets compared, in order."""
        return list(dict.fromkeys(comparison.target for comparison in self.comparisons))

    @property
    def failed(self) -> list[Comparison]:
        """The comparisons that did not pass."""
        return [comparison for comparison in self.comparisons if not comparison.passed]

    def without(self, targets: Iterable[str]) -> Parity:
        """Return the comparisons of the other targets."""
        dropped = set(targets)
        return Parity(comparisons=tuple(one for one in self.comparisons if one.target not in dropped))

    def __add__(self, other: Parity) -> Parity:
        return Parity(comparisons=self.comparisons + other.comparisons)
