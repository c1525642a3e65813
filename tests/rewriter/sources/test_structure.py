"""Planning needs no weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import rewriter
from rewriter.errors import UsageError
from rewriter.sources.source import load_source
from rewriter.sources.structure import load_structure
from tests.models.memory import needs_peaks

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("source", ["timm:test_vit", "torchvision:resnet18"])
def test_the_structure_has_no_weights_and_plans_like_the_model(source: str) -> None:
    structure = load_structure(source)
    assert {parameter.device.type for parameter in structure.model.parameters()} == {"meta"}
    assert structure.inputs == load_source(source).inputs
    assert rewriter.plan(structure.model, "ga") == rewriter.plan(load_source(source).model, "ga")


def test_a_source_that_cannot_be_built_is_refused_as_ever() -> None:
    with pytest.raises(UsageError, match="vit_tiny"):
        load_structure("timm:vit_tiny_patch16_22")


def test_a_factory_builds_with_its_values() -> None:
    model = load_structure("py:rewriter.demo.model:digits_vit").model
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}


PLAN_70B = """
import json, torch, transformers, rewriter
from tests.models.memory import peak_kib
from rewriter.sources.structure import load_structure
recipe = rewriter.plan(load_structure("hf:" + {folder!r}).model, "hdfgd")
print(json.dumps([len(recipe.sites), recipe.parameters_before, peak_kib()]))
"""


@needs_peaks
def test_a_model_of_seventy_billion_parameters_is_planned_in_two_gigabytes(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=80, num_attention_heads=64, num_key_value_heads=8
    )
    config.architectures = ["LlamaModel"]
    config.save_pretrained(tmp_path)
    code = PLAN_70B.format(folder=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    sites, parameters, kilobytes = json.loads(done.stdout)
    assert sites == 80
    assert parameters > 68e9
    assert kilobytes < 2 * 1024**2
