from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from rewriter.tracing import trace
from rewriter.tracing.overrides import overwrites


class DataDependent(nn.Module):
    """Cannot be traced: its way depends on values."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return y if y.sum() > 0 else -y


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before, self.opaque, self.after = nn.Linear(4, 4), DataDependent(), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.opaque(self.before(x)))


def called_paths(graph: fx.Graph) -> list[str]:
    return [str(node.target) for node in graph.nodes if node.op == "call_module"]


def test_an_untraceable_submodule_becomes_a_leaf_between_its_traced_siblings() -> None:
    (root,) = trace(Mixed()).roots
    assert called_paths(root.graph) == ["before", "opaque", "after"]


def test_the_reason_of_an_untraceable_submodule_is_kept() -> None:
    (untraced,) = trace(Mixed()).untraced
    assert (untraced.path, untraced.kind) == ("opaque", "DataDependent")
    assert "control flow" in untraced.reason
    assert "\n" not in untraced.reason


def test_the_children_of_an_untraceable_submodule_are_traced_in_turn() -> None:
    (root,) = trace(Mixed()).roots
    (inner,) = root.opaque["opaque"]
    assert inner.path == "opaque.inner"
    assert called_paths(inner.graph) == ["0", "1"]


def test_an_untraceable_model_is_traced_child_by_child() -> None:
    traced = trace(DataDependent())
    assert [root.path for root in traced.roots] == ["inner"]
    assert [untraced.path for untraced in traced.untraced] == [""]


class ReadsAParameterThenBranches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x) * self.weight
        return y if y.sum() > 0 else -y


class UsesTheSameParameter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.opaque = ReadsAParameterThenBranches()

    def forward(self, x: Tensor) -> Tensor:
        return self.opaque(x) + self.opaque.weight


def test_a_rollback_leaves_no_dangling_nodes() -> None:
    (root,) = trace(UsesTheSameParameter()).roots
    root.graph.lint()
    assert [node.op for node in root.graph.nodes] == [
        "placeholder",
        "call_module",
        "get_attr",
        "call_function",
        "output",
    ]
    assert set(root.calls) <= set(root.graph.nodes)


def test_a_parameter_read_before_a_rollback_can_be_read_again_after_it() -> None:
    model = UsesTheSameParameter()
    (root,) = trace(model).roots
    x = torch.rand(2, 4)
    assert torch.equal(fx.GraphModule(model, root.graph)(x), model(x))


class Optional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: float = 2.0) -> Tensor:
        y = self.fc(x) * scale
        return y if mask is None else y * mask


def test_optional_arguments_keep_their_defaults() -> None:
    model = Optional()
    (root,) = trace(model).roots
    assert [node.name for node in root.graph.nodes if node.op == "placeholder"] == ["x"]
    x = torch.rand(2, 4)
    assert torch.equal(fx.GraphModule(model, root.graph)(x), model(x))


class CallsAStranger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
        self.hidden = [nn.Linear(4, 4)]

    def forward(self, x: Tensor) -> Tensor:
        return self.hidden[0](self.fc(x))


def test_a_call_of_an_unregistered_module_makes_its_caller_a_leaf_with_that_reason() -> None:
    traced = trace(nn.Sequential(CallsAStranger(), nn.ReLU()))
    (untraced,) = traced.untraced
    assert untraced.path == "0"
    assert "not a registered submodule" in untraced.reason
    assert [graph.path for graph in traced.graphs] == ["", "0.fc"]


class Custom(nn.Module):
    """More than an activation, so that its code is traced into."""

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x) + 1


def test_functional_code_of_a_child_belongs_to_the_child() -> None:
    (root,) = trace(nn.Sequential(nn.Linear(4, 4), nn.Sequential(Custom()))).roots
    calls = {node.name: (call.owner, call.index) for node, call in root.calls.items()}
    assert calls["relu"] == ("1.0", 0)


def test_a_whole_transformers_model_is_one_graph_when_it_is_recorded() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    traced = trace(transformers.BertModel(config), {"input_ids": torch.zeros(1, 3, dtype=torch.long)})
    assert traced.untraced == ()
    (root,) = traced.roots
    assert root.path == ""
    assert sum(path.endswith("intermediate.dense") for path in called_paths(root.graph)) == 2


def test_a_graph_the_user_traced_is_taken_as_it_is() -> None:
    module = fx.symbolic_trace(nn.Sequential(nn.Linear(4, 4), Custom()))
    traced = trace(module)
    assert traced.roots[0].graph is module.graph
    assert {call.owner for call in traced.roots[0].calls.values()} == {""}


def test_a_traced_model_can_still_be_copied_and_run() -> None:
    model = Mixed()
    x = torch.rand(2, 4)
    expected = model(x)
    trace(model)
    assert torch.equal(copy.deepcopy(model)(x), expected)


class ChoosesItsForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.forward = self.plain

    def plain(self, x: Tensor) -> Tensor:
        return F.relu(self.fc(x))


def test_a_module_that_chooses_its_forward_is_opened() -> None:
    (root,) = trace(nn.Sequential(ChoosesItsForward())).roots
    assert [node.name for node in root.graph.nodes if node.op.startswith("call")] == ["_0_fc", "relu"]


def test_a_scripted_submodule_is_a_leaf() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(4, 4))
    (root,) = trace(nn.Sequential(scripted, nn.ReLU())).roots
    assert called_paths(root.graph) == ["0", "1"]


class AsksForTheKind(nn.Module):
    """Triples its value if it is a tensor, which the tracer alone sees as none."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return y * 3 if isinstance(y, Tensor) else y


