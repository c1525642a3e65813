from pathlib import Path

import pytest
import torch
from torch import nn

from rewriter.errors import CheckpointError, UsageError
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import load_source

SOURCES = {
    "timm:vit_tiny_patch16_224?depth=1": (3, 224, 224),
    "timm:vit_tiny_patch16_224.augreg_in21k?depth=1&img_size=[32,48]&in_chans=1": (1, 32, 48),
    "timm:test_resnet": (3, 160, 160),
    "torchvision:squeezenet1_1": (3, 224, 224),
    "torchvision:inception_v3?init_weights=False": (3, 299, 299),
    "torchvision:vit_b_32?image_size=64": (3, 64, 64),
    "torchvision:lraspp_mobilenet_v3_large": (3, 520, 520),
}


@pytest.mark.parametrize("text", SOURCES)
def test_library_model_is_in_eval_mode_and_runs_on_its_inputs(text: str):
    source = load_source(text)
    assert [spec.shape for spec in source.inputs] == [SOURCES[text]]
    assert not any(module.training for module in source.model.modules())
    with torch.inference_mode():
        source.model(**example_inputs(source.inputs))


@pytest.mark.parametrize("text", ["torchvision:r3d_18", "torchvision:ssdlite320_mobilenet_v3_large"])
def test_model_that_takes_no_single_image_has_unknown_inputs(text: str):
    assert load_source(text).inputs == ()


def test_input_shape_replaces_the_models_own():
    assert load_source("timm:test_resnet", input_shape=(3, 64, 32)).inputs[0].shape == (3, 64, 32)


def test_input_shape_stands_in_for_an_unknown_one():
    source = load_source("torchvision:r3d_18", input_shape=(3, 4, 32, 32))
    assert [spec.shape for spec in source.inputs] == [(3, 4, 32, 32)]
    with torch.inference_mode():
        assert source.model(**example_inputs(source.inputs)).shape == (1, 400)


def test_input_shape_of_another_rank_is_refused():
    with pytest.raises(UsageError, match="such as 3x160x160"):
        load_source("timm:test_resnet", input_shape=(160,))


def test_normal_form_builds_the_same_architecture():
    source = load_source("timm:test_vit?num_classes=7")
    again = load_source(source.spec)
    shapes = [{key: value.shape for key, value in each.model.state_dict().items()} for each in (source, again)]
    assert shapes[0] == shapes[1]


def test_checkpoint_replaces_the_weights(tmp_path: Path):
    trained = load_source("timm:test_vit?num_classes=7")
    path = tmp_path / "model.pth"
    torch.save({"state_dict": nn.DataParallel(trained.model).state_dict()}, path)
    source = load_source(trained.spec, checkpoint=path)
    batch = example_inputs(source.inputs, 2)
    with torch.inference_mode():
        assert torch.equal(source.model(**batch), trained.model(**batch))
    with pytest.raises(CheckpointError, match=r"of another shape \(head.bias"):
        load_source("timm:test_vit", checkpoint=path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timm:resnet1", "did you mean 'resnet18'"),
        ("timm:resnet18.a1_in1", "Invalid pretrained tag"),
        ("timm:resnet18?classes=3", "classes"),
        ("timm:resnet18?checkpoint_path=evil.pt", "give the file to --checkpoint"),
        ("torchvision:resnet19", "did you mean 'resnet18'"),
        ("torchvision:resnet18?classes=3", "classes"),
        ("torchvision:resnet18?weights=BEST", "BEST"),
    ],
)
def test_unknown_name_or_refused_option_is_one_line(text: str, said: str):
    with pytest.raises(UsageError, match=said) as caught:
        load_source(text)
    assert "\n" not in str(caught.value)


def test_building_does_not_touch_the_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("tried to download")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    load_source("torchvision:fcn_resnet50")
