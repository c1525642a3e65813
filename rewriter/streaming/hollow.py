"""A model without its values: the structure of a rewrite is found on it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from rewriter.checkpoints.stored import Stored


def hollow(model: nn.Module, given: Mapping[str, Stored]) -> None:
    """Put every parameter and buffer of a model on the ``meta`` device, in place; tied ones stay tied.

    Args:
        model: any module.
        given: what a checkpoint gives to the names of its state dict; they take its dtypes.
    """
    made: dict[int, Tensor] = {}
    old: list[Tensor] = []  # kept, so that no other tensor gets its id
    for path, module in model.named_modules():
        registries: tuple[dict[str, Tensor | None], ...] = (module._parameters, module._buffers)
        for registry in registries:
            for name, tensor in registry.items():
                if tensor is None:
                    continue
                if id(tensor) not in made:
                    stored = given.get(f"{path}.{name}".lstrip("."))
                    dtype = stored.dtype if stored is not None else tensor.dtype
                    empty = torch.empty_like(tensor, dtype=dtype, device="meta", requires_grad=False)
                    is_parameter = isinstance(tensor, nn.Parameter)
                    made[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if is_parameter else empty
                    old.append(tensor)
                registry[name] = made[id(tensor)]
