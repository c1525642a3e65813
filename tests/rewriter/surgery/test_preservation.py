from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter

METHODS = ["ga", "hdfgd", "sa", "swap"]


class Functional(nn.Module):
    """An MLP block with a functional activation and things that its code does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.drop, self.fc2 = nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 4)
        self.unused = nn.Parameter(torch.ones(2))
        self.spare = nn.Linear(4, 2)
        self.register_buffer("scratch", torch.zeros(1), persistent=False)
        self.width, self.scale = 4, torch.tensor(2.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop(self.fc2(F.gelu(self.fc1(x)))) * self.scale + self.scratch


class Net(nn.Module):
    """Two blocks of modules, two of functional calls, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.num_classes = 3
        self.stem = nn.Conv2d(3, 4, 3, bias=False)
        self.blocks = nn.Sequential(self.block(), Functional(), self.block(), Functional())
        self.head = nn.Linear(4, 3)

    @staticmethod
    def block() -> nn.Sequential:
        return nn.Sequential(nn.Linear(4, 16), nn.GELU(), nn.Dropout(0.5), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x).mean((2, 3))))


def image() -> Tensor:
    return torch.rand(2, 3, 6, 6)


@pytest.mark.parametrize("method", METHODS)
def test_class_and_attributes_of_the_model_are_kept(method: str) -> None:
    model = Net()
    result = rewriter.rewrite(model, method)
    assert type(result.model) is Net
    assert result.model.num_classes == 3
    assert result.model is not model


@pytest.mark.parametrize("method", METHODS)
def test_state_dict_entries_outside_the_sites_are_unchanged_bit_for_bit(method: str) -> None:
    model = Net()
    result = rewriter.rewrite(model, method)
    changed = {f"{linear.path}.{name}" for linear in result.recipe.linears for name in ("weight", "bias")}
    before, after = model.state_dict(), result.model.state_dict()
    assert before.keys() <= after.keys()
    assert all(torch.equal(after[key], before[key]) for key in before.keys() - changed)
    new = {key.rpartition(".")[0] for key in after.keys() - before.keys()}
    assert all(path.endswith(".gelu") or path.startswith(("blocks.0.1", "blocks.2.1")) for path in new)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("method", METHODS)
def test_every_parameter_keeps_the_models_dtype(method: str, dtype: torch.dtype) -> None:
    result = rewriter.rewrite(Net().to(dtype), method)
    assert {parameter.dtype for parameter in result.model.parameters()} == {dtype}
    output = result.model(image().to(dtype))
    assert output.dtype == dtype
    assert torch.isfinite(output).all()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_on_the_meta_device_stays_there(method: str) -> None:
    with torch.device("meta"):
        model = Net()
    result = rewriter.rewrite(model, method)
    assert {tensor.device.type for tensor in result.model.state_dict().values()} == {"meta"}


def test_frozen_linears_stay_frozen() -> None:
    model = Net()
    model.blocks[0][0].weight.requires_grad_(False)
    model.blocks[1].requires_grad_(False)
    blocks = rewriter.rewrite(model, "hdfgd").model.blocks
    assert [p.requires_grad for p in blocks[0][0].parameters()] == [False, True]
    assert not blocks[1].fc1.weight.requires_grad
    assert blocks[3].fc1.weight.requires_grad


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_every_kept_module_is_kept(method: str, training: bool) -> None:
    model = Net().train(training)
    model.blocks[1].drop.train(not training)
    model.blocks[2][2].train(not training)
    result = rewriter.rewrite(model, method)
    after = dict(result.model.named_modules())
    assert all(after[path].training == module.training for path, module in model.named_modules() if path in after)


@pytest.mark.parametrize("method", METHODS)
def test_dropout_still_reacts_to_train_and_eval(method: str) -> None:
    model, x = rewriter.rewrite(Net().eval(), method).model, image()
    torch.testing.assert_close(model(x), model(x))
    assert not torch.equal(model.train()(x), model(x))


def test_stochastic_depth_still_reacts_to_train_and_eval() -> None:
    timm = pytest.importorskip("timm")
    vit = timm.create_model("test_vit", drop_path_rate=0.9, num_classes=5).eval()
    nn.init.normal_(vit.head.weight)
    model, x = rewriter.rewrite(vit, "sa").model, torch.rand(4, 3, 160, 160)
    assert type(model) is timm.models.VisionTransformer
    assert model.num_classes == 5
    with torch.no_grad():
        torch.testing.assert_close(model(x), model(x))
        assert not torch.equal(model.train()(x), model(x))


def test_the_memory_format_of_untouched_weights_is_kept() -> None:
    model = Net().to(memory_format=torch.channels_last)
    weight = rewriter.rewrite(model, "hdfgd").model.stem.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not weight.is_contiguous()


def test_hooks_of_kept_modules_still_run() -> None:
    model = Net()
    seen: list[Any] = []
    model.head.register_forward_hook(lambda *_: seen.append("head"))
    model.blocks[0].register_forward_hook(lambda *_: seen.append("block"))
    rewriter.rewrite(model, "hdfgd").model(image())
    assert seen == ["block", "head"]


@pytest.mark.parametrize("method", METHODS)
def test_every_new_parameter_gets_a_gradient(method: str) -> None:
    original = Net().eval()
    model = rewriter.rewrite(original, method).model
    model(image()).square().sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert idle == {f"blocks.{i}.{name}" for i in (1, 3) for name in ("unused", "spare.weight", "spare.bias")}


@pytest.mark.parametrize("method", METHODS)
def test_a_rewritten_model_can_be_copied_and_the_copy_is_independent(method: str) -> None:
    model = rewriter.rewrite(Net().eval(), method).model
    clone, x = copy.deepcopy(model), image()
    torch.testing.assert_close(clone(x), model(x), rtol=0, atol=0)
    assert clone.state_dict().keys() == model.state_dict().keys()
    assert not {id(p) for p in clone.parameters()} & {id(p) for p in model.parameters()}
    before = model(x)
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.zero_()
    assert torch.equal(model(x), before)


def test_a_copy_leaves_the_original_alone_and_inplace_works_on_it() -> None:
    model = Net().eval()
    x = image()
    expected = model(x)
    assert rewriter.rewrite(model, "sa").model is not model
    assert torch.equal(model(x), expected)
    assert rewriter.rewrite(model, "sa", inplace=True).model is model
    assert not torch.equal(model(x), expected)


def test_a_rewritten_model_can_be_rewritten_again() -> None:
    once = rewriter.rewrite(Net(), "swap", activation="gelu_tanh").model
    twice = rewriter.rewrite(once, "hdfgd", activation="silu")
    assert len(twice.recipe.sites) == 4
    assert twice.model(image()).shape == (2, 3)


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
def test_the_branches_of_a_convolution_are_one_convolution_without_groups(kind: type[Any]) -> None:
    model = nn.Sequential(kind(4, 12, 3, padding=1), nn.GELU(), kind(12, 4, 1))
    found = rewriter.rewrite(model, "hdfgd", decomposition="gelu/4", width=5)
    (packed, last) = (layer for layer in found.model.modules() if isinstance(layer, kind))
    assert (packed.out_channels, packed.groups, packed.kernel_size) == (20, 1, model[0].kernel_size)
    assert (last.in_channels, last.groups) == (5, 1)
