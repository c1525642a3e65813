"""Observing the values that enter the activations of sites while a model runs on calibration inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from rewriter.calibration.inputs import require_iterable, run_on_calibration
from rewriter.calibration.reservoir import Reservoir
from rewriter.errors import UsageError
from rewriter.evaluation import evaluating
from rewriter.sites import Site
from rewriter.surgery.calls import edited_calls
from rewriter.tracing import Trace


def observe(trace: Trace, sites: Sequence[Site], calibration: Iterable[Any]) -> tuple[Site, ...]:
    """Run the traced model on calibration inputs and give every site a sample of what entered its activation.

    The model runs in eval mode and without gradients; its modes, its hooks and the random state are as before
    afterwards, and so is code that calls activations itself, which is edited meanwhile.

    Args:
        trace: the traced model.
        sites: what to observe.
        calibration: inputs, each a tensor, a tuple of arguments or a dict of keyword arguments; consumed once.

    Returns:
        The sites with `Site.samples` set; empty where the inputs never reach the activation.

    Raises:
        UsageError: there are no inputs, or a single one in no iterable; the model cannot run on them; or they lead to
            values that are not finite.
    """
    require_iterable(calibration)
    reservoirs = {site.path: Reservoir() for site in sites}
    ran = False
    with torch.random.fork_rng(devices=[]), evaluating(trace.model), ExitStack() as stack:
        _attach(trace, sites, reservoirs, stack)
        for inputs in calibration:
            run_on_calibration(trace.model, inputs)
            ran = True
    if not ran:
        raise UsageError(expected="at least one calibration input", found="none", remedy="give some, or leave it out")
    return tuple(_observed(site, reservoirs[site.path].values) for site in sites)


def _observed(site: Site, samples: Tensor) -> Site:
    if not bool(torch.isfinite(samples).all()):
        raise UsageError(
            expected=f"finite values at {site.path}",
            found="NaN or infinity on the calibration inputs",
            remedy="check the inputs and the model's weights",
        )
    return replace(site, samples=samples)


class _Observer(nn.Module):
    """Notes what enters an activation, and computes what the model computes there."""

    def __init__(self, site: Site, reservoir: Reservoir) -> None:
        super().__init__()
        assert site.original is not None
        self._original, self._reservoir = site.original(), reservoir

    def forward(self, x: Tensor) -> Tensor:
        """Compute it for a tensor of any shape."""
        self._reservoir.add(x)
        return self._original(x)  # type: ignore[no-any-return]


def _attach(trace: Trace, sites: Sequence[Site], reservoirs: Mapping[str, Reservoir], stack: ExitStack) -> None:
    """Look into the model while the stack is open: by hooks where modules are called, in the code of others."""
    modules = trace.names.modules
    for site in sites:
        if site.address.module in modules:
            see = _hook(reservoirs[site.path])
            stack.callback(modules[site.address.module].register_forward_pre_hook(see, with_kwargs=True).remove)
    coded = {site.address: _Observer(site, reservoirs[site.path]) for site in sites if site.address.module is None}
    for calls in edited_calls(trace.names, coded):
        stack.callback(calls.carry_out())
    for site in sites:
        owner, _, attribute = str(site.address.module).rpartition(".")
        if site.address.module is not None and site.address.module not in modules:  # a function that is an attribute
            held = vars(modules[owner])
            stack.callback(held.__setitem__, attribute, held[attribute])
            held[attribute] = _Observer(site, reservoirs[site.path])


def _hook(reservoir: Reservoir) -> Any:
    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        reservoir.add(args[0] if args else next(iter(kwargs.values())))

    return see
