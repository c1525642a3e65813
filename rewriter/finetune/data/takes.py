"""What a model takes, as far as it decides how data is prepared."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from rewriter.sources.inputs import InputSpec

_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Takes:
    """How inputs are prepared.

    Attributes:
        source: the source's text, whose tokenizer text needs.
        name: of the argument of ``forward`` that an image goes to; None for the first, whatever its name.
        shape: of one input, without the batch; None when unknown.
        mean: of each channel, subtracted from pixels scaled to [0, 1].
        deviation: of each channel, by which the rest is divided.
    """

    source: str
    name: str | None
    shape: tuple[int, ...] | None
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def inputs(self, tensor: Tensor) -> Tensor | dict[str, Tensor]:
        """Return a single input as what `rewriter.evaluation.call` takes."""
        return tensor if self.name is None else {self.name: tensor}


def what_it_takes(
    model: nn.Module,
    source: str,
    inputs: tuple[InputSpec, ...],
    mean: tuple[float, ...] | None = None,
    deviation: tuple[float, ...] | None = None,
) -> Takes:
    """Describe the inputs of a model.

    Args:
        model: the model; timm's know how their images are normalised.
        source: its source's text.
        inputs: what ``forward`` takes, ``()`` when unknown.
        mean: of the normalisation; None for the model's own, or ImageNet's for three channels, or none.
        deviation: the same.
    """
    own = getattr(model, "pretrained_cfg", None) or {}
    shape = inputs[0].shape if inputs else None
    known = _IMAGENET if shape is None or (len(shape) == 3 and shape[0] == 3) else ((0.0,), (1.0,))
    return Takes(
        source=source,
        name=inputs[0].name if inputs else None,
        shape=shape,
        mean=tuple(mean or own.get("mean") or known[0]),
        deviation=tuple(deviation or own.get("std") or known[1]),
    )
