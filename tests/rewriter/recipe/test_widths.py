from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import rewriter
from rewriter.recipe import RewriteOptions, draft
from rewriter.recipe.widths import Chain, Feed, hidden_widths

sizes = st.integers(1, 600)


@st.composite
def single_mlps(draw: st.DrawFn) -> Chain:
    return Chain(
        fan_in=draw(sizes),
        hidden=(draw(sizes),),
        feeds=((Feed(1, draw(st.integers(2, 4)), draw(st.booleans())),),),
        fan_out=draw(sizes),
        freed=draw(st.integers(0, 3)),
        coefficients=draw(st.integers(0, 12)),
    )


@st.composite
def chains(draw: st.DrawFn) -> Chain:
    length = draw(st.integers(2, 4))
    many: Any = lambda values: tuple(draw(st.lists(values, min_size=length, max_size=length)))  # noqa: E731
    return Chain(
        fan_in=draw(sizes),
        hidden=many(sizes),
        feeds=many(st.tuples(st.builds(Feed, st.just(1), st.integers(2, 4), st.booleans()))),
        fan_out=draw(sizes),
        freed=0,
        coefficients=draw(st.integers(0, 12)),
    )


@given(single_mlps())
def test_a_single_mlp_gets_the_width_of_the_papers_formula_with_biases(chain: Chain) -> None:
    (hidden,), ((feed,),) = chain.hidden, chain.feeds
    n, bias = feed.after, feed.bias
    fan_in, fan_out = chain.fan_in, chain.fan_out
    budget = fan_in * hidden + hidden * fan_out + bias * hidden - chain.coefficients + chain.freed
    expected = min(budget // (n * (fan_in + bias) + fan_out), hidden)
    assert hidden_widths(chain, RewriteOptions()) == ((expected,) if expected > 0 else None)


@given(chains())
def test_a_matched_chain_holds_its_budget_and_the_next_step_would_not(chain: Chain) -> None:
    widths = hidden_widths(chain, RewriteOptions())
    if widths is None:
        return
    assert chain.fits(widths)
    widest = max(chain.hidden)
    step = next(
        (wider for f in range(1, widest + 1) if (wider := tuple(h * f // widest for h in chain.hidden)) > widths), None
    )
    assert step is None or not chain.fits(step)


@given(single_mlps(), st.sampled_from([8, 16, 64]))
def test_a_multiple_rounds_the_matched_width_down(chain: Chain, multiple: int) -> None:
    exact = hidden_widths(chain, RewriteOptions())
    expected = exact[0] // multiple * multiple if exact else 0
    rounded = hidden_widths(chain, RewriteOptions(multiple=multiple))
    assert rounded == ((expected,) if expected else None)


def shape_of(**changes: Any) -> Chain:
    fields = {
        "fan_in": 8,
        "hidden": (33,),
        "feeds": ((Feed(1, 4, True),),),
        "fan_out": 8,
        "freed": 0,
        "coefficients": 0,
    }
    return Chain(**{**fields, **changes})


@pytest.mark.parametrize(("width", "expected"), [("paper", 8), ("keep", 33), (100, 100), (1, 1)])
def test_the_other_modes_set_the_width_outright(width: Any, expected: int) -> None:
    assert hidden_widths(shape_of(), RewriteOptions(width=width)) == (expected,)


@pytest.mark.parametrize(
    ("chain", "width"),
    [
        (shape_of(fan_in=64, fan_out=1, hidden=(3,)), "match"),
        (shape_of(coefficients=10_000), "match"),
        (shape_of(hidden=(3,)), "paper"),
        (shape_of(fan_in=64, fan_out=1, hidden=(4,), coefficients=100), "paper"),
    ],
)
def test_nothing_is_chosen_when_nothing_fits(chain: Chain, width: Any) -> None:
    assert hidden_widths(chain, RewriteOptions(width=width)) is None


@settings(max_examples=25)
@given(
    st.integers(1, 40),
    st.integers(8, 80),
    st.integers(8, 80),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from([2, 4]),
)
def test_the_widths_of_a_chain_agree_and_the_real_model_holds_the_budget(
    fan_in: int, first: int, second: int, fan_out: int, bias: bool, terms: int
) -> None:
    model = nn.Sequential(
        nn.Linear(fan_in, first, bias=bias),
        nn.Tanh(),
        nn.Linear(first, second),
        nn.Tanh(),
        nn.Linear(second, fan_out, bias=bias),
        nn.LayerNorm(fan_out),
    )
    recipe = draft(model, "sa", {"terms": terms})
    if not recipe.sites:
        assert all("the budget leaves" in miss.reason for miss in recipe.misses)
        return
    result = rewriter.apply(model, recipe)
    before = sum(p.numel() for p in model.parameters())
    assert sum(p.numel() for p in result.model.parameters()) <= before
    assert [site.chain for site in result.recipe.sites] == ["1", "1"]
    linears = [m for m in result.model if isinstance(m, nn.Linear)]
    assert linears[0].out_features == terms * linears[1].in_features
    assert linears[1].out_features == terms * linears[2].in_features
    assert (linears[0].in_features, linears[2].out_features) == (fan_in, fan_out)
