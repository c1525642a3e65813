from __future__ import annotations

import torch

from rewriter.finetune.examples import Batch
from rewriter.finetune.unused import has_unused
from tests.models.small_classifier import block_classifier


def test_a_layer_without_a_part_in_the_output_is_found_and_nothing_is_left() -> None:
    model = block_classifier().train()
    example = Batch(torch.rand(1, 1, 8, 8), None)
    assert has_unused(model, example)
    model.spare.requires_grad_(False)  # what is not trained is not waited for
    assert not has_unused(model, example)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.training
