"""``rewrite-model diff``: what a rewritten model is against the original."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import rewriter
from rewriter.sources.source import load_source

DIGITS = "py:rewriter.demo.model:digits_vit"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained checkpoint of a model that has no weights of its own."""
    path = tmp_path_factory.mktemp("weights") / "vit.safetensors"
    torch.manual_seed(3)
    save_file(load_source(SMALL).model.state_dict(), path)
    return path


SMALL = "timm:vit_tiny_patch16_224?depth=2&img_size=32&num_classes=4"


def difference(run: Any, *arguments: object) -> Any:
    outcome = run("diff", *arguments, "--json")
    assert outcome.code == 0, outcome.err
    return json.loads(outcome.out)


def test_sites_shapes_parameters_and_errors_against_the_checkpoint(run: Any, tmp_path: Path, trained: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", SMALL, "--checkpoint", trained, "--method", "sa", "-o", out).code == 0
    recipe = rewriter.Recipe.read(out / "recipe.json")
    found = difference(run, out, "--checkpoint", trained)
    assert found["original_weights"] == "recorded"
    assert [site["path"] for site in found["sites"]] == [site.path for site in recipe.sites]
    before, after = load_file(trained), load_file(out / "model.safetensors")
    for site, record in zip(found["sites"], recipe.sites, strict=True):
        assert (site["before"], site["after"]) == (record.activation, record.placement.function)
        assert site["measured_at"] == record.consumer
        assert site["error"] > 0.01
    changes = {change["name"]: change for site in found["sites"] for change in site["tensors"]}
    reshaped = {name for name in before if name in after and before[name].shape != after[name].shape}
    assert {name for name, change in changes.items() if None not in change.values()} == reshaped
    for name, change in changes.items():
        shapes = [list(state[name].shape) if name in state else None for state in (before, after)]
        assert [change["before"], change["after"]] == shapes
    same = {name for name in before if name in after and before[name].shape == after[name].shape}
    equal = {name for name in same if torch.equal(before[name], after[name])}
    assert set(found["names"]["unchanged"]) == equal
    assert set(found["names"]["new"]) == after.keys() - before.keys()
    assert (found["parameters_before"], found["parameters_after"]) == (
        recipe.parameters_before,
        recipe.parameters_after,
    )


def test_the_errors_are_those_of_the_two_models(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", DIGITS, "--method", "ga", "-o", out).code == 0
    found = difference(run, out)
    assert found["original_weights"] == "unrecorded"
    images = torch.randn((4, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    original = load_source(DIGITS).model
    rewritten = rewriter.restore(load_source(DIGITS, trained=False).model, out).eval()
    with torch.no_grad():
        expected, other = original(images).double(), rewritten(images).double()
    assert found["error"] == pytest.approx(float((other - expected).norm() / expected.norm()), rel=1e-5)
    assert found["names"]["changed"] == []
    assert found["source"] == []  # its activations are modules


def test_without_the_original_weights_it_tells_the_structure_and_says_so(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", SMALL, "--method", "sa", "-o", out).code == 0
    found = difference(run, out)
    assert found["original_weights"] == "none"
    assert found["error"] is None
    assert all(site["error"] is None and site["tensors"] for site in found["sites"])
    assert found["names"]["unchanged"] == []
    assert found["names"]["uncompared"]
    assert "structure alone: give them with --checkpoint" in " ".join(run("diff", out).out.split())


def test_another_checkpoint_than_the_recorded_one_is_told_apart(run: Any, tmp_path: Path, trained: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other.safetensors"
    assert run("apply", SMALL, "--checkpoint", trained, "--method", "ga", "-o", out).code == 0
    recipe = json.loads((out / "recipe.json").read_text())
    (recorded,) = recipe["source"]["files"]
    assert recorded["name"] == trained.name
    assert recorded["size"] == trained.stat().st_size
    save_file({name: tensor + 0.1 for name, tensor in load_file(trained).items()}, other)
    found = difference(run, out, "--checkpoint", other)
    assert found["original_weights"] == "other"
    assert found["names"]["unchanged"] == []
    trained_elsewhere = tmp_path / "renamed.safetensors"
    trained_elsewhere.write_bytes(trained.read_bytes())
    assert difference(run, out, "--checkpoint", trained_elsewhere)["original_weights"] == "recorded"


def test_the_table_names_sites_functions_shapes_and_totals(run: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    out = tmp_path / "out"
    assert run("apply", DIGITS, "--method", "sa", "-o", out).code == 0
    outcome = run("diff", out)
    assert outcome.code == 0
    for text in ("blocks.0.mlp.act", "A[gelu/4]", "fc1.weight 192×48 → 304×48", "bit for bit", "whole model"):
        assert text in outcome.out
    assert "@@" not in outcome.out


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A transformers model with a head whose own code calls tanh."""
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 40, "hidden_size": 8, "intermediate_size": 16, "max_position_embeddings": 80}
    config = transformers.RobertaConfig(**sizes, num_hidden_layers=1, num_attention_heads=2)
    folder = tmp_path_factory.mktemp("hf") / "roberta"
    transformers.RobertaForSequenceClassification(config).save_pretrained(folder)
    return f"hf:{folder}"


def test_the_changed_lines_of_source_are_shown_without_paths_of_the_machine(
    run: Any, tmp_path: Path, roberta: str
) -> None:
    from transformers.models.roberta.modeling_roberta import RobertaClassificationHead

    out = tmp_path / "out"
    assert run("apply", roberta, "--method", "ga", "-o", out).code == 0
    (change,) = difference(run, out)["source"]
    lines, first = inspect.getsourcelines(RobertaClassificationHead.forward)
    assert change["class_name"] == "RobertaClassificationHead"
    assert change["module"] == "transformers.models.roberta.modeling_roberta"
    assert (change["method"], change["first_line"], change["paths"]) == ("forward", first, ["classifier"])
    assert change["removed"] == ["        x = torch.tanh(x)"]
    assert change["added"] == ["        x = self.tanh(x)"]
    assert [line.rstrip() for line in lines if "tanh" in line] == change["removed"]
    shown = run("diff", out).out
    title = "RobertaClassificationHead.forward, transformers.models.roberta.modeling_roberta, line"
    assert f"{title} {first}, in 1 module (classifier)" in shown
    assert "\n-        x = torch.tanh(x)\n+        x = self.tanh(x)\n" in shown
    assert "site-packages" not in shown
    assert "\x1b" not in shown


def test_removed_lines_are_red_and_added_ones_green_where_there_are_colours(
    run: Any, tmp_path: Path, roberta: str, monkeypatch: Any
) -> None:
    out = tmp_path / "out"
    assert run("apply", roberta, "--method", "ga", "-o", out).code == 0
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = run("diff", out).out
    assert "\x1b[31m-        x = torch.tanh(x)\x1b[0m" in shown
    assert "\x1b[32m+        x = self.tanh(x)\x1b[0m" in shown


SHARED = """
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 4)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(x)))


def make():
    return nn.Sequential(*(Block() for _ in range(5)))
"""


def test_a_method_of_many_modules_is_shown_once_and_without_the_original_weights(
    run: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    (tmp_path / "shared_blocks.py").write_text(SHARED)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "out"
    source = "py:shared_blocks:make"
    assert run("apply", source, "--input-shape", "4", "--method", "sa", "-o", out).code == 0
    found = difference(run, out)
    assert found["original_weights"] == "none"
    (change,) = found["source"]
    assert change["paths"] == ["0", "1", "2", "3", "4"]
    shown = run("diff", out).out
    assert "Block.forward, shared_blocks, line 11, in 5 modules (0, 1, 2, …)" in shown
    assert shown.count("+        return x + self.fc2(self.gelu(self.fc1(x)))") == 1
    assert str(tmp_path) not in shown


def test_a_missing_folder_and_a_wrong_checkpoint_have_the_exit_codes_of_the_family(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("diff", tmp_path / "absent").code == 2
    assert run("apply", DIGITS, "--method", "ga", "-o", out).code == 0
    save_file({"a": torch.ones(1)}, tmp_path / "a.safetensors")
    assert run("diff", out, "--checkpoint", tmp_path / "a.safetensors").code == 6
    with (out / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, 2)
        weights.write(b"\x7f")
    for command in ("diff", "verify"):
        outcome = run(command, out)
        assert outcome.code == 6
        assert "sha256" in outcome.err
