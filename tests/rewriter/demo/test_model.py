"""The bundled model: its weights, and the ways it can be captured and exported."""

import json
from importlib.resources import files

import onnxruntime
import pytest
import torch
from timm.models.vision_transformer import Block as TimmBlock
from torch import fx, nn

from rewriter.demo.digits import load_split
from rewriter.demo.model import WEIGHTS_FILE, Block, DigitsViT, digits_vit
from rewriter.demo.train import accuracy

PACKAGE = files("rewriter.demo")


@pytest.fixture(scope="module")
def model():
    return digits_vit()


@pytest.fixture(scope="module")
def images():
    return load_split().test.images[:3]


@pytest.fixture(scope="module")
def card():
    return json.loads(PACKAGE.joinpath("digits_vit.json").read_text())


def test_the_shipped_weights_reach_the_accuracy_of_their_card(model, card):
    measured = accuracy(model, load_split().test)
    assert measured == pytest.approx(card["test_accuracy"], abs=1e-9)
    assert measured >= 0.97


def test_the_card_counts_the_models_parameters(model, card):
    assert card["parameters"] == sum(parameter.numel() for parameter in model.parameters())


def test_the_weights_file_stays_below_a_megabyte():
    assert len(PACKAGE.joinpath(WEIGHTS_FILE).read_bytes()) < 1_000_000


def test_the_model_comes_in_float32_and_eval_mode(model):
    assert not any(module.training for module in model.modules())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_block_computes_what_timms_block_computes():
    ours = Block(48, 4, 4, dropout=0.0).double().eval()  # in double precision their orders of summing hardly differ
    theirs = TimmBlock(48, 4, mlp_ratio=4, qkv_bias=True, norm_layer=nn.LayerNorm).double().eval()
    names = {"attention": "attn", "projection": "proj"}
    theirs.load_state_dict(
        {".".join(names.get(part, part) for part in key.split(".")): value for key, value in ours.state_dict().items()}
    )
    tokens = torch.randn(2, 16, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours(tokens), theirs(tokens))


def test_every_block_has_its_own_plain_gelu_mlp():
    blocks = DigitsViT(depth=3).blocks
    assert [[type(layer) for layer in block.mlp.children()] for block in blocks] == [
        [nn.Linear, nn.GELU, nn.Dropout, nn.Linear]
    ] * 3
    assert len({id(block.mlp.act) for block in blocks}) == 3


def test_a_symbolic_trace_computes_the_same_at_any_batch(model, images):
    traced = fx.symbolic_trace(model)
    for batch in (images, images[:1]):
        torch.testing.assert_close(traced(batch), model(batch))


@pytest.mark.filterwarnings("ignore:.*deprecated:FutureWarning")
@pytest.mark.parametrize("way", ["script", "trace"])
def test_torchscript_computes_the_same_at_any_batch(model, images, way):
    scripted = torch.jit.script(model) if way == "script" else torch.jit.trace(model, images[:2])
    for batch in (images, images[:1]):
        torch.testing.assert_close(scripted(batch), model(batch))


def test_onnx_runtime_computes_the_same_at_any_batch(model, images, tmp_path):
    path = tmp_path / "model.onnx"
    batch_axis = torch.export.Dim("batch", min=1)
    torch.onnx.export(model, (images,), path, dynamo=True, dynamic_shapes=({0: batch_axis},), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (images, images[:1]):
        (logits,) = session.run(None, {session.get_inputs()[0].name: batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), model(batch), atol=1e-4, rtol=1e-4)
