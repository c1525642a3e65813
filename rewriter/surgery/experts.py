"""Packed experts with resized weights: an instance of their class whose gate takes branches."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from rewriter.errors import UsageError
from rewriter.packed_experts import PackedExperts, computed, readings
from rewriter.recipe import ExpertsRecord
from rewriter.surgery.initial_values import draw
from rewriter.tracing.names import ModuleNames

# transformers' kernels that leave the gate to the module's _apply_gate; others have the original one built in.
_CALLING_THE_GATE = ("batched_mm", "grouped_mm")
_GROUPED_ALIGNMENT = 16  # bytes, of the rows of what grouped_mm multiplies


class ResizedExperts(nn.Module):
    """Mixed into a class of packed experts: the activation takes n branches.

    An expert expands ``[…, fan_in]`` to n branches of h values each, gated ones to as many values of the other factor
    besides. The activation's module maps the branches to h. Where transformers' configuration asks for one of its
    kernels that call the module for what stands between the two products, that kernel runs; else the experts are
    computed here.

    Attributes:
        packed_experts: how the weights are stored.
        gate_branches: n.
        activation_name: name of the activation's module.
    """

    packed_experts: PackedExperts
    gate_branches: int
    activation_name: str

    def forward(
        self, hidden_states: Tensor, top_k_index: Tensor | None = None, top_k_weights: Tensor | None = None
    ) -> Tensor:
        """Map tokens ``[T, fan_in]``, with experts and weights ``[T, K]`` if they are routed, to ``[T, fan_out]``."""
        if self._kernel_fits():
            result: Tensor = super().forward(hidden_states, top_k_index, top_k_weights)
            return result
        between = self._apply_gate if self.packed_experts.gated else self.get_submodule(self.activation_name)
        return computed(self, self.packed_experts, between, hidden_states, top_k_index, top_k_weights)

    def __reduce__(self) -> tuple[Any, ...]:
        return _empty, (type(self).__bases__[1],), vars(self)

    def _apply_gate(self, gate_up: Tensor) -> Tensor:
        hidden = gate_up.shape[-1] // (self.gate_branches + 1)
        sizes = [self.gate_branches * hidden, hidden]
        if self.packed_experts.half == 0:
            gate, up = torch.split(gate_up, sizes, dim=-1)
        else:
            up, gate = torch.split(gate_up, sizes[::-1], dim=-1)
        gated: Tensor = self.get_submodule(self.activation_name)(gate) * up
        return gated

    def _kernel_fits(self) -> bool:
        kernel = getattr(getattr(self, "config", None), "_experts_implementation", None)
        project = self.get_parameter(self.packed_experts.project)
        hidden = project.shape[1 if self.packed_experts.transposed else 2]
        aligned = hidden * project.element_size() % _GROUPED_ALIGNMENT == 0
        return kernel in _CALLING_THE_GATE and (kernel != "grouped_mm" or aligned)


def resized_experts(names: ModuleNames, record: ExpertsRecord, activation: str, seed: int) -> nn.Module:
    """Make the experts that a recipe puts at a path, with everything but the shapes and the values kept.

    Args:
        names: the names of the model's modules.
        record: what to make.
        activation: name of the activation's module inside.
        seed: seed of the new weights.

    Raises:
        UsageError: the model has no such experts: the recipe was made for another one.
    """
    old = names.modules.get(record.path)
    wanted = (record.expand, record.project, record.transposed, record.half)
    known = readings(old) if old is not None else ()
    packed = next((p for p in known if (p.expand, p.project, p.transposed, p.half) == wanted), None)
    sizes = (record.experts, record.fan_in, record.hidden[0], record.fan_out)
    if old is None or packed is None or (packed.experts, packed.fan_in, packed.hidden, packed.fan_out) != sizes:
        raise UsageError(
            expected="{} packed experts {}→{}→{} at {}".format(*sizes, record.path),
            found=type(old).__name__ if old is not None else "nothing",
            remedy="apply the recipe to the model it was made for",
        )
    width = record.hidden[1]
    new = _instance(old)
    new.packed_experts = replace(packed, hidden=width)
    new.gate_branches, new.activation_name = record.branches, activation
    for name, fan_in in ((packed.expand, packed.fan_in), (packed.project, width)):
        before = old.get_parameter(name)
        shape = packed.shape(name, values=width * (record.branches + packed.gated), hidden=width)
        weight = nn.Parameter(torch.empty(shape, dtype=before.dtype, device=before.device), before.requires_grad)
        if weight.device.type != "meta":
            draw([weight], fan_in, seed=seed, path=f"{record.path}.{name}")
        new.register_parameter(name, weight)
    return new


def _instance(old: nn.Module) -> ResizedExperts:
    new = _empty(type(old))
    attributes = dict(vars(old))
    for registry in ("_parameters", "_buffers", "_modules"):
        attributes[registry] = dict(attributes[registry])
    vars(new).update(attributes)
    return new


def _empty(kind: Any) -> ResizedExperts:
    resized = _resized_class(kind)
    return resized.__new__(resized)


@cache
def _resized_class(kind: Any) -> type[ResizedExperts]:
    return type(kind.__name__, (ResizedExperts, kind), {"__module__": kind.__module__, "__doc__": kind.__doc__})
