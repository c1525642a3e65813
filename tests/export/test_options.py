from __future__ import annotations

import pytest
import torch

from export.options import ExportOptions, options_in
from rewriter.errors import UsageError


@pytest.mark.parametrize("dynamic_size", [False, True])
@pytest.mark.parametrize("precision", [None, "fp32", "fp16", "bf16"])
def test_what_a_file_tells_are_the_choices_it_was_made_with(dynamic_size: bool, precision: str | None) -> None:
    options = ExportOptions(dynamic_size=dynamic_size, precision=precision)
    assert options_in({"method": "sa", **options.as_metadata()}) == options


def test_an_unknown_precision_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="bf16"):
        ExportOptions(precision="bf61")
    assert ExportOptions(precision="fp16").dtype == torch.float16
