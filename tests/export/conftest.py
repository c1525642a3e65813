from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import pytest
import torch
from torch import nn

from rewriter.sources.inputs import InputSpec

FEATURES = (InputSpec(name="input", shape=(8,)),)
TEXT = (
    InputSpec(name="input_ids", shape=(12,), dtype="int64", high=100, sequence_axis=1),
    InputSpec(name="attention_mask", shape=(12,), dtype="int64", low=0, high=2, sequence_axis=1),
)

Case = tuple[nn.Module, Sequence[InputSpec]]


def mlp() -> Case:
    return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 4)), FEATURES


def timm_model(name: str) -> Case:
    """One of timm's own miniatures, its classifier random: as timm makes it the logits are almost constant."""
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, num_classes=10)
    nn.init.normal_(model.get_classifier().weight)
    return model, (InputSpec(name="x", shape=(3, 160, 160)),)


def bert() -> Case:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    return transformers.BertModel(config), TEXT


class Heads(nn.Module):
    """Several outputs in a dictionary: a float per class, the class, and a tuple of features beside a None."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 6), nn.Linear(6, 5)

    def forward(self, input: torch.Tensor) -> dict[str, object]:
        features = torch.tanh(self.body(input))
        logits = self.head(features)
        return {"logits": logits, "label": logits.argmax(1), "features": (features, features * 2), "loss": None}


def heads() -> Case:
    return Heads(), FEATURES


CASES: dict[str, Callable[[], Case]] = {
    "mlp": mlp,
    "test_vit": partial(timm_model, "test_vit"),
    "test_resnet": partial(timm_model, "test_resnet"),
    "bert": bert,
    "heads": heads,
}


@pytest.fixture(params=list(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Each model of the zoo with its inputs, from one seed."""
    torch.manual_seed(0)
    return CASES[request.param]()


@pytest.fixture
def small() -> Case:
    """The smallest model, for what does not depend on the model."""
    torch.manual_seed(0)
    return mlp()


@pytest.fixture
def text() -> Case:
    """A transformers model with two inputs and a sequence axis."""
    torch.manual_seed(0)
    return bert()


@pytest.fixture
def resnet() -> Case:
    """A convolutional model as training leaves it: its norms, which exporters fold, all do something."""
    torch.manual_seed(0)
    model, specs = timm_model("test_resnet")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            nn.init.normal_(module.running_mean, std=0.1)
    return model, specs
