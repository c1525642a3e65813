"""A graph in the place of a module's own code."""

from __future__ import annotations

import copy
import types
from typing import Any

from torch import fx, nn


class RewrittenBlock(fx.GraphModule):
    """A module that runs a graph in the place of its own ``forward``, and is otherwise what it was.

    Each block's class also inherits from the class that the module had, so that ``isinstance``, its other methods and
    what wraps by class go on working. `fx.GraphModule` alone drops every attribute, parameter and submodule that the
    graph does not mention, when it is made and when it is copied; code outside the block and the names in the state
    dict rely on them.
    """

    def __init_subclass__(cls) -> None:
        """Keep the new class from a user's own ``__init_subclass__``, which may count or refuse it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> RewrittenBlock:
        owner: Any = type(self).__bases__[1]
        block: nn.Module = owner.__new__(owner)
        memo[id(self)] = block
        made_anew = {name for name in vars(_blank()) if name.startswith("_")} - vars(nn.Module()).keys()
        vars(block).update(copy.deepcopy({k: v for k, v in vars(self).items() if k not in made_anew}, memo))
        return become_block(block, copy.deepcopy(self.graph, memo))


def become_block(module: nn.Module, graph: fx.Graph) -> RewrittenBlock:
    """Let a module run ``graph`` in the place of its own ``forward``, and return it: hooks rely on the same object."""
    owner = type(module)
    for name, value in vars(_blank()).items():
        vars(module).setdefault(name, value)
    # A class for each block, since `fx.GraphModule` writes the code of its graph into its class.
    described = {"__module__": owner.__module__, "__doc__": owner.__doc__, "__qualname__": owner.__qualname__}
    module.__class__ = types.new_class(owner.__name__, (RewrittenBlock, owner), exec_body=lambda n: n.update(described))
    assert isinstance(module, RewrittenBlock)
    module.graph = graph
    return module


def _blank() -> fx.GraphModule:
    return fx.GraphModule(nn.Module(), fx.Graph())
