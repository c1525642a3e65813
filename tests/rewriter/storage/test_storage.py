from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter
from rewriter.storage import folder

METHODS = ["ga", "hdfgd", "sa", "swap"]


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)
        self.register_buffer("scratch", torch.zeros(4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(F.gelu(self.fc1(x))) + self.scratch


class Language(nn.Module):
    """An embedding tied to the head, MLPs of modules and of functional calls between."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(20, 4), nn.Linear(4, 20, bias=False)
        self.body = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4), Functional(), nn.BatchNorm1d(4))
        self.head.weight = self.embedding.weight

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.body(self.embedding(ids)))


IDS = torch.arange(20)


def saved(method: str, directory: Path) -> rewriter.Result:
    torch.manual_seed(0)
    result = rewriter.rewrite(Language(), method)
    result.model(IDS)
    rewriter.save(result, directory)
    return result


@pytest.mark.parametrize("method", METHODS)
def test_a_restored_model_is_bit_equal(method: str, tmp_path: Path) -> None:
    expected = saved(method, tmp_path / "out").model.eval()
    restored = rewriter.restore(Language(), tmp_path / "out").eval()
    assert torch.equal(restored(IDS), expected(IDS))
    before, after = expected.state_dict(), restored.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("method", METHODS)
def test_the_weights_of_a_trained_rewritten_model_are_restored(method: str, tmp_path: Path) -> None:
    result = rewriter.rewrite(Language(), method)
    with torch.no_grad():
        for parameter in result.model.parameters():
            parameter.add_(torch.rand_like(parameter))
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(Language(), tmp_path / "out").eval()
    assert torch.equal(restored(IDS), result.model.eval()(IDS))


def test_tied_weights_stay_tied(tmp_path: Path) -> None:
    saved("sa", tmp_path / "out")
    restored = rewriter.restore(Language(), tmp_path / "out")
    assert restored.head.weight is restored.embedding.weight


def test_a_channels_last_model_is_saved_and_restored(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)).to(memory_format=torch.channels_last)
    result = rewriter.rewrite(model, "ga")
    rewriter.save(result, tmp_path / "out")
    fresh = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3))
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(rewriter.restore(fresh, tmp_path / "out")(x), result.model(x))


def test_the_folder_holds_weights_recipe_and_report(tmp_path: Path) -> None:
    result = saved("sa", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model.safetensors", "recipe.json", "report.json"}
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["totals"]["parameters_after"] == result.recipe.parameters_after
    written = rewriter.Recipe.read(tmp_path / "out" / "recipe.json")
    assert written.model_copy(update={"result": None}) == result.recipe


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(rewriter.UsageError, match="an output folder that does not exist yet"):
        saved("ga", tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_a_missing_parent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rewriter.UsageError, match="make it first"):
        saved("ga", tmp_path / "no" / "out")


def test_a_failing_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(tensors: dict[str, Tensor], path: Path, metadata: dict[str, str]) -> None:
        path.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(folder, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        saved("ga", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Wider(Language):
    def __init__(self) -> None:
        super().__init__()
        self.body[0], self.body[2] = nn.Linear(4, 17), nn.Linear(17, 4)


@pytest.mark.parametrize("other", [Wider(), nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 4))])
@pytest.mark.parametrize("method", METHODS)
def test_another_architecture_is_refused(method: str, other: nn.Module, tmp_path: Path) -> None:
    saved(method, tmp_path / "out")
    with pytest.raises(rewriter.UsageError, match="apply the recipe to the model it was made for"):
        rewriter.restore(other, tmp_path / "out")


def test_weights_of_another_rewrite_are_refused(tmp_path: Path) -> None:
    saved("sa", tmp_path / "out")
    saved("ga", tmp_path / "other")
    (tmp_path / "other" / "model.safetensors").replace(tmp_path / "out" / "model.safetensors")
    with pytest.raises(rewriter.CheckpointError):
        rewriter.restore(Language(), tmp_path / "out")


def test_a_folder_without_a_recipe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(rewriter.UsageError, match=r"recipe\.json"):
        rewriter.restore(Language(), tmp_path)
