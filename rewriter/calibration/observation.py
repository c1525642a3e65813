"""Observing the values that enter the activations of sites while a model runs on calibration inputs."""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_map_only

from rewriter.calibration.inputs import require_iterable, run_on_calibration
from rewriter.calibration.reservoir import Reservoir
from rewriter.errors import UsageError
from rewriter.evaluation import evaluating
from rewriter.sites import Site
from rewriter.tracing import Trace
from rewriter.tracing.own_forward import activation_input, call_nodes, own_forward


def observe(trace: Trace, sites: Sequence[Site], calibration: Iterable[Any]) -> tuple[Site, ...]:
    """Run the traced model on calibration inputs and give every site a sample of what entered its activation.

    The model runs in eval mode and without gradients; its modes, its hooks and the random state are as before
    afterwards. Where an activation is a call in a module's own code, that code runs twice.

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
    observers = _Observers(trace, sites)
    ran = False
    with ExitStack() as stack, torch.random.fork_rng(devices=[]), evaluating(trace.model):
        observers.attach(stack)
        for inputs in calibration:
            run_on_calibration(trace.model, inputs)
            ran = True
    if not ran:
        raise UsageError(expected="at least one calibration input", found="none", remedy="give some, or leave it out")
    return tuple(_observed(site, observers.reservoirs[site.path].values) for site in sites)


def _observed(site: Site, samples: Tensor) -> Site:
    if not bool(torch.isfinite(samples).all()):
        raise UsageError(
            expected=f"finite values at {site.path}",
            found="NaN or infinity on the calibration inputs",
            remedy="check the inputs and the model's weights",
        )
    return replace(site, samples=samples)


class _Observers:
    def __init__(self, trace: Trace, sites: Sequence[Site]) -> None:
        self._modules = trace.names.modules
        self._trace = trace
        self._replaying = False
        self.reservoirs = {site.path: Reservoir() for site in sites}
        self._called = [(site.path, site.address.module) for site in sites if site.address.module is not None]
        self._coded: dict[str, dict[int, str]] = defaultdict(dict)
        for site in sites:
            if site.address.module is None:
                self._coded[site.address.owner][site.address.call] = site.path

    def attach(self, stack: ExitStack) -> None:
        """Hook the model; the hooks go when the stack closes."""
        for path, module in self._called:
            stack.callback(self._hook(self._modules[module], self._see_call(path)).remove)
        for owner, paths in self._coded.items():
            graph = own_forward(self._trace, owner)
            calls = call_nodes(graph)
            entering = {calls[index]: self.reservoirs[path] for index, path in paths.items()}
            stack.callback(self._hook(self._modules[owner], self._replay(graph, entering)).remove)

    def _hook(self, module: nn.Module, see: Any) -> torch.utils.hooks.RemovableHandle:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not self._replaying:
                see(module, args, kwargs)

        return module.register_forward_pre_hook(hook, with_kwargs=True)

    def _see_call(self, path: str) -> Any:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.reservoirs[path].add(args[0] if args else next(iter(kwargs.values())))

        return see

    def _replay(self, graph: fx.Graph, entering: Mapping[fx.Node, Reservoir]) -> Any:
        def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
            values = [given[str(node.target)] for node in graph.nodes if node.op == "placeholder"]
            self._replaying = True
            try:
                # Copies, since the code may overwrite its inputs, and runs once more after this.
                _Replay(module, graph, entering).run(*tree_map_only(Tensor, torch.clone, values))
            finally:
                self._replaying = False

        return see


class _Replay(fx.Interpreter):
    def __init__(self, module: nn.Module, graph: fx.Graph, entering: Mapping[fx.Node, Reservoir]) -> None:
        super().__init__(module, graph=graph)
        self._entering = entering

    def run_node(self, n: fx.Node) -> Any:
        if n in self._entering:
            self._entering[n].add(self.env[activation_input(n)])
        return super().run_node(n)
