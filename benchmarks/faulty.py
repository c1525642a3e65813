"""Functions that go wrong in one way, made from the right ones."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from torch import fx, nn

from rewriter.layouts import features
from rewriter.sites.operations import Operations

Wrong = Callable[[Any], Callable[..., Any]]


def changed(change: Callable[..., Any]) -> Wrong:
    """Change what a function gives: the change gets its result, then its arguments."""

    def wrong(right: Any) -> Callable[..., Any]:
        def function(*args: Any, **kwargs: Any) -> Any:
            return change(right(*args, **kwargs), *args)

        return function

    return wrong


def instead(function: Callable[..., Any]) -> Wrong:
    """Put another function in the place of the right one."""
    return lambda right: function


def another_layer(operations: Operations, node: fx.Node) -> fx.Node:
    """Give the last other layer of the same shape in a graph."""
    same = [
        other
        for other in node.graph.nodes
        if operations.layout(other) is not None
        and other is not node
        and features(called(operations, other)) == features(called(operations, node))
    ]
    return same[-1] if same else node


def called(operations: Operations, node: fx.Node) -> nn.Module:
    """Give the module that a node calls."""
    module = operations.module(node)
    assert module is not None
    return module


def other_consumer(end: Any, flow: Any, value: fx.Node) -> Any:
    """Take another layer of the shape of a consumer."""
    return end if isinstance(end, str) else replace(end, node=another_layer(flow._operations, end.node))


def other_partner(gate: Any, operations: Operations, *rest: Any) -> Any:
    """Take another layer of the shape of a gate's partner."""
    return gate if isinstance(gate, str) else replace(gate, partner=another_layer(operations, gate.partner))


def flipped(gate: Any, *rest: Any) -> Any:
    """Take the other half."""
    return gate if isinstance(gate, str) else replace(gate, half=1 - gate.half)


def scale_taken_along(right: Any) -> Callable[..., Any]:
    """Give a region without its scale the nodes with it."""

    def named(self: Any, entry: fx.Node, exit: fx.Node, nodes: Any, *, named: bool) -> Any:
        region = right(self, entry, exit, nodes, named=named)
        return replace(region, entry=entry, exit=exit, nodes=nodes)

    return named


def early_exit(region: Any, regions: Any, exit: fx.Node) -> Any:
    """Let a formula end one node early, under its whole name."""
    if region is None or len(region.nodes) < 2:
        return region
    return replace(region, exit=region.nodes[-2], nodes=region.nodes[:-1])


def other_dim(found: Any, *rest: Any) -> Any:
    """Take the hidden units to be in another dimension."""
    return replace(found, site=replace(found.site, channels_dim=-1 if found.site.channels_dim == 1 else 1))


