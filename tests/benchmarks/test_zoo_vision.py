"""The inputs that models of the zoo are run on."""

from __future__ import annotations

import pytest
import torch

from benchmarks.zoo import zoo


@pytest.mark.parametrize("name", ["vit_b_16", "vit_h_14"])
def test_an_untrained_transformer_gets_images_of_its_own_size(name: str) -> None:
    (entry,) = zoo("torchvision", globs=[name])
    with torch.device("meta"):
        model, (spec,) = entry.load()
    assert spec.shape == (3, model.image_size, model.image_size)
