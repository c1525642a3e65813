"""A graph in the place of a module whose own code had to be rewritten."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, cast

from torch import fx, nn


class RewrittenBlock(fx.GraphModule):
    """A GraphModule that keeps the attributes, parameters and submodules its graph does not mention.

    `fx.GraphModule` drops them when it is made and again when it is copied; code outside the block and the names in
    the state dict rely on them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> RewrittenBlock:
        block = cast(RewrittenBlock, super().__deepcopy__(memo))
        keep_attributes(block, copy.deepcopy(_kept(self), memo))
        return block


def rewritten_block(owner: nn.Module, graph: fx.Graph) -> RewrittenBlock:
    """Make the block that stands in for ``owner`` with ``graph`` as its code; the submodules are shared with it."""
    block = RewrittenBlock(owner, graph, class_name=type(owner).__name__)
    block.train(owner.training)
    keep_attributes(block, _kept(owner))
    return block


def keep_attributes(block: nn.Module, attributes: Mapping[str, Any]) -> None:
    """Set what ``block`` lacks: plain attributes, and entries of its registries."""
    for name, value in attributes.items():
        if name in ("_modules", "_parameters", "_buffers"):
            registry = block.__dict__[name]
            for key, entry in value.items():
                registry.setdefault(key, entry)
        elif name not in block.__dict__:
            block.__dict__[name] = value


def _kept(module: nn.Module) -> dict[str, Any]:
    own_to_graphs = {"_graph", "_code", "_tracer_cls", "_tracer_extras", "_in_spec", "_out_spec", "meta"}
    return {name: value for name, value in module.__dict__.items() if name not in own_to_graphs}