def other_name(operand: Any, reader: Any, read: ast.AST, *rest: Any) -> Any:
    """Take the last ``k`` read before for the operand."""
    loaded = [
        node
        for node in ast.walk(reader._method.tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.lineno < read.lineno  # type: ignore[attr-defined]
    ]
    others = [node for node in loaded if node.id == "k"]
    return others[-1] if isinstance(operand, ast.Name) and others else operand


def first_reader_alone(readers: Any, *rest: Any) -> Any:
    """See the first reader of a value only."""
    return readers[:1]


def backwards(right: Any) -> Callable[..., Any]:
    """Count the turns of a loop of two from behind."""

    def in_turn(*args: Any) -> Any:
        address = right(*args)
        if address is None:
            return None
        return replace(address, code=address.code.model_copy(update={"turn": 1 - address.code.turn}))

    return in_turn


def one_branch_more(feeds: Any, placed: Any) -> Any:
    """Make room for one branch more than there are."""
    return [(path, layer, replace(feed, after=feed.after + (feed.after > 1))) for path, layer, feed in feeds]


def only_ahead(end: Any, *rest: Any) -> Any:
    """Forget the layers on the way."""
    return end if isinstance(end, str) else replace(end, inner=())


def next_producer(result: Any, matcher: Any) -> Any:
    """Let every site be fed by the layer of the next one."""
    sites, misses = result
    others = [site.producer for site in (*sites[1:], *sites[:1])]
    return [replace(site, producer=other) for site, other in zip(sites, others, strict=True)], misses


def next_consumer(result: Any, matcher: Any) -> Any:
    """Let the first site be read by the last one's layer."""
    sites, misses = result
    first, *others = sites
    return [replace(first, consumer=others[-1].consumer), *others], misses


def first_of_all(candidates: Sequence[Any], *rest: Any) -> Any:
    """Give the best way to replace an activation, whomever it serves."""
    return next((candidate.address for candidate in candidates), None)


def one_name(model: nn.Module, names: Any, path: str, new: nn.Module) -> None:
    """Replace a layer under the name of the recipe only."""
    parent, _, name = path.rpartition(".")
    setattr(model.get_submodule(parent), name, new)


def without_bias(layer: Any, *rest: Any) -> Any:
    """Take the bias away."""
    layer.register_parameter("bias", None)
    return layer


def without_branch_bias(layer: Any, *rest: Any) -> Any:
    """Take the bias of the second factor away."""
    without_bias(layer.branch)
    return layer


def other_method(found: Any, reader: Any, *rest: Any) -> Any:
    """Edit the method ``two`` where ``one`` is meant."""
    from rewriter.tracing.source import methods_named

    other = next(methods_named(type(reader._owner), "two"), None) if reader._method.attribute == "one" else None
    return found if other is None else found.model_copy(update={"method": "two", "digest": other.digest})


def owner_of_the_other(right: Any) -> Callable[..., Any]:
    """Give the functions of two calls to each other."""

    def edited_calls(names: Any, functions: Any) -> Any:
        return right(names, dict(zip(functions, [*list(functions.values())[1:], *functions.values()], strict=False)))

    return edited_calls


def interleaved_channels(right: Any) -> Callable[..., Any]:
    """Lay the channels of the branches side by side instead of one branch after the other."""

    def carry_channelwise(old: Any, new: Any, record: Any, axes: Any) -> None:
        right(old, new, record, axes)
        tensors = [*new.parameters(recurse=False), *new.buffers(recurse=False)]
        for tensor in tensors if record.branches > 1 else []:
            if tensor.ndim and len(tensor) == record.after:
                unit = tensor.data.unflatten(0, (record.branches, -1)).transpose(0, 1).flatten(0, 1)
                tensor.data.copy_(unit)

    return carry_channelwise


def same_groups(right: Any) -> Callable[..., Any]:
    """Leave a norm its number of groups."""

    def sizes(layer: Any, before: int, after: int, branches: int) -> Iterator[tuple[str, Any]]:
        yield from ((name, value) for name, value in right(layer, before, after, branches) if name != "num_groups")

    return sizes


def dense_groups(right: Any) -> Callable[..., Any]:
    """Leave a depthwise convolution its number of groups."""

    def sizes(layer: Any, before: int, after: int, branches: int) -> Iterator[tuple[str, Any]]:
        for name, value in right(layer, before, after, branches):
            yield name, value if name != "groups" else before

    return sizes


def reversed_sizes(right: Any) -> Callable[..., Any]:
    """Cut a packed layer as if the halves stood the other way round."""

    def init(self: Any, *args: Any) -> None:
        right(self, *args)
        self._sizes = self._sizes[::-1]

    return init


def first_user_alone(graph: fx.Graph, call: Any) -> None:
    """Replace a node for its first reader only."""
    nodes = {node.name: node for node in graph.nodes}
    old = nodes[call.node]
    with graph.inserting_before(old):
        new = graph.call_module(call.name, (nodes[call.operand],))
    first = next(iter(old.users))
    first.replace_input_with(old, new)


def first_layer_alone(feeds: Any, placed: Any) -> Any:
    """Forget the partner."""
    return feeds[:1]


def approximate(right: Any) -> Callable[..., Any]:
    """Take every GELU for its approximation."""

    def activation_of_module(module: nn.Module) -> Any:
        found = right(module)
        return replace(found, name="gelu_tanh") if found is not None and found.name == "gelu" else found

    return activation_of_module
