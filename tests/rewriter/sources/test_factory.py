import sys
from pathlib import Path

import pytest
import torch

from rewriter.errors import UsageError
from rewriter.sources.source import load_source

REPOSITORY = Path(__file__).parents[3]
RESNETS = {
    "resnet20": REPOSITORY.parent / "shared/data/checkpoints/resnet20-12fca82f.th",
    "resnet56": REPOSITORY.parent / "shared/data/checkpoints/resnet56-4bfd9763.th",
}
MODULE = """
from torch import nn

def linear():
    model = nn.Linear(3, 2)
    model.input_shape = (3,)
    return model

def shapeless():
    return nn.Linear(3, 2)

def number():
    return 3

def broken():
    raise RuntimeError("two\\nlines")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package in the current directory, unknown to the interpreter; its name is new in each test."""
    name = f"zoo_{tmp_path.name}".replace("-", "_")
    (tmp_path / name).mkdir()
    (tmp_path / name / "models.py").write_text(MODULE)
    (tmp_path / name / "faulty.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    return f"{name}.models"


@pytest.mark.parametrize("name", RESNETS)
def test_trained_cifar_resnet_is_loaded_through_its_factory(name: str, monkeypatch: pytest.MonkeyPatch):
    if not RESNETS[name].is_file():
        pytest.skip(f"{RESNETS[name].name} is not part of the repository")
    monkeypatch.chdir(REPOSITORY)
    source = load_source(f"py:tests.models.resnet_cifar:{name}", checkpoint=RESNETS[name])
    saved = torch.load(RESNETS[name], weights_only=True, map_location="cpu")["state_dict"]
    loaded = source.model.state_dict()
    assert all(torch.equal(loaded[key.removeprefix("module.")], tensor) for key, tensor in saved.items())
    assert [spec.shape for spec in source.inputs] == [(3, 32, 32)]


def test_current_directory_is_importable_only_meanwhile(module: str):
    before = list(sys.path)
    source = load_source(f"py:{module}:linear")
    assert [(spec.name, spec.shape) for spec in source.inputs] == [("input", (3,))]
    assert sys.path == before


def test_model_without_input_shape_has_unknown_inputs(module: str):
    assert load_source(f"py:{module}:shapeless").inputs == ()


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        ("linaer", "did you mean 'linear'"),
        ("number", "found a int"),
        ("broken", "RuntimeError: two lines"),
        ("MODULE:x", "package.module:factory"),
    ],
)
def test_bad_factory_is_refused_in_one_line(module: str, factory: str, said: str):
    with pytest.raises(UsageError, match=said) as caught:
        load_source(f"py:{module}:{factory}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("suffix", "said"), [(".missing:f", "ModuleNotFoundError"), (".faulty:f", "ZeroDivisionError"), ("", "factory")]
)
def test_module_that_cannot_be_imported_is_refused(module: str, suffix: str, said: str):
    with pytest.raises(UsageError, match=said):
        load_source(f"py:{module.removesuffix('.models')}{suffix}")
