from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from rewriter.tracing.own_forward import NotRewritableError, call_nodes, own_forward
from torch import Tensor, fx, nn

from rewriter.tracing import trace


class Block(nn.Module):
    """A block with a functional activation; subclasses change one thing about it."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.between(F.gelu(self.fc1(x))))

    def between(self, h: Tensor) -> Tensor:
        return h


class BranchesOnMode(Block):
    def between(self, h: Tensor) -> Tensor:
        return h * 2 if self.training else h


class PassesItsMode(Block):
    def between(self, h: Tensor) -> Tensor:
        return F.dropout(h, 0.5, self.training)


class MakesATensor(Block):
    def between(self, h: Tensor) -> Tensor:
        return h * torch.rand(8)


class KeepsState(Block):
    def between(self, h: Tensor) -> Tensor:
        self.last = h
        return h


class CountsInABuffer(Block):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def between(self, h: Tensor) -> Tensor:
        self.calls.add_(1)
        return h


class Scaled(Block):
    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        return super().forward(x) * scale


class CallsScaled(nn.Module):
    def __init__(self, scale: Any) -> None:
        super().__init__()
        self.block, self.scale = Scaled(), scale

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x, self.scale)


class EntersAutocast(Block):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


class EntersNoGrad(Block):
    def between(self, h: Tensor) -> Tensor:
        with torch.no_grad():
            return h * 2


def graph_of(model: nn.Module, owner: str) -> fx.Graph:
    return own_forward(trace(model), owner)


def test_the_graph_of_a_block_has_its_children_as_leaves_and_computes_the_same() -> None:
    model = nn.Sequential(Block())
    graph = graph_of(model, "0")
    assert [node.op for node in call_nodes(graph)] == ["call_module", "call_function", "call_module"]
    x = torch.rand(2, 4)
    assert torch.equal(fx.GraphModule(model[0], graph)(x), model(x))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (BranchesOnMode, "depends on its train/eval mode"),
        (PassesItsMode, "depends on its train/eval mode"),
        (MakesATensor, "makes tensors or keeps state"),
        (KeepsState, "makes tensors or keeps state"),
        (CountsInABuffer, "makes tensors or keeps state"),
        (EntersAutocast, "enters a context"),
        (EntersNoGrad, "enters a context"),
    ],
)
def test_code_that_a_graph_would_freeze_is_refused(block: type[Block], reason: str, training: bool) -> None:
    with pytest.raises(NotRewritableError, match=reason):
        graph_of(nn.Sequential(block()).train(training), "0")


def test_a_block_with_hooks_is_refused() -> None:
    model = nn.Sequential(Block())
    model[0].register_forward_hook(lambda *_: None)
    with pytest.raises(NotRewritableError, match="has hooks"):
        graph_of(model, "0")


def test_a_forward_set_on_the_object_is_refused() -> None:
    model = nn.Sequential(Block())
    model[0].forward = lambda x: x
    with pytest.raises(NotRewritableError, match="a forward of its own"):
        graph_of(model, "0")


@pytest.mark.parametrize("scale", [2.0, torch.tensor([1.0, 2.0, 3.0, 4.0])], ids=["number", "tensor"])
def test_a_caller_that_passes_a_constant_is_named_in_one_line(scale: Any) -> None:
    model = CallsScaled(scale)
    assert not trace(model).untraced
    with pytest.raises(NotRewritableError, match=r"its caller passes scale=[^\n]*$"):
        graph_of(model, "block")


def test_a_caller_that_passes_the_default_is_no_obstacle() -> None:
    assert call_nodes(graph_of(CallsScaled(1.0), "block"))
