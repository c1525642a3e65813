from __future__ import annotations

from typing import NamedTuple

import pytest
import torch

from export.outputs import flatten_output, named_tensors, output_names
from rewriter.errors import ExportError

A, B, C = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor | None


@pytest.mark.parametrize(
    ("output", "names"),
    [
        (A, ["output"]),
        ((A, B), ["output", "output_1"]),
        ([A, None, B], ["output", "output_2"]),
        ({"logits": A, "loss": None, "hidden": (B, C)}, ["logits", "hidden", "hidden_1"]),
        ((A, {"aux": B}), ["output", "output_1_aux"]),
        (Pair(A, B), ["left", "right"]),
        (Pair(A, None), ["left"]),
    ],
)
def test_names_come_from_the_output_s_own_keys_and_fields(output: object, names: list[str]) -> None:
    assert [name for name, _ in named_tensors(output)] == names


def test_transformers_outputs_are_named_by_their_keys() -> None:
    outputs = pytest.importorskip("transformers.modeling_outputs")
    output = outputs.BaseModelOutputWithPooling(last_hidden_state=A, pooler_output=B)
    assert output_names(output, ["input_ids"]) == ["last_hidden_state", "pooler_output"]


def test_no_name_is_given_twice_or_taken_from_an_input() -> None:
    names = output_names({"x": A, "output": B, "nested": {"a": C}, "nested_a": A}, ["x"])
    assert names[:2] == ["x_output", "output"]
    assert len(set(names) | {"x"}) == 5


def test_a_lone_tensor_stays_a_tensor_and_several_become_a_tuple() -> None:
    assert flatten_output({"logits": A, "loss": None}) is A
    several = flatten_output([A, {"b": B}])
    assert isinstance(several, tuple)
    assert several[0] is A
    assert several[1] is B


@pytest.mark.parametrize(
    ("output", "found"), [({"loss": 3.0}, "float at 'loss'"), (None, "no tensor"), ([], "no tensor")]
)
def test_an_output_that_cannot_be_exported_is_named(output: object, found: str) -> None:
    with pytest.raises(ExportError, match=found):
        named_tensors(output)
