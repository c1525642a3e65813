from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rewriter


class Block(nn.Module):
    def __init__(self, act: nn.Module) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(4, 8), act, nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fc2(self.act(self.fc1(x)))


class Shifted(nn.Module):
    """A function that has no name."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x) - 0.5


class ShiftsMore(Shifted):
    """Another function while training, so that only its own code can be edited."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x + 1 if self.training else x)


class Counts(Shifted):
    """Keeps a state, so that only its own code can be edited."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def test_blocks_that_share_one_activation_object_get_one_function_each() -> None:
    act = nn.GELU()
    result = rewriter.rewrite(nn.Sequential(*[Block(act) for _ in range(3)]), "ga")
    assert [site.path for site in result.recipe.sites] == ["0.act", "1.act", "2.act"]
    assert [site.placement.function for site in result.recipe.sites] == ["gelu + 1x", "g[gelu]", "gelu + 1x"]
    assert len({id(block.act) for block in result.model}) == 3


def test_one_relu_called_three_times_in_one_forward_is_three_sites() -> None:
    torchvision = pytest.importorskip("torchvision")
    model = torchvision.models.ResNet(torchvision.models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=4)
    captured = rewriter.capture(model)
    inside = [site for site in captured.sites if site.path.startswith("layer1.0")]
    assert [site.producer for site in inside] == ["layer1.0.conv1", "layer1.0.conv2", "layer1.0.conv3"]
    assert {site.address.module for site in inside} == {None}
    result = rewriter.rewrite(model, "ga")
    assert [site.path for site in inside] == ["layer1.0:relu_2", "layer1.0:relu_3", "layer1.0:relu_4"]  # relu is there
    first, second, third = (getattr(result.model.layer1[0], f"relu_{number}") for number in (2, 3, 4))
    assert type(first) is type(third)
    assert type(first) is not type(second)
    assert isinstance(result.model.layer1[0].relu, nn.ReLU)


def test_a_function_of_no_name_that_serves_several_layers_is_replaced_in_each() -> None:
    act, x = Shifted(), torch.randn(3, 4)
    model = nn.Sequential(Block(act), Block(act))
    result = rewriter.rewrite(model, "swap", activation="silu")
    assert [site.path for site in result.recipe.sites] == ["0.act", "1.act"]
    assert result.model[0].act is not result.model[1].act
    model[0].act = model[1].act = nn.SiLU()
    torch.testing.assert_close(result.model(x), model(x))


@pytest.mark.parametrize("act", [ShiftsMore(), Counts()])
@pytest.mark.parametrize("inputs", [None, torch.zeros(2, 4)], ids=["traced", "recorded"])
def test_code_that_serves_several_layers_and_is_no_mere_function_is_refused(
    act: nn.Module, inputs: Tensor | None
) -> None:
    captured = rewriter.capture(nn.Sequential(Block(act), Block(act)).eval(), inputs)
    assert captured.sites == ()
    assert {miss.reason for miss in captured.misses} == {
        "0.act:formula serves several layers, which one replacement would tie together"
    }


def test_a_block_called_twice_is_one_site() -> None:
    block = Block(nn.Tanh())
    result = rewriter.rewrite(nn.Sequential(block, nn.Identity(), block), "hdfgd")
    assert [(site.path, site.kind) for site in result.recipe.sites] == [("0.act", "mlp")]
    assert result.model[0] is result.model[2]
    assert result.model(torch.rand(2, 4)).shape == (2, 4)


class Renamed(Block):
    """Its first linear has a second name, as heads and aliases often do."""

    def __init__(self) -> None:
        super().__init__(nn.GELU())
        self.alias = self.fc1


def test_a_linear_under_a_second_name_is_replaced_under_both() -> None:
    model = nn.Sequential(Renamed())
    result = rewriter.rewrite(model, "hdfgd")
    assert result.model[0].alias is result.model[0].fc1
    assert result.model[0].fc1 is not model[0].fc1
    assert result.model.state_dict().keys() == model.state_dict().keys()
