from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import JsonValue
from torch import Tensor, nn

import rewriter
from rewriter import methods
from rewriter.methods import Method, MethodConfig, Placement, get_method, method_names, register
from rewriter.sites import Site


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "_registered", {})


class MaxoutConfig(MethodConfig):
    pieces: int = 2


class MaxoutLayer(nn.Module):
    def __init__(self, pieces: int, dim: int) -> None:
        super().__init__()
        self.pieces, self.dim = pieces, dim
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.stack(x.chunk(self.pieces, self.dim)).amax(0)


class Maxout(Method[MaxoutConfig]):
    """The largest of several branches, at every MLP."""

    name = "maxout"
    summary = "maxout of parallel branches"
    config = MaxoutConfig

    def refuse(self, site: Site, config: MaxoutConfig) -> str | None:
        return None if site.kind == "mlp" else "maxout wants MLPs"

    def place(self, site: Site, rank: int, config: MaxoutConfig) -> Placement:
        return Placement(
            function=f"maxout/{config.pieces}", branches=config.pieces, settings={"pieces": config.pieces, "rank": rank}
        )

    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        return MaxoutLayer(int(str(settings["pieces"])), channels_dim)


def model() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(4, 16), nn.GELU(), nn.Linear(16, 4), nn.LayerNorm(4), nn.Linear(4, 4), nn.GELU(), nn.LayerNorm(4)
    )


def test_a_registered_method_works_from_plan_to_restore(tmp_path: Path) -> None:
    register(Maxout)
    result = rewriter.rewrite(model(), "maxout", pieces=3)
    assert [(site.placement.function, site.hidden) for site in result.recipe.sites] == [
        ("maxout/3", (16, (4 * 16 + 16 + 16 * 4 - 1) // 19))
    ]
    assert "maxout wants MLPs" in {miss.reason for miss in result.recipe.misses}
    rewriter.save(result, tmp_path / "out")
    restored, x = rewriter.restore(model(), tmp_path / "out"), torch.rand(3, 4)
    assert torch.equal(restored(x), result.model(x))


def test_the_decorator_gives_the_class_back_and_lists_its_name() -> None:
    assert register(Maxout) is Maxout
    assert "maxout" in method_names()
    assert isinstance(get_method("maxout"), Maxout)


def test_registering_the_same_class_again_is_no_error() -> None:
    register(Maxout)
    register(Maxout)


def test_a_second_class_of_the_same_name_is_refused() -> None:
    register(Maxout)

    class Other(Maxout):
        pass

    with pytest.raises(rewriter.UsageError, match="'maxout', which is taken"):
        register(Other)


def test_the_name_of_an_installed_method_is_taken() -> None:
    class Impostor(Maxout):
        name = "ga"

    with pytest.raises(rewriter.UsageError, match="'ga', which is taken"):
        register(Impostor)


def test_an_abstract_class_is_refused() -> None:
    class Unfinished(Method[MaxoutConfig]):
        name, summary, config = "unfinished", "", MaxoutConfig

    with pytest.raises(rewriter.UsageError, match="Unfinished without some of them"):
        register(Unfinished)
    assert "unfinished" not in method_names()


def test_installed_methods_are_found_without_importing_them_by_hand() -> None:
    assert {"ga", "hdfgd", "sa", "swap"} <= set(method_names())


def test_an_unknown_method_names_the_nearest() -> None:
    with pytest.raises(rewriter.UsageError, match="did you mean 'swap'"):
        get_method("swop")