class AsksTorch(AsksForTheKind):
    def forward(self, x: Tensor) -> Tensor:
        y = self.fc(x)
        return y * 3 if torch.is_tensor(y) else y


class AsksOverLines(AsksForTheKind):
    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.fc(x))
        # fmt: off
        return (y * 3 if isinstance(
            y,
            (Tensor, int),
        ) else y)
        # fmt: on


@pytest.mark.parametrize("kind", [AsksForTheKind, AsksTorch, AsksOverLines])
def test_what_a_layer_or_activation_gives_is_a_tensor(kind: type[nn.Module]) -> None:
    model, x = kind(), torch.rand(2, 4)
    (root,) = trace(model).roots
    assert torch.equal(fx.GraphModule(model, root.graph)(x), model(x))


class AsksForItsInput(AsksForTheKind):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * 3 if isinstance(x, Tensor) else self.fc(x)


def test_whether_an_input_is_a_tensor_no_trace_can_tell() -> None:
    (untraced,) = trace(AsksForItsInput()).untraced
    assert "its code asks whether x is a tensor" in untraced.reason


with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    @torch.jit.script
    def scripted(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)


class CallsAScriptedFunction(AsksForTheKind):
    def forward(self, x: Tensor) -> Tensor:
        return scripted(self.fc(x))


def test_compiled_code_gets_no_traced_value_for_a_tensor() -> None:
    """It would read the memory of one, and end the process."""
    traced = trace(CallsAScriptedFunction())
    assert [untraced.path for untraced in traced.untraced] == [""]


OVERWRITING = [
    lambda h: (h.sigmoid_(), h * 2)[1],
    lambda h: (F.relu(h, inplace=True), h + 1)[1],
    lambda h: (h.mul_(2).add_(1), h.sin())[1],
]


class Overwrites(AsksForTheKind):
    def __init__(self, code: Any) -> None:
        super().__init__()
        self.code = code

    def forward(self, x: Tensor) -> Tensor:
        return self.code(self.fc(x))


class Augments(AsksForTheKind):
    def forward(self, x: Tensor) -> Tensor:
        h = self.fc(x)
        alias = h
        h += 1
        h *= 2
        return alias - h.sin() + alias


@pytest.mark.parametrize("model", [*map(Overwrites, OVERWRITING), Augments()])
def test_who_reads_a_value_that_was_overwritten_reads_what_it_is_then(model: nn.Module) -> None:
    (root,) = trace(model).roots
    for node in root.graph.nodes:
        overwritten = [user for user in node.users if overwrites(user) and user.args[0] is node]
        assert not any(user > overwritten[0] for user in node.users if overwritten)
    x = torch.rand(2, 4)
    assert torch.equal(fx.GraphModule(model, root.graph)(x), model(x))


class ReadsItsBuffer(AsksForTheKind):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.rand(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x) * self.scale + torch.tensor(2.0)


def test_buffers_are_known_by_name_and_constants_by_value() -> None:
    (root,) = trace(ReadsItsBuffer()).roots
    buffer, constant = (node for node in root.graph.nodes if node.op == "get_attr")
    assert buffer.target == "scale"
    assert float(constant.meta["value"]) == 2.0
