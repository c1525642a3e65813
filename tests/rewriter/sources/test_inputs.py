import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from rewriter.errors import UsageError
from rewriter.sources.inputs import InputSpec, example_inputs, parse_input_shape, tensor_input

SPECS = (
    InputSpec(name="x", shape=(3, 4)),
    InputSpec(name="ids", shape=(5,), dtype="int64", low=2, high=4, sequence_axis=1),
)


def test_examples_have_the_names_shapes_and_dtypes_of_their_specs():
    drawn = example_inputs(SPECS, batch_size=2)
    assert {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in drawn.items()} == {
        "x": ((2, 3, 4), torch.float32),
        "ids": ((2, 5), torch.int64),
    }


def test_examples_depend_on_the_seed_alone():
    first, again, other = (example_inputs(SPECS, seed=seed) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["x"], other["x"])


def test_integers_fill_their_half_open_range():
    assert example_inputs(SPECS, batch_size=50)["ids"].unique().tolist() == [2, 3]


def test_dtype_changes_floats_only():
    drawn = example_inputs(SPECS, dtype=torch.bfloat16, device="meta")
    assert (drawn["x"].dtype, drawn["ids"].dtype) == (torch.bfloat16, torch.int64)
    assert drawn["x"].is_meta


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": (3, 0)},
        {"shape": (3,), "dtype": "int64", "low": 4, "high": 4},
        {"shape": (3,), "sequence_axis": 2},
        {"shape": (3,), "sequence_axis": 0},
        {"shape": (3,), "batch": 1},
        {"shape": (3,), "name": ""},
    ],
)
def test_spec_that_cannot_be_drawn_is_refused(fields: dict):
    with pytest.raises(ValidationError):
        InputSpec(**({"name": "x"} | fields))


def test_spec_survives_json():
    for spec in SPECS:
        assert InputSpec.model_validate_json(spec.model_dump_json()) == spec


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=5))
def test_written_shape_is_read_back(sizes: list[int]):
    assert parse_input_shape("x".join(map(str, sizes))) == tuple(sizes)


@pytest.mark.parametrize("text", ["", "3x", "x3", "3x0", "3x-1", "3,224,224", "3x2.5", "²"])
def test_malformed_shape_is_refused(text: str):
    with pytest.raises(UsageError, match="3x224x224"):
        parse_input_shape(text)


def test_input_is_named_after_the_first_parameter_of_forward():
    assert tensor_input(nn.Linear(2, 2), [2])[0].name == "input"


def test_forward_without_named_parameters_has_no_known_input():
    class Star(nn.Module):
        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            return tensors[0]

    assert tensor_input(Star(), [2]) == ()
