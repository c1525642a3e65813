"""The code that cannot be traced symbolically, recorded in one run on tensors without values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from rewriter.tracing.caches import emptied_caches
from rewriter.tracing.calls import Signature, signature_of_call
from rewriter.tracing.recorder import Recorder
from rewriter.tracing.spellings import is_known_activation
from rewriter.tracing.splice import spliced
from rewriter.tracing.stand_ins import CannotRunError, StandInRun
from rewriter.tracing.torch_layers import without_fast_path
from rewriter.tracing.trace import Trace, TracedGraph, trace_children, trace_module, untraced_at
from rewriter.tracing.tracer import is_leaf
from rewriter.tracing.untouched import untouched


def record(trace: Trace, example_inputs: Any) -> Trace:
    """Complete a trace by what its untraceable code does on example inputs, between the parts that were traced.

    The model runs twice in eval mode on fake tensors: nothing is computed and no weight is read. Since they have no
    values, code whose way depends on values stops the run; the trace then stays as it is. What is recorded is every
    call, down to the single ATen operation where Python does not see it.

    Args:
        trace: the symbolic traces of a model.
        example_inputs: a tensor, a tuple of arguments or a dict of keyword arguments; only shapes and dtypes are read.
            None leaves the trace as it is.

    Returns:
        A trace with one graph for the whole model, as far as its code could be traced or recorded.
    """
    if example_inputs is None or not trace.untraced:
        return trace
    try:
        with emptied_caches():
            return _recorded(trace, example_inputs)
    except CannotRunError:
        return trace


def _recorded(trace: Trace, example_inputs: Any) -> Trace:
    names = trace.names
    signatures = {path: set(found) for path, found in trace.signatures.items()}
    failures: dict[str, str] = {}
    ways = _ways_of_calling(trace, example_inputs)
    with untouched(trace.model), without_fast_path():
        parts = _traced_parts(trace, ways, failures, signatures)
    untraced = (*trace.untraced, *(untraced_at(names, path, why) for path, why in failures.items()))
    opaque = {id(names.modules[u.path]): u for u in untraced}
    leaves = {id(module) for module in names.modules.values() if is_leaf(module)} | parts.keys()
    recorder = _run(trace, example_inputs, opaque.keys(), leaves)
    once = {id(names.modules[path]): found[0] for path, found in recorder.graphs.items() if len(found) == 1}
    root = once.get(id(trace.model)) if id(trace.model) in opaque else trace.roots[0]
    if root is None:
        return trace
    inside = {id(part) for path, found in recorder.inside.items() if id(names.modules[path]) in once for part in found}
    whole = spliced(root, {**parts, **once})
    with untouched(trace.model), without_fast_path():
        for made in whole.calls.values():
            if made.path is not None and id(made.module) in opaque.keys() - inside:
                whole.opaque.setdefault(made.path, trace_children(names, made.path, {}, signatures))
    return replace(
        trace,
        roots=(whole,),
        untraced=tuple(u for module, u in opaque.items() if module not in inside),
        signatures=signatures,
        recorded=tuple(u for module, u in opaque.items() if module in inside),
    )


def _ways_of_calling(trace: Trace, example_inputs: Any) -> dict[int, set[Signature]]:
    ways: dict[int, set[Signature]] = defaultdict(set)

    def see(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ways[id(module)].add(signature_of_call(module, args, kwargs, traced_as=Tensor))

    opaque = {id(trace.names.modules[u.path]) for u in trace.untraced}
    with StandInRun(trace.model, example_inputs, opaque, lambda *_: lambda: None) as run:
        for module in trace.model.modules():
            module.register_forward_pre_hook(see, with_kwargs=True)
        run()
    return ways


def _run(trace: Trace, example_inputs: Any, opaque: Set[int], leaves: set[int]) -> Recorder:
    recorder = Recorder(
        trace.names, records=lambda module: id(module) in opaque, is_leaf=lambda module: id(module) in leaves
    )
    with StandInRun(trace.model, example_inputs, opaque, recorder.begin) as run:
        recorder.run(trace.model, run, run.weights)
    return recorder


def _traced_parts(
    trace: Trace,
    ways: Mapping[int, set[Signature]],
    untraced: dict[str, str],
    signatures: dict[str, set[Signature]],
) -> dict[int, TracedGraph]:
    """Give the graphs of the outermost modules inside untraced ones that can be traced in the way they are called."""
    known = {id(trace.names.modules[traced.path]): traced for traced in trace.graphs}
    opaque = {id(trace.names.modules[u.path]) for u in trace.untraced}
    parts: dict[int, TracedGraph] = {}

    def visit(path: str) -> None:
        for name, child in trace.names.modules[path].named_children():
            child_path = f"{path}.{name}" if path else name
            if isinstance(child, nn.ModuleList | nn.ModuleDict) or id(child) in opaque:
                visit(child_path)
            elif id(child) not in parts and any(True for _ in child.children()) and not is_known_activation(child):
                graph = _traced_as_called(known.get(id(child)), child_path, ways.get(id(child), set()))
                if graph is None:
                    visit(child_path)
                else:
                    parts[id(child)] = graph

    def _traced_as_called(found: TracedGraph | None, path: str, called: set[Signature]) -> TracedGraph | None:
        if len(called) != 1 or (signature := next(iter(called))).obstacle or signature.lists:
            return None
        if found is not None and _placeholders(found) == set(signature.traced):
            return found
        graphs = trace_module(trace.names, path, untraced, signatures, signature.traced)
        return graphs[0] if len(graphs) == 1 and graphs[0].path == path else None

    for u in trace.untraced:
        visit(u.path)
    return parts


def _placeholders(traced: TracedGraph) -> set[str]:
    return {str(node.target) for node in traced.graph.nodes if node.op == "placeholder"}
