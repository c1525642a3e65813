"""Digests of files: of the source in the recipe, of the result beside it, and what checks them."""

from __future__ import annotations

import hashlib
import json
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

import rewriter
from rewriter.errors import CheckpointError
from rewriter.recipe.digests import FileDigest, digest_file, digest_files, require_unchanged
from rewriter.recipe.provenance import record_of_result, software


@given(st.binary(max_size=3000))
def test_a_digest_is_the_size_and_the_sha256_of_the_bytes(content: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        expected = FileDigest(name=Path(file.name).name, size=len(content), sha256=hashlib.sha256(content).hexdigest())
        assert digest_file(Path(file.name)) == expected


def test_the_files_of_a_checkpoint_are_digested_once_each_and_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).write_text(name)
    found = digest_files([tmp_path / "b", tmp_path / "a", tmp_path / "b"])
    assert [one.name for one in found] == ["a", "b"]


@pytest.mark.parametrize("change", [lambda f: f.write_text("other"), lambda f: f.write_text("CHECKPOINT"), Path.unlink])
def test_a_file_that_is_no_longer_the_same_is_refused(tmp_path: Path, change: object) -> None:
    file = tmp_path / "model.safetensors"
    file.write_text("checkpoint")
    record = record_of_result([file])
    require_unchanged(tmp_path, record.files)
    change(file)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        require_unchanged(tmp_path, record.files)


def test_a_record_leads_to_no_file_outside_the_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "secret").write_text("secret")
    found = digest_file(tmp_path / "secret").model_copy(update={"name": "../secret"})
    with pytest.raises(CheckpointError, match="names of files"):
        require_unchanged(tmp_path / "folder", [found])


def model() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4))


def test_restore_refuses_weights_that_were_changed_after_they_were_written(tmp_path: Path) -> None:
    result = rewriter.rewrite(model(), "sa")
    out = rewriter.save(result, tmp_path / "out")
    state = {name: tensor + 1 for name, tensor in result.model.state_dict().items()}
    save_file(state, out / "model.safetensors")
    with pytest.raises(CheckpointError, match="sha256") as refused:
        rewriter.restore(model(), out)
    assert refused.value.exit_code == 6


def test_a_recipe_from_before_digests_is_restored(tmp_path: Path) -> None:
    result = rewriter.rewrite(model(), "sa")
    out = rewriter.save(result, tmp_path / "out")
    recipe = json.loads((out / "recipe.json").read_text())
    del recipe["result"]
    (out / "recipe.json").write_text(json.dumps(recipe))
    restored = rewriter.restore(model(), out)
    assert torch.equal(restored[0].weight, result.model[0].weight)


def test_the_same_rewrite_writes_the_same_bytes_twice(tmp_path: Path) -> None:
    original = model()
    first, second = (rewriter.save(rewriter.rewrite(original, "sa"), tmp_path / name) for name in ("a", "b"))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()


def test_the_versions_of_the_libraries_are_recorded() -> None:
    assert software()["torch"] == torch.__version__.partition("+")[0]
    assert "python" in software()
