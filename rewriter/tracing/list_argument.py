"""A list of tensors as an argument: plain Python to the code that takes it, reading and writing of items to a graph."""

from __future__ import annotations

import operator
from typing import Any

from torch import fx

_MARK = "handles a list argument"


class ListArgument:
    """Stands for a list argument while code is traced.

    The items are read at once. Items that the code sets are set in the graph too, since the caller holds the same list.

    Args:
        argument: the placeholder of the list.
        length: number of items.

    Attributes:
        items: the list to give to the code.
    """

    def __init__(self, argument: fx.Proxy, length: int) -> None:
        self._argument = argument
        self._read = [self._record(operator.getitem, index) for index in range(length)]
        self.items: list[Any] = list(self._read)

    def write_back(self) -> bool:
        """Set the items in the graph that the code has set; say whether the list is then as the code left it."""
        if len(self.items) != len(self._read):
            return False
        for index, (item, read) in enumerate(zip(self.items, self._read, strict=True)):
            if item is not read:
                self._record(operator.setitem, index, item)
        return True

    def _record(self, function: Any, *arguments: Any) -> fx.Proxy:
        proxy = self._argument.tracer.create_proxy("call_function", function, (self._argument, *arguments), {})
        proxy.node.meta[_MARK] = True
        return proxy


def handles_a_list(node: fx.Node) -> bool:
    """Say whether a node reads or writes an item of a list argument."""
    return _MARK in node.meta
