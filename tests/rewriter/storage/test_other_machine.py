"""A folder restored elsewhere: another process, place, default dtype, device, number of threads and random state."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import rewriter
from rewriter.recipe import LinearRecord
from rewriter.surgery.linears import resized_linear
from rewriter.tracing.names import ModuleNames
from tests.models.resnet_cifar import resnet20

REPOSITORY = Path(__file__).resolve().parents[3]
RESTORING = """
import sys
from pathlib import Path
import torch
from safetensors.torch import save_file
import rewriter
from tests.models.resnet_cifar import resnet20

torch.manual_seed(99)
torch.set_num_threads(2)
model = resnet20()
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
restored = rewriter.restore(model, Path(sys.argv[1])).eval()
torch.set_default_device("cpu")
x = torch.linspace(-1, 1, 2 * 3 * 32 * 32, dtype=torch.float32).reshape(2, 3, 32, 32)
save_file({"output": restored(x).detach(), **{f"w.{k}": v for k, v in restored.state_dict().items()}}, sys.argv[2])
"""


@pytest.mark.parametrize("method", ["sa", "eafo", "ga"])
def test_a_copied_folder_restores_in_a_fresh_process_with_other_defaults(tmp_path: Path, method: str) -> None:
    torch.manual_seed(0)
    result = rewriter.rewrite(resnet20(), method)
    rewriter.save(result, tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere" / "копия 2")
    shutil.rmtree(tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", RESTORING, tmp_path / "elsewhere" / "копия 2", tmp_path / "found.safetensors"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "2", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = load_file(tmp_path / "found.safetensors")
    for name, tensor in result.model.state_dict().items():
        assert found[f"w.{name}"].dtype == tensor.dtype
        assert torch.equal(found[f"w.{name}"], tensor), name
    x = torch.linspace(-1, 1, 2 * 3 * 32 * 32).reshape(2, 3, 32, 32)
    torch.testing.assert_close(found["output"], result.model.eval()(x).detach(), rtol=1e-5, atol=1e-5)


def test_nothing_that_is_written_names_a_place_of_this_machine(tmp_path: Path) -> None:
    out = rewriter.save(rewriter.rewrite(resnet20(), "sa"), tmp_path / "out")
    for file in out.iterdir():
        content = file.read_bytes()
        for place in (tmp_path, Path.home(), REPOSITORY):
            assert str(place).encode() not in content, file.name


def test_random_values_of_new_weights_are_those_of_every_machine() -> None:
    """The bits that torch's generator on the CPU gave when the format was fixed; another version must give them too."""
    original = nn.Sequential(nn.Linear(8, 64), nn.GELU(), nn.Linear(64, 8))
    record = LinearRecord(path="0", before=(8, 64), after=(8, 84), bias=True)
    weight = resized_linear(ModuleNames(original), record, 0).get_parameter("weight").detach()
    assert hashlib.sha256(weight.numpy().tobytes()).hexdigest() == DRAWN


DRAWN = "b47fb84ab67c3e4194541d9dc0cbeec55ee54288582b80847a86287f10b66573"  # torch 2.11 and 2.14
