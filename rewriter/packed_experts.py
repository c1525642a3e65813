"""Packed experts: the MLPs of a mixture of experts, with the weights of all in two three-dimensional tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class PackedExperts:
    """How one module stores its experts; each is an MLP, plain or gated, without biases.

    Attributes:
        expand: name of the weight that makes the hidden units, ``[E, k·hidden, fan_in]``, k = 2 for a gate.
        project: name of the weight behind them, ``[E, fan_out, hidden]``.
        transposed: whether both are stored with their last two dimensions the other way round.
        half: of a gate, which half of the expanded values is activated (0 or 1); None for plain experts.
        experts: number of experts, E.
        fan_in: input width of every expert.
        hidden: number of hidden units of every expert.
        fan_out: output width of every expert.
    """

    expand: str
    project: str
    transposed: bool
    half: int | None
    experts: int
    fan_in: int
    hidden: int
    fan_out: int

    @property
    def gated(self) -> bool:
        """Whether the experts are gated."""
        return self.half is not None

    def shape(self, name: str, *, values: int, hidden: int) -> tuple[int, int, int]:
        """Give the shape of one weight for ``values`` expanded values and ``hidden`` units of every expert."""
        rows, columns = (values, self.fan_in) if name == self.expand else (self.fan_out, hidden)
        return (self.experts, columns, rows) if self.transposed else (self.experts, rows, columns)


def readings(module: nn.Module) -> Iterator[PackedExperts]:
    """Yield every way in which the shapes of a module's own two weights could be those of packed experts.

    The input and the output of an expert are taken to be equally wide, since they are in one residual stream.
    """
    weights = dict(module.named_parameters(recurse=False))
    if len(weights) != 2 or any(weight.ndim != 3 for weight in weights.values()):
        return
    for expand, project in (tuple(weights), tuple(reversed(weights))):
        for transposed in (False, True):
            experts, values, fan_in = _shape(weights[expand], transposed)
            others, fan_out, hidden = _shape(weights[project], transposed)
            if experts == others and fan_in == fan_out and values in (hidden, 2 * hidden):
                for half in (0, 1) if values == 2 * hidden else (None,):
                    yield PackedExperts(expand, project, transposed, half, experts, fan_in, hidden, fan_out)


def computed(
    module: nn.Module,
    packed: PackedExperts,
    between: Callable[[Tensor], Tensor],
    hidden_states: Tensor,
    top_k_index: Tensor | None = None,
    top_k_weights: Tensor | None = None,
) -> Tensor:
    """Compute the experts, in one of the two ways in which modules of packed experts are called.

    With ``top_k_index`` and ``top_k_weights``: the weighted sum of the experts that each token is routed to. Without:
    every expert on its own part of the tokens, the first E-th of them for the first one, and so on.

    Args:
        module: holds the weights.
        packed: how it holds them.
        between: maps an expert's expanded values to its hidden units, along the last dimension.
        hidden_states: the tokens, ``[T, fan_in]``.
        top_k_index: the experts of each token, ``[T, K]``; an index of E or more stands for none.
        top_k_weights: their weights, ``[T, K]``.

    Returns:
        ``[T, fan_out]`` in the dtype of the tokens.
    """
    stored = module.get_parameter(packed.expand), module.get_parameter(packed.project)
    expand, project = (weight.mT if packed.transposed else weight for weight in stored)
    if top_k_index is None or top_k_weights is None:
        values = hidden_states.view(len(expand), -1, hidden_states.shape[-1]) @ expand.mT
        return (between(values) @ project.mT).flatten(0, 1)
    total = torch.zeros_like(hidden_states)
    for expert in torch.unique(top_k_index).tolist():
        if expert >= len(expand):
            continue
        token, place = torch.where(top_k_index == expert)
        made = F.linear(between(F.linear(hidden_states[token], expand[expert])), project[expert])
        total.index_add_(0, token, (made * top_k_weights[token, place, None]).to(total.dtype))
    return total


def _shape(weight: Tensor, transposed: bool) -> tuple[int, int, int]:
    experts, rows, columns = weight.shape
    return (experts, columns, rows) if transposed else (experts, rows, columns)
