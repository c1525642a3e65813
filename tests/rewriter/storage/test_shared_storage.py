"""Tensors that are parts of others, or have room between their values, go into files and come back bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

import rewriter
from rewriter.streaming import stream


class Views(nn.Module):
    """Buffers and parameters of every layout, a tied weight and a module under two names."""

    def __init__(self) -> None:
        super().__init__()
        whole = torch.arange(24.0).reshape(6, 4)
        self.register_buffer("whole", whole)
        self.register_buffer("row", whole[1])
        self.register_buffer("column", whole[:, 2])
        self.register_buffer("turned", torch.arange(20.0).reshape(4, 5).t())
        self.register_buffer("every_second", torch.arange(16.0)[::2])
        self.register_buffer("expanded", torch.tensor([[0.5]]).expand(3, 4))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("number", torch.tensor(3))
        self.register_buffer("same", self.row)
        self.weight = nn.Parameter(torch.arange(32.0).reshape(8, 4).t() / 32)
        self.mlp = nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))
        self.again = self.mlp
        self.embedding, self.head = nn.Embedding(9, 4), nn.Linear(4, 9, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.again(self.mlp(x)) + self.row + self.expanded.sum(0) + self.turned[0] + self.weight[:, 0]
        return self.head(x) + self.column.sum() + self.every_second.sum() * self.number


def views() -> Views:
    torch.manual_seed(0)
    return Views()


def require_same(restored: nn.Module, expected: nn.Module) -> None:
    before, after = expected.state_dict(), restored.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(after[key], value) and after[key].shape == value.shape for key, value in before.items())
    assert restored.head.weight is restored.embedding.weight
    assert restored.again is restored.mlp
    x = torch.randn(3, 4)
    assert torch.equal(restored(x), expected(x))


@pytest.mark.parametrize("method", ["ga", "sa"])
def test_every_layout_is_saved_and_restored_bit_for_bit(method: str, tmp_path: Path) -> None:
    result = rewriter.rewrite(views(), method)
    kept = {key: value.clone() for key, value in result.model.state_dict().items()}
    rewriter.save(result, tmp_path / "out")
    assert all(torch.equal(result.model.state_dict()[key], value) for key, value in kept.items())
    with torch.no_grad():
        fresh = views()
        for tensor in (fresh.whole, fresh.turned, fresh.weight, fresh.head.weight):
            tensor.fill_(7.0)
    require_same(rewriter.restore(fresh, tmp_path / "out"), result.model)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", ["pt", "distcp"])
@pytest.mark.parametrize("method", ["ga", "sa"])
def test_every_layout_is_streamed_and_restored_bit_for_bit(method: str, suffix: str, tmp_path: Path) -> None:
    model, checkpoint = views(), tmp_path / f"weights.{suffix}"
    # A file that claims more values than it has bytes is refused, so that none can ask for any amount of memory.
    state = {key: value.contiguous() if key == "expanded" else value for key, value in model.state_dict().items()}
    if suffix == "pt":
        torch.save(state, checkpoint)
    else:
        dcp.save(state, checkpoint_id=str(checkpoint), no_dist=True)
    recipe = rewriter.plan(model, method)
    stream(views(), recipe, checkpoint, tmp_path / "out")
    require_same(rewriter.restore(views(), tmp_path / "out"), rewriter.apply(model, recipe).model)
