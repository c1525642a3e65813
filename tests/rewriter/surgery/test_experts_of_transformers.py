"""Rewritten packed experts inside transformers' models: its kernels, ``generate``, class and restore."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import rewriter

transformers = pytest.importorskip("transformers")


def tiny_mixtral(kernel: str = "eager", **changes: Any) -> Any:
    torch.manual_seed(0)
    config = transformers.MixtralConfig(
        vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, num_local_experts=4, max_position_embeddings=32, **changes,
    )  # fmt: skip
    model = transformers.MixtralForCausalLM(config).eval()
    model.set_experts_implementation(kernel)
    return model


TOKENS = torch.arange(24).view(2, 12) % 40


def test_rewritten_experts_are_instances_of_their_class_with_their_attributes() -> None:
    model = tiny_mixtral("batched_mm")
    result = rewriter.rewrite(model, "hdfgd")
    for before, after in zip(model.model.layers, result.model.model.layers, strict=True):
        old, new = before.mlp.experts, after.mlp.experts
        assert isinstance(new, type(old))
        assert type(new).__name__ == type(old).__name__
        assert new.num_experts == old.num_experts
        assert new.config is result.model.config
    first, second = (layer.mlp.experts for layer in result.model.model.layers)
    assert type(first) is type(second)
    assert result.model.state_dict().keys() == model.state_dict().keys()


def tiny_nemotron(kernel: str) -> Any:
    """A model whose experts have no gate."""
    torch.manual_seed(0)
    config = transformers.NemotronHConfig(
        vocab_size=40, hidden_size=16, moe_intermediate_size=24, moe_shared_expert_intermediate_size=24,
        num_attention_heads=2, num_key_value_heads=2, head_dim=8, n_routed_experts=4, num_experts_per_tok=2, n_group=1,
        topk_group=1, layers_block_type=["attention", "moe"], mlp_hidden_act="silu", use_mamba_kernels=False,
    )  # fmt: skip
    model = transformers.NemotronHForCausalLM(config).eval()
    model.set_experts_implementation(kernel)
    return model


@pytest.mark.parametrize("kernel", ["batched_mm", "grouped_mm"])
@pytest.mark.parametrize("width", [8, 9])
@pytest.mark.parametrize("make", [tiny_mixtral, tiny_nemotron])
def test_every_kernel_of_transformers_gives_the_same_output(make: Any, kernel: str, width: int) -> None:
    result = rewriter.rewrite(make(kernel), "hdfgd", width=width)
    assert result.recipe.experts
    model = result.model
    found = model(TOKENS).logits
    model.set_experts_implementation("eager")
    torch.testing.assert_close(found, model(TOKENS).logits, rtol=1e-4, atol=1e-5)


def test_a_kernel_that_leaves_the_gate_to_the_module_runs_where_the_configuration_asks_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    calls: list[int] = []
    kernel = ALL_EXPERTS_FUNCTIONS["batched_mm"]
    monkeypatch.setitem(ALL_EXPERTS_FUNCTIONS, "batched_mm", lambda *a, **k: (calls.append(1), kernel(*a, **k))[1])
    model = rewriter.rewrite(tiny_mixtral("batched_mm"), "hdfgd").model
    calls.clear()  # planning traced the kernel
    model(TOKENS)
    assert len(calls) == 2


def test_a_kernel_with_the_gate_built_in_is_neither_asked_nor_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

    def fused(*arguments: Any) -> Tensor:
        raise AssertionError("the original gate")

    monkeypatch.setitem(ALL_EXPERTS_FUNCTIONS, "fused", fused)
    model = tiny_mixtral()
    expected = rewriter.rewrite(model, "hdfgd").model(TOKENS).logits
    model.config._experts_implementation = "fused"
    assert torch.equal(rewriter.rewrite(model, "hdfgd").model(TOKENS).logits, expected)


@pytest.mark.parametrize("kernel", ["eager", "batched_mm", "grouped_mm"])
def test_a_rewritten_mixtral_generates(kernel: str) -> None:
    model = rewriter.rewrite(tiny_mixtral(kernel), "sa").model
    generated = model.generate(TOKENS, max_new_tokens=4, do_sample=False)
    assert generated.shape == (2, 16)
    step = model(generated[:, :-1]).logits[:, -1].argmax(-1)
    assert torch.equal(step, generated[:, -1])


@pytest.mark.parametrize("method", ["hdfgd", "sa"])
def test_a_rewritten_mixtral_is_restored_bit_for_bit(method: str, tmp_path: Any) -> None:
    result = rewriter.rewrite(tiny_mixtral(), method)
    rewriter.save(result, tmp_path / "out")
    restored = rewriter.restore(tiny_mixtral(), tmp_path / "out")
    assert torch.equal(restored(TOKENS).logits, result.model(TOKENS).logits)


def test_the_original_is_not_changed() -> None:
    model = tiny_mixtral()
    before = model(TOKENS).logits
    rewriter.rewrite(model, "hdfgd")
    assert torch.equal(model(TOKENS).logits, before)
