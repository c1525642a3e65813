"""What the exporters see of a model: tensors in by position, tensors out, nothing else."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from export.exporter import one_line, silenced
from export.outputs import flatten_output
from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec, example_inputs


class ExportView(nn.Module):
    """Calls ``model`` with tensors in the order of ``input_names`` and flattens what it returns.

    Args:
        model: the model; it is held, not copied.
        input_names: the parameters of ``model.forward`` that the tensors are for.
        dtype: of the floating-point inputs and outputs, where it is not that of the weights.

    Attributes:
        by_keyword: whether the tensors are passed by name, because they are not the first parameters in this order.
            Names that ``forward`` does not know, such as a label for an ``nn.Sequential``, stay positional.
    """

    def __init__(self, model: nn.Module, input_names: Sequence[str], dtype: torch.dtype | None = None) -> None:
        super().__init__()
        self.model = model
        self.input_names = tuple(input_names)
        self.weight_dtype = _dtype_of(model)
        self.dtype = dtype or self.weight_dtype
        self.by_keyword = _needs_keywords(model.forward, self.input_names)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the model's one tensor, or the tuple of all its tensors."""
        output = flatten_output(self.call(*tensors))
        if not self.converts:
            return output
        return self._cast(output, self.dtype) if isinstance(output, Tensor) else self._all(output, self.dtype)

    def call(self, *tensors: Tensor) -> Any:
        """Return the model's output with the structure that the model gave it."""
        if self.converts:
            tensors = self._all(tensors, self.weight_dtype)
        if self.by_keyword:
            return self.model(**dict(zip(self.input_names, tensors, strict=True)))
        return self.model(*tensors)

    def examples(self, specs: Sequence[InputSpec], batch_size: int, *, seed: int = 0) -> tuple[Tensor, ...]:
        """Draw one input per spec on the CPU, floats in ``dtype``."""
        return tuple(example_inputs(specs, batch_size, seed=seed, dtype=self.dtype).values())

    @property
    def converts(self) -> bool:
        """Whether floating-point inputs and outputs have another dtype than the weights."""
        return self.dtype != self.weight_dtype

    def _all(self, tensors: tuple[Tensor, ...], dtype: torch.dtype) -> tuple[Tensor, ...]:
        return tuple(self._cast(tensor, dtype) for tensor in tensors)

    def _cast(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        return tensor.to(dtype) if tensor.is_floating_point() else tensor


def portable_view(model: nn.Module, specs: Sequence[InputSpec], weights: torch.dtype | None = None) -> ExportView:
    """Copy ``model`` for export: on the CPU, in eval mode, without gradients or caches; ``model`` stays as it was.

    Files made from a CPU copy load on machines without the accelerator that the model is on.

    Args:
        model: any model.
        specs: its inputs.
        weights: the dtype of the copy's floating-point weights; None for the model's. Inputs and outputs keep theirs.

    Raises:
        UsageError: there is no spec, or the model does not run on inputs that fit them.
    """
    if not specs:
        raise UsageError(
            expected="the shapes of the model's inputs",
            found="none",
            remedy="give one, for example --input-shape 3x224x224",
        )
    portable = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for module in portable.modules():
        config: Any = getattr(module, "config", None)
        if hasattr(config, "use_cache"):
            config.use_cache = False
    dtype = _dtype_of(portable)
    if weights is not None:
        portable.to(weights)
    view = ExportView(portable, [spec.name for spec in specs], dtype).eval()
    _require_runs(view, specs)
    return view


def _dtype_of(model: nn.Module) -> torch.dtype:
    """Return the dtype of the first floating-point parameter."""
    floats = (parameter.dtype for parameter in model.parameters() if parameter.is_floating_point())
    return next(floats, torch.float32)


def _require_runs(view: ExportView, specs: Sequence[InputSpec]) -> None:
    try:
        with silenced():
            view.call(*view.examples(specs, 1))
    except Exception as error:
        raise UsageError(
            expected=f"a model that takes {', '.join(f'{spec.name}{list(spec.shape)}' for spec in specs)} per example",
            found=one_line(error),
            remedy="give the shape that it takes, for example --input-shape 3x224x224",
        ) from error


def _needs_keywords(forward: Callable[..., Any], names: Sequence[str]) -> bool:
    parameters = inspect.signature(forward).parameters
    if tuple(parameters)[: len(names)] == tuple(names):
        return False
    takes_any = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
    return takes_any or set(names) <= set(parameters)
