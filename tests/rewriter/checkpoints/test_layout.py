from collections import OrderedDict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewriter.checkpoints.layout import extract_state_dict, wrapper_prefix
from rewriter.errors import CheckpointError

STATE = {"a.weight": torch.ones(2), "b.bias": torch.zeros(3)}
WRAPPERS = [
    "state_dict",
    "model",
    "model_state",
    "model_state_dict",
    "module",
    "ema",
    "ema_state_dict",
    "state_dict_ema",
]


@given(
    wrappers=st.lists(st.sampled_from(WRAPPERS), max_size=3),
    prefixes=st.lists(st.sampled_from(["module.", "_orig_mod."]), max_size=3),
)
def test_any_nesting_of_wrappers_and_prefixes_gives_the_bare_state_dict(wrappers: list[str], prefixes: list[str]):
    content: dict = OrderedDict(("".join(prefixes) + key, tensor) for key, tensor in STATE.items())
    for wrapper in wrappers:
        content = {"epoch": 3, "optimizer": {"lr": 0.1}, wrapper: content}
    assert extract_state_dict(content, "file") == STATE


@pytest.mark.parametrize("average", ["ema", "ema_state_dict", "state_dict_ema"])
def test_trained_weights_are_preferred_to_their_moving_average(average: str):
    averaged = {key: tensor + 1 for key, tensor in STATE.items()}
    assert extract_state_dict({average: averaged, "model": STATE}, "file") == STATE


def test_prefix_that_only_some_keys_carry_is_kept():
    state = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert extract_state_dict(state, "file").keys() == state.keys()


def test_submodule_named_model_is_not_mistaken_for_a_wrapper():
    state = {"model": torch.ones(1), "model.weight": torch.ones(1)}
    assert extract_state_dict(state, "file").keys() == state.keys()


def test_no_keys_have_no_prefix():
    assert wrapper_prefix([]) == ""


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"a": torch.ones(1), "epoch": 3}, "epoch: int"),
        ({"weights": {"a": torch.ones(1)}}, "weights: dict"),
        ({1: torch.ones(1)}, "1 as a key"),
        ({}, "an empty dict"),
        ({"state_dict": {}}, "an empty dict"),
        ([torch.ones(1)], "a list"),
        (torch.ones(1), "a Tensor"),
    ],
)
def test_content_that_is_no_state_dict_is_refused_by_name(content: object, named: str):
    with pytest.raises(CheckpointError, match=named):
        extract_state_dict(content, "file")


def test_dict_that_contains_itself_is_refused():
    content: dict = {}
    content["model"] = {"state_dict": content}
    with pytest.raises(CheckpointError):
        extract_state_dict(content, "file")
