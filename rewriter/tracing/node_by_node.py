"""Running a GraphModule node by node, so that every call that its graph makes is known by its node."""

from __future__ import annotations

from typing import Any

from torch import fx

from rewriter.tracing.calls import Run


class NodeByNode(fx.Interpreter):
    """Runs the graph of a GraphModule and tells its run which node is computed.

    Args:
        run: of the GraphModule.
    """

    def __init__(self, run: Run) -> None:
        assert isinstance(run.module, fx.GraphModule)
        super().__init__(run.module)
        self._run = run

    def run_node(self, n: fx.Node) -> Any:
        """Compute one node."""
        self._run.graph_node = n.name
        return super().run_node(n)

    def run_as_called(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph on the arguments of a call.

        Raises:
            TypeError: a required one is missing.
        """
        placeholders = [node for node in self.graph.nodes if node.op == "placeholder"]
        values = list(args)
        for node in placeholders[len(args) :]:
            name = str(node.target)
            if name not in kwargs and not node.args:
                raise TypeError(f"it is called without {name}")
            values.append(kwargs[name] if name in kwargs else node.args[0])
        return self.run(*values)
