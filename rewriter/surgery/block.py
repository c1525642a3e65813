"""A graph in the place of a module whose own code had to be rewritten."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import fx, nn


class RewrittenBlock(fx.GraphModule):
    """A GraphModule with everything that the module it stands in for has, whether its graph mentions it or not.

    `fx.GraphModule` drops other attributes, parameters and submodules when it is made and when it is copied; code
    outside the block and the names in the state dict rely on them.
    """

    def __deepcopy__(self, memo: dict[int, Any]) -> RewrittenBlock:
        block = _blank(type(self).__name__)
        memo[id(self)] = block
        own_to_graphs = vars(block).keys() - vars(nn.Module()).keys()
        kept = {name: value for name, value in vars(self).items() if name not in own_to_graphs}
        return _filled(block, copy.deepcopy(kept, memo), copy.deepcopy(self.graph, memo))


def rewritten_block(owner: nn.Module, graph: fx.Graph) -> RewrittenBlock:
    """Make the block that stands in for ``owner`` with ``graph`` as its code; the submodules are shared with it."""
    return _filled(_blank(type(owner).__name__), vars(owner), graph)


def _blank(class_name: str) -> RewrittenBlock:
    return RewrittenBlock(nn.Module(), fx.Graph(), class_name=class_name)


def _filled(block: RewrittenBlock, attributes: Mapping[str, Any], graph: fx.Graph) -> RewrittenBlock:
    vars(block).update(attributes)
    block.graph = graph
    return block
