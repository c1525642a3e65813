"""The CIFAR ResNet of He et al., "Deep Residual Learning for Image Recognition", section 4.2.

Option-A shortcuts (strided identity padded with zero channels), ReLU as a functional call, BatchNorm.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: [N, C_in, H, W] to [N, C_out, H/s, W/s]."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.stride = stride
        self.added_channels = out_channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        strided = x[:, :, :: self.stride, :: self.stride]
        before = self.added_channels // 2
        return F.pad(strided, (0, 0, 0, 0, before, self.added_channels - before))


class CifarResNet(nn.Module):
    """A stem, three stages of 16, 32 and 64 channels, average pooling, and a linear layer: [N, 3, 32, 32] to [N, 10].

    The depth is 6 * blocks_per_stage + 2.
    """

    input_shape = (3, 32, 32)

    def __init__(self, blocks_per_stage: int, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(blocks_per_stage, 16, 16, stride=1)
        self.layer2 = self._stage(blocks_per_stage, 16, 32, stride=2)
        self.layer3 = self._stage(blocks_per_stage, 32, 64, stride=2)
        self.linear = nn.Linear(64, num_classes)

    @staticmethod
    def _stage(blocks: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        first = BasicBlock(in_channels, out_channels, stride)
        return nn.Sequential(first, *(BasicBlock(out_channels, out_channels, 1) for _ in range(blocks - 1)))

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20() -> CifarResNet:
    """ResNet-20."""
    return CifarResNet(3)


def resnet56() -> CifarResNet:
    """ResNet-56."""
    return CifarResNet(9)
