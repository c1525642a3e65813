"""From the text that names a model to the model itself, its weights, and what it takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from rewriter.checkpoints.loading import load_checkpoint
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec, tensor_input
from rewriter.sources.spec import SourceSpec, parse_spec


@dataclass(frozen=True)
class Source:
    """A model and where it came from.

    Attributes:
        spec: the source text in its normal form, enough to build the same model again.
        model: the model, in evaluation mode.
        inputs: what ``forward`` takes; empty when unknown.
    """

    spec: str
    model: nn.Module
    inputs: tuple[InputSpec, ...]


def load_source(
    text: str,
    *,
    checkpoint: Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    trained: bool = True,
    trust_pickle: bool = False,
) -> Source:
    """Build the model that ``text`` names, in evaluation mode.

    Args:
        text: ``timm:NAME[?key=value&…]``, ``torchvision:NAME[?…]``, ``hf:DIR_OR_ID`` or ``py:package.module:factory``.
        checkpoint: a file or folder with the weights, loaded strictly; None leaves the source's own.
        trained: read the weights that come with the source (those of an ``hf:`` folder, or of timm's ``pretrained``),
            unless a checkpoint is given.
        input_shape: the shape without the batch, in place of the one the model gives.
        trust_pickle: run the code that the checkpoint's pickles hold.

    Raises:
        UsageError: the source cannot be built, or ``input_shape`` does not fit the model's inputs.
        CheckpointError: the weights are unreadable, unsafe, or not the model's.
    """
    spec = parse_spec(text)
    model, inputs = _build(spec, trained=trained and checkpoint is None)
    if checkpoint is not None:
        load_checkpoint(model, checkpoint, trust_pickle=trust_pickle)
    if input_shape is not None:
        inputs = _with_shape(model, inputs, input_shape)
    return Source(str(spec), model.eval(), inputs)


def _build(spec: SourceSpec, *, trained: bool) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    # Each library takes seconds to import, so only the one that is asked for is.
    match spec.scheme:
        case "timm":
            from rewriter.sources import timm

            options = {name: value for name, value in spec.options.items() if trained or name != "pretrained"}
            return timm.build(spec.name, options)
        case "torchvision":
            from rewriter.sources import torchvision

            return torchvision.build(spec.name, spec.options)
        case "hf":
            from rewriter.sources import huggingface

            return huggingface.build(spec.name, trained=trained)
        case _:
            from rewriter.sources import factory

            return factory.build(spec.name)


def _with_shape(model: nn.Module, inputs: tuple[InputSpec, ...], shape: tuple[int, ...]) -> tuple[InputSpec, ...]:
    if not inputs:
        return tensor_input(model, shape)
    ranks = {len(spec.shape) for spec in inputs}
    if ranks != {len(shape)}:
        raise UsageError(
            expected="an input shape of the model's rank, such as " + "x".join(map(str, inputs[0].shape)),
            found="x".join(map(str, shape)),
            remedy="give --input-shape without the batch",
        )
    return tuple(spec.model_copy(update={"shape": shape}) for spec in inputs)
