"""Packed experts of a mixture of experts, recognised by what their own code computes."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from rewriter.packed_experts import PackedExperts, computed, readings
from rewriter.sites.obstacles import Obstacles
from rewriter.sites.site import ActivationAddress, Miss, Site
from rewriter.tracing import Trace
from rewriter.tracing.hooks import has_hooks
from rewriter.tracing.spellings import Activation, activation_of_module
from rewriter.tracing.trace import reason

_ARGUMENTS = ["hidden_states", "top_k_index", "top_k_weights"]
_TOKENS = 24


def experts_of(trace: Trace, depths: Mapping[fx.Node, int], obstacles: Obstacles) -> Iterator[Site | Miss]:
    """Yield a site for every module inside the model with packed experts, or a miss where its code is not understood.

    What a module computes is found by running its own forward on a copy with small random weights on the CPU; neither
    the model nor the global random state changes, and the weights are not read.
    """
    inner = (module for module in trace.model.modules() if module is not trace.model)
    modules = [module for module in inner if _may_hold_experts(module)]
    called = _called(trace, depths) if modules else {}
    untraced = {failure.path for failure in trace.untraced}
    for module in modules:
        path = trace.names.paths(module)[0]
        name, activation = _activation(module)
        inside = f"{path}.{name}"
        packed = _understood(module, name) if activation is not None else "their activation is no module"
        if isinstance(packed, str) or activation is None:
            if path in untraced:  # the graph shows what is inside other modules
                shown = (inside, str(activation)) if activation is not None else (path, type(module).__name__)
                yield Miss(*shown, f"packed experts that cannot be rewritten: {packed}")
            continue
        obstacle = obstacles.to_own_parameters(module)
        yield Site(
            kind="gated" if packed.gated else "mlp" if obstacle is None else "linear",
            activation=activation,
            address=ActivationAddress(path, 0, inside),
            producer=path,
            consumer=None,
            partner=None,
            channels_dim=-1,
            depth=_depth(called, path),
            hidden=packed if obstacle is None else None,
            not_an_mlp=obstacle,
            activation_parameters=0,
        )


def _may_hold_experts(module: nn.Module) -> bool:
    weights = [weight for weight in module.parameters(recurse=False) if weight.ndim == 3]
    return len(weights) > 1 and len({len(weight) for weight in weights}) == 1 and len(weights[0]) > 1


def _activation(module: nn.Module) -> tuple[str, Activation | None]:
    for name, child in module.named_children():
        if (activation := activation_of_module(child)) is not None:
            return name, activation
    return "", None


def _understood(module: nn.Module, activation: str) -> PackedExperts | str:
    """Give the reading of a module's weights under which its code computes MLPs, else why there is none."""
    others = [name for name, _ in module.named_children() if name != activation]
    others += [name for name, weight in module.named_parameters(recurse=False) if weight.ndim != 3]
    if others:
        return f"they have {others[0]} besides two weights and an activation"
    if "forward" in vars(module):
        return "their forward was replaced on the instance"
    child = module.get_submodule(activation)
    if has_hooks(child) or any(True for _ in child.parameters()):
        return "their activation has hooks or parameters"
    taken = list(inspect.signature(module.forward).parameters)
    if taken not in (_ARGUMENTS, _ARGUMENTS[:1]):
        return f"they take {', '.join(taken)}, not {', '.join(_ARGUMENTS)}"
    why = "they compute neither project(act(expand(x))) nor project(act(gate(x)) * up(x))"
    for packed in readings(module):
        try:
            if _computes(module, activation, packed, routed=taken == _ARGUMENTS):
                return packed
        except Exception as error:  # code that is run on weights of another meaning may raise anything
            why = f"they cannot be run on small weights ({reason(error)})"
    return why


def _computes(module: nn.Module, activation: str, packed: PackedExperts, *, routed: bool) -> bool:
    generator = torch.Generator().manual_seed(0)
    sizes = _small_sizes(packed)
    small = replace(
        packed,
        experts=sizes[packed.experts],
        fan_in=sizes[packed.fan_in],
        hidden=sizes[packed.hidden],
        fan_out=sizes[packed.fan_out],
    )
    copied = _small_copy(module, activation, small, sizes, generator)
    act = copied.get_submodule(activation)

    def between(values: Tensor) -> Tensor:
        if small.half is None:
            return act(values)  # type: ignore[no-any-return]
        halves = values.chunk(2, dim=-1)
        return act(halves[small.half]) * halves[1 - small.half]  # type: ignore[no-any-return]

    # So wide that a gate which is limited meets its limits.
    tokens = 4 * torch.randn(_TOKENS, small.fan_in, generator=generator)
    chosen = (torch.arange(_TOKENS)[:, None] + torch.arange(2)) % small.experts
    shares = torch.rand(chosen.shape, generator=generator)
    inputs = (tokens, chosen, shares) if routed else (tokens,)
    with torch.no_grad():
        expected = computed(copied, small, between, *inputs)
        found = copied(*inputs)
    same = isinstance(found, Tensor) and found.shape == expected.shape
    return same and torch.allclose(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def _small_sizes(packed: PackedExperts) -> dict[int, int]:
    """Map every size of the experts to a small one, equal sizes to equal ones."""
    sizes = {packed.hidden: 4, 2 * packed.hidden: 8}
    sizes.setdefault(packed.fan_in, 12)
    sizes.setdefault(packed.experts, min(packed.experts, 3))  # all of them divisors of the number of tokens
    return sizes


def _small_copy(
    module: nn.Module, activation: str, small: PackedExperts, sizes: Mapping[int, int], generator: torch.Generator
) -> nn.Module:
    values = small.hidden * (1 + small.gated)
    copied = copy.copy(module)
    attributes: dict[str, Any] = {
        name: sizes.get(value, value) for name, value in vars(module).items() if type(value) is int
    }
    attributes["_modules"] = {activation: copy.deepcopy(module.get_submodule(activation))}
    attributes["_parameters"] = {
        name: nn.Parameter(torch.randn(small.shape(name, values=values, hidden=small.hidden), generator=generator))
        for name in (small.expand, small.project)
    }
    if hasattr(getattr(module, "config", None), "_experts_implementation"):
        # transformers' own switch between an expert after the other, which defines the meaning, and fused kernels.
        attributes["config"] = copy.deepcopy(module.config)
        attributes["config"]._experts_implementation = "eager"
    vars(copied).update(attributes)
    return copied.eval()


def _called(trace: Trace, depths: Mapping[fx.Node, int]) -> dict[str, int]:
    called: dict[str, int] = {}
    for traced in trace.graphs:
        for node, call in traced.calls.items():
            for path in filter(None, (call.path, call.owner)):
                called[path] = max(depths[node], called.get(path, 0))
    return called


def _depth(called: Mapping[str, int], path: str) -> int:
    """Give the depth at which a module is called, or the nearest module around it that a graph shows."""
    while path and path not in called:
        path = path.rpartition(".")[0]
    return called.get(path, 0)
