"""Small models that deliberate faults are put into, one structure each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn


class TwoLinears(nn.Module):
    """Two linears, between which each of several models has another activation."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 16), nn.Linear(16, 8)


class Blocks(nn.Module):
    """Two residual MLPs of other widths over tokens, and a layer of the shape of a second linear beside them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.second = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.wide, self.aside = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, T, 8]`` to itself."""
        x = x + self.first(x)
        return x + self.second(x) + self.aside(self.wide(x))


class Gated(nn.Module):
    """A gated MLP, and a layer of the shape of its factors beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.up, self.aside = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(8, 16)
        self.down, self.last = nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        return self.down(F.silu(self.gate(x)) * self.up(x)) + self.last(self.aside(x))


class Packed(nn.Module):
    """A gated MLP with both factors in one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.both, self.down = nn.Linear(8, 32), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        gate, up = self.both(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


class Convolutions(nn.Module):
    """Convolutions with norms, depthwise convolutions before and behind the activation, and squeeze-and-excite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.GELU())
        self.expand, self.norm = nn.Conv2d(8, 16, 1), nn.GroupNorm(4, 16)
        self.early = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.late, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.reduce, self.excite = nn.Conv2d(16, 16, 1), nn.Conv2d(16, 16, 1)
        self.act, self.project = nn.GELU(), nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``[B, 3, H, W]`` to ``[B, 8, H/2, W/2]``."""
        x = F.max_pool2d(self.stem(x), 3, 1, 1)
        h = self.norm2(self.late(self.act(self.norm(self.early(self.expand(x))))))
        h = h * torch.sigmoid(self.excite(F.relu(self.reduce(h.mean((2, 3), keepdim=True)))))
        return x + self.project(h)


class Between(nn.Module):
    """An MLP with a norm between its activation and its second linear, and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.norm, self.fc2 = nn.Linear(8, 16), nn.GELU(), nn.LayerNorm(16), nn.Linear(16, 8)
        self.drop = nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        return x + self.fc2(self.drop(self.norm(self.act(self.fc1(x)))))


class Scaled(TwoLinears):
    """An MLP whose activation is written out, with a scale."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.fc1(x)
        return self.fc2(0.5 * h * (1 + torch.erf(h / 2**0.5)) * 1.7)


class Squared(TwoLinears):
    """An MLP with a formula of two steps."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        return self.fc2(F.relu(self.fc1(x)).square())


class InLine(nn.Module):
    """Activations called in code, beside other values of the same shape."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.aside, self.last = (nn.Linear(*s) for s in ((8, 16), (16, 8), (8, 16), (16, 8)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        k = self.aside(x)
        y = self.last(k)
        h = self.fc1(x)
        return y + self.fc2(F.gelu(h))


class Loop(nn.Module):
    """MLPs in a loop, of which one expression computes all activations."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.ModuleList(nn.Linear(8, 16) for _ in range(2))
        self.out = nn.ModuleList(nn.Linear(16, 8) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        for into, out in zip(self.into, self.out, strict=True):
            x = x + out(F.gelu(into(x)))
        return x


class TwoReaders(nn.Module):
    """A hidden value that two layers read."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2, self.other = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.act(self.fc1(x))
        return self.fc2(h) - self.other(h)


class Overwritten(TwoReaders):
    """A value that is overwritten by an activation and read afterwards."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.fc1(x)
        y = self.fc2(F.relu(h, inplace=True))
        return y + self.other(h)


class SharedFunction(nn.Module):
    """A function in an attribute, applied to two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(8, 16), nn.Linear(16, 24), nn.Linear(24, 8)
        self.act = F.gelu

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.act(self.fc1(x))
        return self.fc3(self.act(self.fc2(h)))


class SharedLayer(nn.Module):
    """A layer under two names, called under the second."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)
        self.same = self.fc1

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        return self.fc2(self.act(self.same(x)))


class TwoMethods(TwoLinears):
    """Two methods of one text, of which one runs."""

    def one(self, x: Tensor) -> Tensor:
        """Compute the MLP."""
        return self.fc2(F.gelu(self.fc1(x)))

    def two(self, x: Tensor) -> Tensor:
        """Compute the MLP."""
        return self.fc2(F.gelu(self.fc1(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        return self.one(x)


class TwoModes(TwoLinears):
    """Code that is written twice, for train and for eval mode."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.fc1(x)
        if self.training:  # noqa: SIM108  two expressions, each with a place of its own
            h = F.gelu(h)
        else:
            h = F.gelu(h)
        return self.fc2(h)


class NoisyGate(TwoLinears):
    """A formula with dropout inside."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = self.fc1(x)
        return self.fc2(h * F.dropout(torch.sigmoid(h), 0.5, self.training))


class Experts(nn.Module):
    """Packed gated experts, two of three for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.router, self.experts = nn.Linear(6, 3), PackedGates()

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[T, 6]`` to itself."""
        weights, index = self.router(x).softmax(-1).topk(2)
        return x + self.experts(x, index, weights)


class PackedGates(nn.Module):
    """The experts themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Parameter(torch.randn(3, 16, 6)), nn.Parameter(torch.randn(3, 6, 8))
        self.act = nn.SiLU()

    def forward(self, hidden_states: Tensor, top_k_index: Tensor, top_k_weights: Tensor) -> Tensor:
        """Map ``[T, 6]`` to itself."""
        total = torch.zeros_like(hidden_states)
        for expert in range(3):
            token, place = torch.where(top_k_index == expert)
            gate, up = (hidden_states[token] @ self.into[expert].mT).chunk(2, dim=-1)
            made = (self.act(gate) * up) @ self.out[expert].mT
            total.index_add_(0, token, made * top_k_weights[token, place, None])
        return total


class Called(TwoReaders):
    """The same with the activation as a call."""

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, 8]`` to itself."""
        h = F.gelu(self.fc1(x))
        return self.fc2(h) - self.other(h)


MODELS: Final[Mapping[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]] = {
    "blocks": (Blocks, (2, 5, 8)),
    "gated": (Gated, (4, 8)),
    "packed": (Packed, (4, 8)),
    "convolutions": (Convolutions, (2, 3, 8, 8)),
    "between": (Between, (4, 8)),
    "scaled": (Scaled, (4, 8)),
    "squared": (Squared, (4, 8)),
    "in line": (InLine, (4, 8)),
    "loop": (Loop, (4, 8)),
    "two readers": (TwoReaders, (4, 8)),
    "overwritten": (Overwritten, (4, 8)),
    "shared function": (SharedFunction, (4, 8)),
    "shared layer": (SharedLayer, (4, 8)),
    "two methods": (TwoMethods, (4, 8)),
    "two modes": (TwoModes, (4, 8)),
    "noisy gate": (NoisyGate, (4, 8)),
    "experts": (Experts, (12, 6)),
    "graph code": (lambda: fx.symbolic_trace(Called()), (4, 8)),
}
"""Makers of the models by name, with the shape of what each takes."""


def small_model(name: str) -> tuple[nn.Module, Any]:
    """Make one of the models, and inputs for it, the same each time."""
    make, shape = MODELS[name]
    torch.manual_seed(0)
    return make(), torch.randn(shape)
