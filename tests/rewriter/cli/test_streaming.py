"""``apply --stream`` and what opens its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from rewriter.cli.streaming import parse_size
from rewriter.errors import UsageError


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A sharded checkpoint of the small ViT that the tests of the commands use."""
    torch.manual_seed(0)
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    state = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=4).state_dict()
    placed = {}
    for number in range(2):
        part = {key: state[key] for key in sorted(state)[number::2]}
        save_file(part, folder / f"{number}.safetensors")
        placed |= dict.fromkeys(part, f"{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def test_streamed_result_is_verified_exported_and_loaded_like_a_small_one(
    run: Any, vit: str, checkpoint: Path, tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    options = ("--checkpoint", checkpoint, "--method", "sa", "--init", "warm", "--json")
    streamed = run("apply", vit, *options, "-o", out, "--stream", "--shard-size", "500KB")
    assert streamed.code == 0, streamed.err
    assert len(list(out.glob("model-*.safetensors"))) > 3
    applied = run("apply", vit, *options, "-o", whole)
    assert applied.code == 0, applied.err
    assert json.loads(streamed.out)["sites"] == json.loads(applied.out)["sites"]
    verified = run("verify", out, "--json")
    assert verified.code == 0, verified.err
    exported = run("export", out, "--to", "torchscript", "--json")
    assert exported.code == 0, exported.err


def test_damaged_shard_of_a_result_is_found(run: Any, vit: str, checkpoint: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", vit, "--checkpoint", checkpoint, "-o", out, "--stream").code == 0
    (shard,) = out.glob("model-*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-8])
    assert run("verify", out).code == 6


def test_damaged_checkpoint_ends_with_code_6_and_one_line(run: Any, vit: str, checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / "1.safetensors").unlink()
    outcome = run("apply", vit, "--checkpoint", checkpoint, "-o", tmp_path / "out", "--stream")
    assert outcome.code == 6
    assert [line for line in outcome.err.splitlines() if "error" in line] == outcome.err.strip().splitlines()[-1:]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--workers", "2"], "no --stream"),
        (["--shard-size", "1GB"], "no --stream"),
        (["--stream"], "no --checkpoint"),
        (["--stream", "--trust-pickle"], "both"),
        (["--stream", "--shard-size", "big"], "'big'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    run: Any, vit: str, tmp_path: Path, arguments: list[str], said: str
) -> None:
    outcome = run("apply", vit, "-o", tmp_path / "out", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "size"),
    [("5GB", 5_000_000_000), ("1.5 GiB", 3 << 29), ("4096", 4096), ("200kb", 200_000), ("10B", 10), ("2M", 2_000_000)],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "1e9", "5 GB extra", "inf"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)
