"""Tells an export that computes something else from one that rounds otherwise: both against double precision."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from export.agreement import agreement
from export.exporter import silenced
from export.outputs import named_tensors
from export.pair import Pair
from export.trials import Trial
from export.view import ExportView

_AS_CLOSE: Final = 10.0


@dataclass(frozen=True)
class Rounding:
    """How far both sides of a comparison are from the model in float64, as max|Δ|/max|y| of one output.

    Attributes:
        eager: of eager PyTorch in the dtype of the weights.
        exported: of the exported file.
    """

    eager: float
    exported: float

    @property
    def alone(self) -> bool:
        """Whether both are finite and the file is as close to float64 as eager is, within an order of magnitude."""
        return self.exported <= _AS_CLOSE * self.eager < torch.inf

    def __str__(self) -> str:
        """Say both figures."""
        return f"eager PyTorch is {self.eager:.2g} from the model in float64, the file {self.exported:.2g}"


def roundings(pair: Pair, trial: Trial) -> dict[str, Rounding]:
    """Run the model in float64 on the inputs and compare both sides with that; returns one `Rounding` per output.

    The result is empty where the model does not run in float64.
    """
    try:
        exact = _exact(pair, trial)
    except Exception:  # a model may ask for float32 by name anywhere in its code
        return {}
    sides = zip(pair.eager(trial), pair.exported(trial), exact, strict=True)
    return {name: Rounding(agreement(z, y, 0.0).max_rel, agreement(z, f, 0.0).max_rel) for (name, y), f, z in sides}


def _exact(pair: Pair, trial: Trial) -> list[Tensor]:
    inputs = [tensor.double() if tensor.is_floating_point() else tensor.clone() for tensor in trial.inputs]
    model = pair.view.model
    with _in_double([*model.parameters(), *model.buffers()]), silenced():
        return [tensor for _, tensor in named_tensors(ExportView(model, pair.view.input_names).call(*inputs))]


@contextlib.contextmanager
def _in_double(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Hold tensors in float64 for a while; it has every value of their own dtypes, and large models no room for two."""
    changed = [(tensor, tensor.dtype) for tensor in tensors if tensor.is_floating_point()]
    try:
        for tensor, _ in changed:
            tensor.data = tensor.data.double()
        yield
    finally:
        for tensor, dtype in changed:
            tensor.data = tensor.data.to(dtype)
