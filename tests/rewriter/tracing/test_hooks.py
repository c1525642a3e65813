from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rewriter.tracing import trace
from rewriter.tracing.hooks import untouched


class LeavesMarks(nn.Module):
    """Keeps its input, counts its calls, makes a tensor and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.last: Tensor | None = None
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        self.extra = x
        self.calls += 1
        return self.fc(x) * torch.rand(4) + torch.tensor([1.0, 2.0, 3.0, 4.0])


def attributes_of(module: nn.Module) -> dict[str, object]:
    """What a module holds: containers by the identity of their entries, everything else by its own."""
    return {
        name: {key: id(entry) for key, entry in value.items()} if isinstance(value, dict) else id(value)
        for name, value in vars(module).items()
    }


@pytest.mark.parametrize("training", [True, False])
def test_tracing_leaves_state_dict_attributes_mode_and_hooks_as_they_were(training: bool) -> None:
    model = nn.Sequential(LeavesMarks(), nn.BatchNorm1d(4)).train(training)
    model[0].register_forward_hook(lambda *_: None)
    model[1].eval()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    before = [attributes_of(module) for module in model.modules()]
    trace(model)
    assert [attributes_of(module) for module in model.modules()] == before
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model[0].last is None


class Caches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[str, Tensor] = {"kept": torch.zeros(1)}
        self.seen = [1]

    def forward(self, x: Tensor) -> Tensor:
        self.cache.pop("kept", None)
        self.cache[str(x.device)] = x
        self.seen.append(2)
        return torch.relu(x)


def test_tracing_leaves_nothing_in_lists_and_dicts_that_code_changes() -> None:
    model = Caches()
    cache, seen = model.cache, model.seen
    trace(model)
    assert model.cache is cache
    assert list(cache) == ["kept"]
    assert model.seen is seen
    assert seen == [1]


def test_tracing_does_not_advance_the_random_state() -> None:
    model = LeavesMarks()
    before = torch.get_rng_state()
    trace(model)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_error_inside_still_puts_everything_back() -> None:
    model = LeavesMarks()
    with pytest.raises(RuntimeError, match="size of tensor"), untouched(model):
        model(torch.rand(2, 4)) + torch.rand(3)
    assert float(model.calls) == 0
    assert not hasattr(model, "extra")


def test_tracing_does_not_run_the_hooks_of_the_modules_it_opens() -> None:
    model = nn.Sequential(nn.Sequential(nn.Linear(4, 4)))
    seen: list[object] = []
    model[0].register_forward_hook(lambda *_: seen.append("after"))
    model[0].register_forward_pre_hook(lambda *_: seen.append("before"))
    trace(model)
    assert seen == []
    model(torch.rand(2, 4))
    assert seen == ["before", "after"]
