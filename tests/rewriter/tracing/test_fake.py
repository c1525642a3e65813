"""A run on fake tensors leaves no tensor without values behind, and clears nothing that others keep."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

import rewriter
from rewriter.tracing.fake import FakeRun

INPUT = torch.zeros(2, 8)
TABLES: dict[int, Tensor] = {}
LISTED: list[Tensor] = []


@functools.lru_cache(maxsize=4)
def positions(length: int, device: torch.device) -> Tensor:
    return torch.arange(length, device=device).float()


@functools.lru_cache(maxsize=4)
def pairs(length: int) -> tuple[Tensor, tuple[Tensor, int]]:
    return torch.zeros(length), (torch.ones(length), length)


@functools.cache
def unbounded(length: int) -> Tensor:
    return torch.zeros(length)


def from_dict(length: int) -> Tensor:
    if length not in TABLES:
        TABLES[length] = torch.zeros(length)
    return TABLES[length]


def from_list(length: int) -> Tensor:
    if not LISTED:
        LISTED.append(torch.zeros(length))
    return LISTED[0]


class Adds(nn.Module):
    """Cannot be traced, since a number of turns is no traced value; adds a table that code keeps."""

    def __init__(self, table: Callable[[int], Any]) -> None:
        super().__init__()
        self.expand, self.activation, self.project = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)
        self.table = table

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(x.shape[0]):
            x = x + self.table(x.shape[1])
        return self.project(self.activation(self.expand(x)))


CACHED: dict[str, Callable[[int], Any]] = {
    "a function": lambda length: positions(length, torch.device("cpu")),
    "a tuple in a tuple": lambda length: pairs(length)[1][0],
    "an unbounded cache": unbounded,
    "a dict of the Python module": from_dict,
    "a list of the Python module": from_list,
}


@pytest.mark.parametrize("kind", CACHED)
def test_a_cached_table_is_no_tensor_without_values_afterwards(kind: str) -> None:
    for cached in (positions, pairs, unbounded):
        cached.cache_clear()
    TABLES.clear()
    LISTED.clear()
    model = Adds(CACHED[kind])
    capture = rewriter.capture(model, INPUT)
    assert [site.kind for site in capture.sites] == ["mlp"]
    assert type(CACHED[kind](8)) is Tensor
    assert model(torch.ones(2, 8)).isfinite().all()


def test_a_cache_that_the_model_does_not_add_to_is_kept() -> None:
    kept, TABLES[7] = positions(7, torch.device("cpu")), torch.ones(7)
    table = TABLES[7]
    rewriter.capture(nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4)), torch.zeros(2, 4))
    assert positions(7, torch.device("cpu")) is kept
    assert TABLES[7] is table


def test_other_entries_of_a_dict_that_the_model_adds_to_are_kept() -> None:
    TABLES.clear()
    TABLES[3] = torch.ones(3)
    table = TABLES[3]
    rewriter.capture(Adds(from_dict), INPUT)
    assert list(TABLES) == [3]
    assert TABLES[3] is table


@functools.lru_cache(maxsize=4)
def of_others(length: int) -> list[int]:
    return [length]


class Keeps(nn.Module):
    """Keeps what it saw in many places."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.seen = nn.Linear(8, 8), list[Tensor]()
        self.register_buffer("table", None)
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.table is None:
            self.table = torch.zeros(8)
        self.seen.append(x)
        self.count += 1
        self.last = x
        self.fc.last = x
        of_others(3)
        return self.fc(x)


def test_a_run_leaves_no_fake_tensor_in_the_model_and_its_weights_in_place() -> None:
    model = Keeps()
    parameters, kept = list(model.parameters()), of_others(3)
    rewriter.capture(model, INPUT)
    assert [id(one) for one in model.parameters()] == [id(one) for one in parameters]
    assert model.table is None
    assert model.seen == []
    assert float(model.count) == 0
    assert not hasattr(model, "last")
    assert not hasattr(model.fc, "last")
    assert of_others(3) is kept
    assert "forward" not in vars(model)


def test_a_run_that_fails_leaves_the_model_as_it_was_too() -> None:
    model = Keeps()
    parameters = list(model.parameters())
    with FakeRun(model, torch.zeros(2, 5)) as run, pytest.raises(RuntimeError, match="reduction dim"):
        run()
    assert [id(one) for one in model.parameters()] == [id(one) for one in parameters]
    assert not any(isinstance(one, FakeTensor) for one in (*model.parameters(), *model.buffers()))
    assert model.seen == []


def test_values_of_weights_and_inputs_are_not_read() -> None:
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
    assert len(rewriter.capture(model, torch.full((2, 8), float("nan"))).sites) == 1


@torch.compile
def compiled(x: Tensor) -> Tensor:
    return F.relu(x).square()


class CompiledAttribute(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = nn.Linear(8, 16), nn.Linear(16, 8), torch.compile(F.gelu)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.act(self.fc1(x)))


class CompiledFunction(CompiledAttribute):
    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(compiled(self.fc1(x)))


@pytest.mark.parametrize(("kind", "name"), [(CompiledAttribute, "gelu"), (CompiledFunction, "squared_relu")])
def test_what_is_compiled_runs_as_its_python_and_is_compiled_as_before_afterwards(
    kind: type[nn.Module], name: str
) -> None:
    stance = torch._dynamo.eval_frame._stance.stance
    (site,) = rewriter.capture(kind(), INPUT).sites
    assert site.activation.name == name
    assert torch._dynamo.eval_frame._stance.stance == stance
