import pytest
import torch
from torch import nn

import rewriter
from rewriter.errors import UsageError


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 2))


def test_trained_lift_is_made_again_from_the_recipe():
    result = rewriter.rewrite(model(), "ga", trainable=True, alpha=0.7)
    trained = [value for name, value in result.model.named_parameters() if name.endswith("log_offset")]
    assert len(trained) == 1
    result.model(torch.randn(3, 4)).sum().backward()
    assert float(trained[0].grad.abs()) > 0
    again = rewriter.apply(model(), result.recipe).model
    again.load_state_dict(result.model.state_dict(), strict=True)


def test_trained_lift_of_a_table_is_refused():
    with pytest.raises(UsageError, match="to train alpha"):
        rewriter.rewrite(model(), "ga", activation="gelu", trainable=True)
