from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import rewriter
from tests.models.untraceable import Gates

INPUT = torch.zeros(3, 8)


class GatesLater(Gates):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        gate = self.child(x)[:, None].squeeze(1)
        return self.out(torch.mul(self.out(x), gate))


class GatesThroughABuffer(Gates):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        gate = torch.zeros_like(x)
        gate[:, :] = self.child(x)
        return self.out(gate * x)


class GatesInPlace(Gates):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        gate = self.child(x)
        gate *= x
        return self.out(gate)


@torch.jit.script
def compiled_product(x: Tensor, y: Tensor) -> Tensor:
    return x * y


class GatesInCompiledCode(Gates):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(compiled_product(self.child(x), x))


class GatesThroughAChild(Gates):
    class Product(nn.Module):
        def forward(self, x: Tensor, gate: Tensor | None = None) -> Tensor:
            return x if gate is None else x * gate

    def __init__(self) -> None:
        super().__init__()
        self.product = nn.Sequential(self.Product())[0]

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(self.product(x, gate=self.child(x)))


class GatesFromADict(Gates):
    class Child(nn.Sequential):
        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"gate": super().forward(x)}

    def __init__(self) -> None:
        super().__init__()
        self.child = self.Child(nn.Linear(8, 8), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(self.child(x)["gate"] * x)


KINDS = [Gates, GatesLater, GatesThroughABuffer, GatesInPlace, GatesInCompiledCode, GatesThroughAChild, GatesFromADict]


@pytest.mark.parametrize("kind", KINDS)
def test_an_activation_that_an_untraceable_parent_uses_as_a_gate_is_refused(kind: type[Gates]) -> None:
    model = nn.Sequential(kind(), nn.Linear(8, 8))
    assert [site.path for site in rewriter.capture(model).sites] == ["0.child.1"]
    capture = rewriter.capture(model, INPUT)
    assert capture.sites == ()
    assert ["gate" in miss.reason for miss in capture.misses if miss.path == "0.child.1"] == [True]


class OutsideTheGate(Gates):
    def forward(self, x: Tensor) -> Tensor:
        self.pause(x)
        return self.out(x * x + self.child(x))


def test_an_activation_beside_a_gate_in_untraceable_code_stays_a_site() -> None:
    (site,) = rewriter.capture(nn.Sequential(OutsideTheGate(), nn.Linear(8, 8)), INPUT).sites
    assert site.path == "0.child.1"
