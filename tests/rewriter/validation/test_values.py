from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rewriter
from rewriter.validation import check_finite


class Outputs(nn.Module):
    def __init__(self, second: float) -> None:
        super().__init__()
        self.fc, self.drop, self.second = nn.Linear(4, 2), nn.Dropout(0.5), second

    def forward(self, x: Tensor) -> dict[str, Any]:
        y = self.drop(self.fc(x))
        return {"first": y, "others": [y.argmax(), y.detach() + self.second]}


@pytest.mark.parametrize("inputs", [torch.rand(2, 4), (torch.rand(2, 4),), {"x": torch.rand(2, 4)}])
def test_finite_outputs_pass_however_the_inputs_are_given(inputs: Any) -> None:
    check_finite(Outputs(1.0), inputs)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_is_found_in_any_output(value: float) -> None:
    with pytest.raises(rewriter.ValidationError, match=r"output 2; found 4 of 4"):
        check_finite(Outputs(value), torch.rand(2, 4))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_the_mode_of_every_module_is_left_as_it_was(value: float) -> None:
    model = Outputs(value).train()
    model.fc.eval()
    if value:
        with pytest.raises(rewriter.ValidationError):
            check_finite(model, torch.rand(2, 4))
    else:
        check_finite(model, torch.rand(2, 4))
    assert [module.training for module in (model, model.fc, model.drop)] == [True, False, True]


def test_rewrite_runs_the_check_when_it_is_given_inputs() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))
    with torch.no_grad():
        model[2].bias.fill_(float("nan"))
    rewriter.rewrite(model, "ga")
    with pytest.raises(rewriter.ValidationError, match="finite values"):
        rewriter.rewrite(model, "ga", example_inputs=torch.rand(2, 4))
