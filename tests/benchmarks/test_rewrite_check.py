"""Each broken promise is found and named."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from benchmarks.rewrite_check import check_rewrite
from benchmarks.zoo_model import ZooModel
from rewriter.sources.inputs import InputSpec


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Linear(6, 24), nn.GELU(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.act(self.first(x)))


class Forgetful(Block):
    """Holds a random constant that no state dict keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.randn(3)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + self.shift


class Detached(Block):
    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach() + self.shift


class Infinite(Block):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / 0.0


class Generating(Block):
    """Generates a number of tokens that depends on the class of its activation, as no sound model does."""

    def __init__(self, *, sound: bool = True) -> None:
        super().__init__()
        self.sound = sound

    def can_generate(self) -> bool:
        return True

    def generate(self, x: Tensor, *, min_new_tokens: int, max_new_tokens: int, do_sample: bool) -> Tensor:
        assert min_new_tokens == max_new_tokens
        assert not do_sample
        return torch.zeros(
            len(x), max_new_tokens if self.sound or isinstance(self.act, nn.GELU) else 1, dtype=torch.int64
        )


class Unsound(Generating):
    def __init__(self) -> None:
        super().__init__(sound=False)


class Relabelled(Block):
    """Counts its copies, so that the copy that is rewritten is not what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.copies = 0

    def __deepcopy__(self, memo: dict[int, object]) -> Relabelled:
        copied = Relabelled()
        copied.train(self.training).load_state_dict(self.state_dict())
        copied.copies = self.copies + 1
        return copied


class Plain(nn.Linear):
    def __init__(self) -> None:
        super().__init__(6, 3)


def entry(make: Callable[[], nn.Module], out_of_scope: str | None = None) -> ZooModel:
    def load() -> tuple[nn.Module, tuple[InputSpec, ...]]:
        model = make().eval()
        return model, (InputSpec(name="input" if isinstance(model, nn.Linear) else "x", shape=(6,)),)

    return ZooModel("test", make.__name__, "test", load, out_of_scope)


def test_a_sound_model_passes_every_check() -> None:
    row = check_rewrite(entry(Block), "hdfgd")
    assert (row.outcome, row.reason, row.mlps, row.sites, row.generated) == ("ok", "", 1, 1, False)


def test_a_model_that_can_generate_does() -> None:
    row = check_rewrite(entry(Generating), "hdfgd")
    assert (row.outcome, row.reason, row.generated) == ("ok", "", True)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (Forgetful, "restore"),
        (Detached, "backward: no gradient"),
        (Infinite, "the original's outputs are not finite"),
        (Unsound, "generate: [2, 1] tokens in the place of [2, 3]"),
        (Relabelled, "attribute: copies"),
    ],
)
def test_a_broken_promise_is_a_failure_that_names_it(make: Callable[[], nn.Module], why: str) -> None:
    row = check_rewrite(entry(make), "hdfgd")
    assert row.outcome == "failed"
    assert why in row.reason


def test_a_model_without_a_site_is_no_failure() -> None:
    assert check_rewrite(entry(Plain), "ga").outcome == "no site"


def test_a_model_out_of_scope_is_not_built() -> None:
    def never() -> nn.Module:
        raise AssertionError

    row = check_rewrite(entry(never, "takes lists"), "ga")
    assert (row.outcome, row.reason) == ("out of scope", "takes lists")


def test_a_constructor_that_raises_is_a_failure_with_its_first_line() -> None:
    def broken() -> nn.Module:
        raise RuntimeError("no such weights\nmore")

    row = check_rewrite(entry(broken), "ga")
    assert (row.outcome, row.reason) == ("failed", "RuntimeError: no such weights")
