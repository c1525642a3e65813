"""Gradient checkpointing: looked through, kept, and as good as without it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.utils.checkpoint import checkpoint

import rewriter

timm = pytest.importorskip("timm")


class Mlp(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)
        self.runs = 0

    def forward(self, x: Tensor) -> Tensor:
        self.runs += 1
        return self.fc2(self.act(self.fc1(x)))


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool) -> None:
        super().__init__()
        self.block, self.head, self.reentrant = Mlp(), nn.Linear(4, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpoint(self.block, x, use_reentrant=self.reentrant))


@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("method", ["ga", "sa"])
def test_a_checkpointed_block_is_rewritten_and_still_runs_twice(method: str, reentrant: bool) -> None:
    result = rewriter.rewrite(Checkpointed(reentrant=reentrant), method)
    assert [site.path for site in result.recipe.sites] == ["block.act"]
    assert result.model.block.runs == 0
    result.model(torch.randn(3, 4, requires_grad=True)).sum().backward()
    assert result.model.block.runs == 2
    assert all(p.grad is not None for p in result.model.parameters())


def test_a_checkpoint_wrapper_is_looked_through() -> None:
    model = nn.Sequential(checkpoint_wrapper(Mlp()), nn.Linear(4, 4))
    result = rewriter.rewrite(model, "sa")
    assert [site.path for site in result.recipe.sites] == ["0._checkpoint_wrapped_module.act"]
    assert type(result.model[0]) is type(model[0])
    result.model(torch.randn(3, 4)).sum().backward()
    assert all(p.grad is not None for p in result.model.parameters())


def test_a_timm_model_with_checkpointing_on_has_the_sites_it_has_without() -> None:
    plain, checkpointed = timm.create_model("test_vit"), timm.create_model("test_vit")
    checkpointed.set_grad_checkpointing(True)
    expected = [site.path for site in rewriter.plan(plain, "sa").sites]
    assert [site.path for site in rewriter.plan(checkpointed, "sa").sites] == expected
