from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn
from torch.fx.passes.infra.pass_base import PassResult
from torch.fx.passes.infra.pass_manager import PassManager

import rewriter


class Mixed(nn.Module):
    """A functional activation, one activation module called twice, and an activation module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(6))
        self.shared, self.own = nn.Tanh(), nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.layers[0](x))
        for i in (1, 2):
            x = self.shared(self.layers[i](x))
        x = self.layers[3](x)
        x = x * torch.sigmoid(x)
        return self.layers[5](self.own(self.layers[4](x)))


def called(graph_module: fx.GraphModule) -> list[nn.Module]:
    return [graph_module.get_submodule(str(n.target)) for n in graph_module.graph.nodes if n.op == "call_module"]


def test_a_pass_edits_the_users_graph_into_call_module_nodes() -> None:
    torch.manual_seed(0)
    model = Mixed()
    graph_module = fx.symbolic_trace(model)
    result = rewriter.graph_pass("swap", activation="mish")(graph_module)
    assert result.modified
    assert result.graph_module is graph_module
    graph_module.graph.lint()
    assert [type(module) for module in called(graph_module)] == [nn.Linear, nn.Mish] * 5 + [nn.Linear]
    assert [node for node in graph_module.graph.nodes if node.op in ("call_function", "call_method")] == []
    x = torch.randn(3, 4)
    expected = x
    for layer in model.layers[:5]:
        expected = F.mish(layer(expected))
    torch.testing.assert_close(graph_module(x), model.layers[5](expected))


def test_the_model_that_was_traced_is_not_changed() -> None:
    model, x = Mixed(), torch.randn(3, 4)
    expected = model(x)
    modules = list(model.named_modules())
    rewriter.graph_pass("sa", activation="gelu")(fx.symbolic_trace(model))
    assert list(model.named_modules()) == modules
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("method", ["ga", "hdfgd", "sa"])
def test_a_pass_composes_with_torchs_pass_manager(method: str) -> None:
    def add_one(graph_module: fx.GraphModule) -> PassResult:
        output = graph_module.graph.output_node()
        with graph_module.graph.inserting_before(output):
            output.args = (graph_module.graph.call_function(torch.add, (output.args[0], 1)),)
        graph_module.recompile()
        return PassResult(graph_module, True)

    manager = PassManager(
        passes=[rewriter.graph_pass(method, activation="gelu"), add_one], run_checks_after_each_pass=True
    )
    manager.add_checks(lambda graph_module: graph_module.graph.lint())
    alone = rewriter.graph_pass(method, activation="gelu")(fx.symbolic_trace(model := Mixed())).graph_module
    result = manager(fx.symbolic_trace(model))
    assert result.modified
    x = torch.randn(3, 4)
    torch.testing.assert_close(result.graph_module(x), alone(x) + 1)


def test_a_graph_without_a_site_is_returned_unmodified() -> None:
    graph_module = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4)))
    code = graph_module.code
    result = rewriter.graph_pass("ga")(graph_module)
    assert (result.modified, result.graph_module.code) == (False, code)


def test_passes_one_after_the_other_edit_the_same_graph() -> None:
    graph_module = fx.symbolic_trace(Mixed())
    rewriter.graph_pass("swap", activation="mish")(graph_module)
    assert not rewriter.graph_pass("swap", activation="mish")(graph_module).modified
    assert rewriter.graph_pass("swap", activation="silu")(graph_module).modified
    assert rewriter.graph_pass("hdfgd")(graph_module).modified
    assert graph_module(torch.randn(3, 4)).shape == (3, 4)


def test_rewrite_takes_a_graph_and_leaves_it_alone() -> None:
    graph_module, x = fx.symbolic_trace(Mixed()), torch.randn(3, 4)
    code, expected = graph_module.code, graph_module(x)
    result = rewriter.rewrite(graph_module, "swap", activation="mish")
    assert isinstance(result.model, fx.GraphModule)
    assert (graph_module.code, torch.equal(graph_module(x), expected)) == (code, True)
    assert sum(isinstance(module, nn.Mish) for module in called(result.model)) == 5


def test_a_module_inside_a_model_may_be_a_graph() -> None:
    model = nn.Sequential(fx.symbolic_trace(Mixed()), nn.Linear(4, 2))
    result = rewriter.rewrite(model, "swap", activation="mish")
    assert sum(isinstance(module, nn.Mish) for module in called(result.model[0])) == 5
    assert isinstance(model[0].own, nn.GELU)


def test_an_unknown_option_is_refused_when_the_pass_runs() -> None:
    with pytest.raises(rewriter.UsageError, match="did you mean 'alpha'"):
        rewriter.graph_pass("ga", alfa=1.0)(fx.symbolic_trace(Mixed()))
