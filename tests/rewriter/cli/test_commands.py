"""The commands on models that work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import safetensors.torch
import timm
import torch

import rewriter


def test_plan_json_is_one_object_on_stdout_with_sites_misses_and_totals(run: Any, vit: str) -> None:
    outcome = run("plan", vit, "--method", "hdfgd", "--json")
    assert outcome.code == 0
    report = json.loads(outcome.out)
    assert [site["path"] for site in report["sites"]] == ["blocks.0.mlp.act", "blocks.1.mlp.act"]
    assert report["totals"]["resized_after"] <= report["totals"]["resized_before"]


def test_plan_shows_every_site_and_function_in_a_table(run: Any, vit: str) -> None:
    outcome = run("plan", vit, "--method", "sa")
    assert outcome.code == 0
    for text in ("blocks.0.mlp.act", "blocks.1.mlp.act", "A[gelu/4]", "within budget"):
        assert text in outcome.out


def test_plan_shows_why_not(run: Any) -> None:
    outcome = run("plan", "timm:test_efficientnet", "--method", "ga")
    assert outcome.code == 0
    assert "its output gates another value" in " ".join(outcome.out.split())


def test_the_options_reach_the_method(run: Any, vit: str) -> None:
    outcome = run(
        *("plan", vit, "--method", "sa", "--activation", "tanh", "--terms", "2", "--width", "paper", "--alpha", "0.5"),
        *("--set", "combine=structure", "--exclude", "blocks.0*", "--seed", "3", "--multiple", "8", "--json"),
    )
    assert outcome.code == 0, outcome.err
    report = json.loads(outcome.out)
    (site,) = report["sites"]
    assert (site["path"], site["placement"]["function"]) == ("blocks.1.mlp.act", "tanh/2")
    assert site["hidden"] == [768, 192]
    assert [miss["reason"] for miss in report["misses"]] == ["an exclude pattern matches it"]


def test_apply_export_verify_and_restore(run: Any, vit: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    original = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=4).eval()
    safetensors.torch.save_file(original.state_dict(), tmp_path / "vit.safetensors")
    out = tmp_path / "out"
    applied = run("apply", vit, "--checkpoint", tmp_path / "vit.safetensors", "--method", "sa", "-o", out, "--json")
    assert applied.code == 0, applied.err
    assert json.loads(applied.out)["totals"]["sites"] == 2

    exported = run("export", out, "--to", "onnx,torchscript", "--json")
    assert exported.code == 0, exported.err
    assert {one["target"] for one in json.loads(exported.out)["comparisons"]} == {"onnx", "torchscript"}

    verified = run("verify", out, "--json")
    assert verified.code == 0, verified.err
    assert json.loads(verified.out)["exports"].keys() == {"onnx", "torchscript"}

    fresh = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=4)
    restored = rewriter.restore(fresh, out).eval()
    assert torch.equal(restored.blocks[0].attn.qkv.weight, original.blocks[0].attn.qkv.weight)
    images = torch.randn(2, 3, 32, 32)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), restored(images).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("file", "code"), [("model.safetensors", 6), ("model.ts", 4), ("recipe.json", 2)])
def test_verify_finds_a_damaged_file(run: Any, tmp_path: Path, file: str, code: int) -> None:
    out = tmp_path / "out"
    assert run("apply", "py:rewriter.demo.model:digits_vit", "-o", out).code == 0
    assert run("export", out, "--to", "torchscript").code == 0
    damaged = (out / file).read_bytes()
    (out / file).write_bytes(damaged[: len(damaged) // 2])
    outcome = run("verify", out)
    assert outcome.code == code, outcome.err
    assert outcome.err.startswith("error: expected ")


def test_a_failing_export_leaves_the_folder_as_it_was(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", "py:rewriter.demo.model:digits_vit", "-o", out).code == 0
    before = sorted(path.name for path in out.iterdir())
    assert run("export", out, "--to", "torchscript,onx").code == 2
    assert sorted(path.name for path in out.iterdir()) == before


@pytest.mark.parametrize(
    ("what", "name"), [("methods", "hdfgd"), ("functions", "crrelu"), ("decompositions", "tanh/4")]
)
def test_list_shows_what_there_is(run: Any, what: str, name: str) -> None:
    outcome = run("list", what)
    assert outcome.code == 0
    assert name in outcome.out
    rows = json.loads(run("list", what, "--json").out)[what]
    assert name in {next(iter(row.values())) for row in rows}
