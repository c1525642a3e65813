"""What a model's ``forward`` takes: shapes and dtypes without the batch, and example tensors made from them."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import Tensor, nn

from rewriter.errors import UsageError


class InputSpec(BaseModel):
    """One tensor argument of ``forward``.

    Attributes:
        name: the name of the parameter of ``forward``.
        shape: the sizes **without** the batch dimension, which always comes first.
        dtype: ``"float32"`` (drawn from the standard normal) or ``"int64"`` (drawn uniformly from ``[low, high)``).
        low: the least integer; only for ``int64``.
        high: one more than the greatest integer, such as a vocabulary's size; only for ``int64``.
        sequence_axis: the index, in the full tensor with its batch, of a sequence length that may vary; None: fixed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    shape: tuple[PositiveInt, ...]
    dtype: Literal["float32", "int64"] = "float32"
    low: int = 0
    high: int = 1
    sequence_axis: PositiveInt | None = None

    @model_validator(mode="after")
    def _is_drawable(self) -> InputSpec:
        if self.low >= self.high:
            raise ValueError(f"low must be below high, found low={self.low} and high={self.high}")
        if self.sequence_axis is not None and self.sequence_axis > len(self.shape):
            raise ValueError(f"sequence_axis {self.sequence_axis} is outside a tensor of rank {len(self.shape) + 1}")
        return self


def example_inputs(
    specs: Sequence[InputSpec],
    batch_size: int = 1,
    *,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> dict[str, Tensor]:
    """Draw one batch for every spec: keyword arguments of ``forward``, by name.

    Args:
        specs: what to draw; each tensor has shape ``(batch_size, *spec.shape)``.
        batch_size: the size of the first dimension.
        seed: the same seed gives the same values on every device, since they are drawn on the CPU.
        dtype: the dtype of the floating-point inputs; integers stay ``int64``.
        device: where the tensors go.
    """
    generator = torch.Generator().manual_seed(seed)
    return {spec.name: _draw(spec, (batch_size, *spec.shape), generator, dtype).to(device) for spec in specs}


def tensor_input(model: nn.Module, shape: Sequence[int]) -> tuple[InputSpec, ...]:
    """Describe the ``float32`` tensor of ``shape`` (without the batch) that ``model.forward`` takes first.

    Empty when ``forward`` names no parameter, as in ``forward(*args)``.
    """
    parameters = inspect.signature(model.forward).parameters.values()
    named = [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return tuple(InputSpec(name=name, shape=tuple(shape)) for name in named[:1])


def parse_input_shape(text: str) -> tuple[int, ...]:
    """Read a shape without its batch dimension, such as ``"3x224x224"``.

    Raises:
        UsageError: a size is not a positive integer.
    """
    sizes = text.strip().lower().split("x")
    if not all(size.isascii() and size.isdigit() and int(size) > 0 for size in sizes):
        raise UsageError(
            expected="an input shape without the batch, such as 3x224x224",
            found=repr(text),
            remedy="write positive integers with an x between them",
        )
    return tuple(int(size) for size in sizes)


def _draw(spec: InputSpec, shape: tuple[int, ...], generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    if spec.dtype == "int64":
        return torch.randint(spec.low, spec.high, shape, generator=generator)
    return torch.randn(shape, generator=generator).to(dtype)
