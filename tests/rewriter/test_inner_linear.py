from __future__ import annotations

import copy

import torch
from torch import nn

import rewriter
from passes.kernels.aligned_linear import Inner
from rewriter.inner_linear import InnerLinear, plain_linears
from rewriter.layouts import layout_of


def rewritten(width: int) -> nn.Module:
    model = nn.Sequential(nn.Linear(9, 36), nn.GELU(), nn.Linear(36, 9))
    return rewriter.rewrite(model, "hdfgd", width=width).model


def test_rows_are_apart_where_the_rewrite_chose_the_width_and_nowhere_else() -> None:
    model = rewritten(5)
    first, last = model.get_submodule("0"), model.get_submodule("2")
    assert isinstance(first, InnerLinear)
    assert isinstance(last, InnerLinear)
    assert (first.inner, last.inner) == (Inner(output=True), Inner(input=True))
    x = torch.randn(3, 9, requires_grad=True)
    y = model(x)
    y.sum().backward()
    assert first(x).stride() == (32, 1)
    assert y.is_contiguous()
    assert x.grad is not None
    assert x.grad.is_contiguous()


def test_a_width_that_is_aligned_keeps_torchs_own_class() -> None:
    assert [type(layer) for layer in rewritten(16).children()][::2] == [nn.Linear, nn.Linear]


def test_it_is_a_linear_to_a_plan_and_keeps_its_sides_in_a_copy() -> None:
    first = rewritten(5).get_submodule("0")
    assert layout_of(first) is layout_of(nn.Linear(1, 1))
    assert copy.deepcopy(first).get_submodule("").inner == Inner(output=True)


def test_a_linear_behind_one_block_and_in_front_of_another_has_two_inner_sides() -> None:
    layers = [nn.Linear(9, 36), nn.GELU(), nn.Linear(36, 36), nn.GELU(), nn.Linear(36, 9)]
    model = rewriter.rewrite(nn.Sequential(*layers), "hdfgd", width=5).model
    middle = model.get_submodule("2")
    assert isinstance(middle, InnerLinear)
    assert middle.inner == Inner(input=True, output=True)


def test_a_tool_that_looks_for_the_very_class_finds_it_where_it_is_asked_for() -> None:
    model = rewritten(5)
    x = torch.randn(3, 9)
    before, names = model(x), list(model.state_dict())
    plain_linears(model)
    assert [type(layer) for layer in model.children()][::2] == [nn.Linear, nn.Linear]
    assert list(model.state_dict()) == names
    torch.testing.assert_close(model(x), before)
