"""State dicts and pickles of rewritten models, those whose code was edited too."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import rewriter
from rewriter.checkpoints.reading import read_state_dict

METHODS = ["ga", "hdfgd", "sa", "swap"]


class Block(nn.Module):
    """A functional block with things that its code does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)
        self.unused, self.name = nn.Parameter(torch.ones(2)), "block"
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(x)))


def model() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4), Block(), nn.Linear(4, 2))


def rewritten(method: str) -> nn.Module:
    torch.manual_seed(0)
    result = rewriter.rewrite(model(), method).model.eval()
    assert type(result[3]) is not Block
    return result


@pytest.mark.parametrize("method", METHODS)
def test_a_state_dict_goes_out_and_into_another_rewrite_of_the_same_recipe(method: str, tmp_path: Path) -> None:
    first = rewritten(method)
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.add_(torch.rand_like(parameter))
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    second = rewritten(method)
    x = torch.randn(5, 4)
    assert not torch.equal(second(x), first(x))
    second.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    assert torch.equal(second(x), first(x))


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_state_dict_is_read_with_weights_only(method: str, tmp_path: Path) -> None:
    after = rewritten(method)
    torch.save(after.state_dict(), tmp_path / "weights.pt")
    read = torch.load(tmp_path / "weights.pt", weights_only=True)
    assert all(torch.equal(read[key], value) for key, value in after.state_dict().items())


def test_a_state_dict_keeps_what_the_code_does_not_use() -> None:
    keys = rewritten("sa").state_dict().keys()
    assert {"3.unused", "3.steps", "3.fc1.weight", "4.bias"} <= keys


@pytest.mark.parametrize("method", METHODS)
def test_a_pickled_model_computes_the_same_where_pickles_are_trusted(method: str) -> None:
    after, x = rewritten(method), torch.randn(5, 4)
    file = io.BytesIO()
    torch.save(after, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    assert torch.equal(loaded(x), after(x))
    assert loaded.state_dict().keys() == after.state_dict().keys()
    assert loaded[3].name == "block"


def test_a_pickled_model_is_refused_where_only_tensors_are_read(tmp_path: Path) -> None:
    torch.save(rewritten("ga"), tmp_path / "model.pt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "model.pt", weights_only=True)
    with pytest.raises(rewriter.CheckpointError, match="whose pickle wants to run code"):
        read_state_dict(tmp_path / "model.pt")


def test_a_copy_of_a_pickle_of_a_copy_is_still_complete() -> None:
    after, x = rewritten("sa"), torch.randn(5, 4)
    again = copy.deepcopy(pickle.loads(pickle.dumps(copy.deepcopy(after))))
    assert torch.equal(again(x), after(x))
    assert again.state_dict().keys() == after.state_dict().keys()
