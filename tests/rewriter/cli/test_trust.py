"""What the commands run of other people's files: nothing, unless told to."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

DIGITS = "py:rewriter.demo.model:digits_vit"
SMALL = "timm:vit_tiny_patch16_224?depth=2&img_size=32&num_classes=4"


class Touches:
    """Unpickles to a call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.fixture
def evil(tmp_path: Path) -> Path:
    model = timm.create_model("vit_tiny_patch16_224", depth=2, img_size=32, num_classes=4)
    torch.save({"model": model.state_dict(), "run": Touches(tmp_path / "made")}, tmp_path / "evil.pt")
    return tmp_path / "evil.pt"


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_pickle_with_code_is_exit_code_6_and_says_what_to_do(
    run: Any, tmp_path: Path, evil: Path, command: str
) -> None:
    output = ["-o", tmp_path / "out"] if command == "apply" else []
    outcome = run(command, SMALL, "--checkpoint", evil, *output)
    assert outcome.code == 6
    assert "--trust-pickle" in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pt"]


def test_a_trusted_pickle_is_read_with_a_warning_on_stderr(run: Any, tmp_path: Path, evil: Path) -> None:
    outcome = run("apply", SMALL, "--checkpoint", evil, "--trust-pickle", "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    assert "warning: --trust-pickle" in outcome.err
    assert json.loads(outcome.out)
    assert (tmp_path / "made").is_dir()


def _with_evil_record(path: Path, made: Path) -> None:
    """Put a pickle with code into the example inputs of an exported program."""
    torch.save((Touches(made),), path.with_suffix(".pickle"))
    old = path.rename(path.with_suffix(".old"))
    with zipfile.ZipFile(old) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            is_pickle = "sample_inputs" in entry.filename
            target.writestr(entry, path.with_suffix(".pickle").read_bytes() if is_pickle else source.read(entry))


def test_verify_opens_no_exported_program_unless_trusted(run: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("apply", DIGITS, "--method", "ga", "-o", out).code == 0
    assert run("export", out, "--to", "pt2").code == 0
    trusted = run("verify", out, "--trust-pickle", "--json")
    assert json.loads(trusted.out)["exports"].keys() == {"pt2"}
    _with_evil_record(out / "model.pt2", tmp_path / "made")
    outcome = run("verify", out, "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["unopened"] == ["pt2"]
    assert not (tmp_path / "made").exists()
    assert "was not opened" in " ".join(run("verify", out).out.split())


@pytest.mark.parametrize("command", ["verify", "diff", "export"])
@pytest.mark.parametrize(
    "source", ["py:evil_in_folder:build", "py:os:abort", "py:sys:exit", "py:evil_package.inner:build"]
)
def test_a_recipe_runs_no_code_that_came_with_it_nor_functions_of_python(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, source: str
) -> None:
    out = tmp_path / "out"
    assert run("apply", DIGITS, "--method", "ga", "-o", out).code == 0
    code = f"import pathlib; pathlib.Path({str(tmp_path / 'made')!r}).mkdir()"
    (out / "evil_in_folder.py").write_text(code)
    (out / "evil_package").mkdir()
    (out / "evil_package" / "__init__.py").write_text(code)
    recipe = json.loads((out / "recipe.json").read_text())
    recipe["source"]["spec"] = source
    (out / "recipe.json").write_text(json.dumps(recipe))
    monkeypatch.chdir(out)
    outcome = run(command, ".")
    assert outcome.code == 6, outcome
    assert not (tmp_path / "made").exists()
