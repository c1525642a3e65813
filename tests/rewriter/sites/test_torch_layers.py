"""torch's own transformer layers are opened; its recurrent layers and softmax are named as out of scope."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import rewriter


def encoder(**options: Any) -> nn.Module:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu", **options)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()


@pytest.mark.parametrize("norm_first", [False, True])
def test_an_encoder_layer_whose_branches_are_the_original_weights_computes_the_same(norm_first: bool) -> None:
    model = encoder(norm_first=norm_first)
    result = rewriter.rewrite(model, "hdfgd", terms=2, width="keep")
    assert [site.path for site in result.recipe.sites] == ["layers.0.activation", "layers.1.activation"]
    with torch.no_grad():
        for record in result.recipe.linears:
            old, new = model.get_submodule(record.path), result.model.get_submodule(record.path)
            for values, target in zip(old.parameters(), new.parameters(), strict=True):
                target.copy_(values if values.shape == target.shape else torch.cat([values, values]))
        x, padding = torch.randn(3, 5, 8), torch.tensor([[False] * 5, [False] * 4 + [True], [False] * 5])
        expected = model(x, src_key_padding_mask=padding)
        found = result.model.eval()(x, src_key_padding_mask=padding)
    torch.testing.assert_close(found[~padding], expected[~padding], rtol=1e-5, atol=1e-6)


def test_a_rewritten_layer_runs_its_new_function_without_gradients_too() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="relu").eval()
    result = rewriter.rewrite(model, "swap", activation="tanh")
    seen: list[str] = []
    result.model.get_submodule("activation").register_forward_hook(lambda *_: seen.append("called"))
    with torch.inference_mode():
        assert not torch.equal(result.model.eval()(torch.ones(1, 3, 8)), model(torch.ones(1, 3, 8)))
    assert seen == ["called"]
    assert isinstance(result.model, nn.TransformerEncoderLayer)


@pytest.mark.parametrize("enabled", [True, False])
def test_tracing_leaves_the_fast_path_as_it_was(enabled: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    try:
        torch.backends.mha.set_fastpath_enabled(enabled)
        rewriter.capture(encoder())
        assert torch.backends.mha.get_fastpath_enabled() is enabled
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_encoder_and_decoder_of_a_transformer_are_opened(tmp_path: Any) -> None:
    make = lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True)  # noqa: E731
    result = rewriter.rewrite(make().eval(), "sa", activation="gelu")
    assert [site.path for site in result.recipe.sites] == ["encoder.layers.0.activation", "decoder.layers.0.activation"]
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(make(), tmp_path / "out").eval()
    x = torch.randn(2, 3, 8)
    assert torch.equal(restored(x, x), result.model(x, x))


@pytest.mark.parametrize("layer", [nn.LSTM(4, 4), nn.GRU(4, 4), nn.MultiheadAttention(4, 2), nn.Softmax(-1)])
def test_recurrent_layers_and_softmax_are_out_of_scope_and_say_so(layer: nn.Module) -> None:
    captured = rewriter.capture(nn.ModuleDict({"layer": layer}))
    assert [miss.path for miss in captured.misses] == ["layer"]
    assert "out of scope" in captured.misses[0].reason


class Guarded(nn.Module):
    """Clamps what overflowed in half precision, as encoder layers of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.fc2(self.act(self.fc1(x)))
        if x.dtype == torch.float16 and not torch.isfinite(x).all():
            x = torch.clamp(x, min=-1000.0, max=1000.0)
        return x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_guard_against_overflow_does_not_hide_a_site(dtype: torch.dtype) -> None:
    (site,) = rewriter.capture(nn.Sequential(Guarded().to(dtype), nn.Linear(8, 2))).sites
    assert (site.kind, site.producer, site.consumer) == ("mlp", "0.fc1", "0.fc2")


def test_a_question_about_values_is_not_decided() -> None:
    class Asks(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if (x > 0).all() else -x

    (untraced,) = rewriter.capture(nn.Sequential(Asks(), nn.Linear(2, 2))).untraced
    assert untraced.path == "0"


def test_a_functional_convolution_feeds_a_lone_site() -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return F.conv2d(x, self.weight - self.weight.mean(), self.bias)

    (site,) = rewriter.capture(nn.Sequential(Standardised(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))).sites
    assert (site.kind, site.hidden, site.producer) == ("conv", None, "0")
    assert "function call" in str(site.not_an_mlp)
