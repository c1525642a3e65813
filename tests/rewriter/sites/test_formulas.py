"""Own formulas of activations: whatever elementwise code is written, its expression has the values of the code."""

from __future__ import annotations

import mpmath
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import rewriter
from passes.functions import activation
from rewriter.sites.formulas import number, written_activation
from rewriter.tracing.spellings import Activation, activation_of_module
from tests.models.written import REPLACEMENT, written_mlp

INPUT = torch.zeros(2, 4)
POINTS = torch.linspace(-3, 3, 61, dtype=torch.float64)

# Each maps a written value to another; together they use every operation that has words, in several spellings.
STEPS = [
    "({x} + 0.5)", "(0.5 - {x})", "torch.add({x}, 2)", "({x} - 1.25)", "{x} * 0.75", "(-{x})", "{x}.neg()",
    "({x} / 3)", "torch.div({x}, 2)", "{x} ** 2", "{x}.square()", "torch.pow({x}, 3)", "torch.tanh({x})",
    "torch.sigmoid({x})", "{x}.sin()", "torch.cos({x})", "torch.atan({x})", "torch.erf({x})", "{x}.abs()",
    "{x}.clamp(-1, 2)", "torch.clamp({x}, max=0.5)", "{x}.clamp_min(-0.25)", "torch.minimum({x}, torch.tensor(0.5))",
    "F.relu({x})", "F.leaky_relu({x}, 0.3)", "F.elu({x}, 0.7)", "F.softplus({x})", "F.silu({x})", "F.gelu({x})",
    "F.hardsigmoid({x})", "F.hardtanh({x}, -0.5, 1.5)", "F.mish({x})", "F.softsign({x})", "F.logsigmoid({x})",
    "F.tanhshrink({x})", "F.softshrink({x}, 0.2)", "torch.exp({x}.clamp(-3, 3))", "torch.log1p({x}.abs())",
    "torch.sqrt({x}.square() + 1)", "torch.expm1({x}.clamp(-3, 3))", "torch.exp2({x}.clamp(-3, 3))",
    "torch.reciprocal({x}.square() + 1)", "torch.rsqrt({x}.square() + 1)", "(1 / (1 + {x}.abs()))",
]  # fmt: skip
JOINED = ["({a} + {b})", "({a} - {b})", "{a} * {b}", "torch.mul({a}, {b})", "torch.maximum({a}, {b})"]


@st.composite
def expressions(draw: st.DrawFn, depth: int = 3) -> str:
    text = "h"
    for _ in range(draw(st.integers(1, depth))):
        if depth > 1 and draw(st.booleans()):
            text = f"({draw(st.sampled_from(JOINED)).format(a=text, b=draw(expressions(depth=depth - 1)))})"
        else:
            text = f"({draw(st.sampled_from(STEPS)).format(x=text)})"
    return text


def value_of(code: str, x: Tensor) -> Tensor:
    value: Tensor = eval(code, {"torch": torch, "F": torch.nn.functional, "h": x})
    return value


@settings(max_examples=40)
@given(expressions())
def test_the_formula_of_any_code_has_the_values_of_the_code(code: str) -> None:
    for site in rewriter.capture(written_mlp(f"y = {code}"), INPUT).sites:
        assert site.producer == "fc1"
        assert site.original is not None
        try:
            function = activation(site.activation.name, **site.activation.parameters)
        except rewriter.UsageError:
            continue  # longer than formulas may be, which methods refuse
        values = function(POINTS)
        torch.testing.assert_close(values, site.original()(POINTS), rtol=1e-6, atol=1e-6)
        outside = site.kind != "mlp" or site.activation.name.isidentifier()  # scales by numbers are left in the code
        if not outside:
            torch.testing.assert_close(values, value_of(code, POINTS), rtol=1e-6, atol=1e-6)


@settings(max_examples=20)
@given(expressions())
def test_what_is_the_whole_code_is_replaced_as_a_whole(code: str) -> None:
    model, x = written_mlp(f"y = {code}"), torch.randn(5, 4)
    sites = rewriter.capture(model, INPUT).sites
    h = model.fc1(x)
    if [1 for site in sites if site.original and torch.allclose(site.original()(h), value_of(code, h), atol=1e-6)]:
        result = rewriter.rewrite(model, "swap", activation=REPLACEMENT, example_inputs=INPUT)
        torch.testing.assert_close(result.model(x), model.expected(x))


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_number_is_read_back_exactly(value: float) -> None:
    assert eval(number(value)) == value


@pytest.mark.parametrize(
    "module",
    [
        torch.nn.ReLU(), torch.nn.ReLU6(), torch.nn.LeakyReLU(1 / 3), torch.nn.Hardtanh(-0.3, 2),
        torch.nn.Hardsigmoid(),
        torch.nn.Hardswish(), torch.nn.ELU(0.7), torch.nn.Sigmoid(), torch.nn.Tanh(), torch.nn.Softplus(2.0),
        torch.nn.Softsign(), torch.nn.SiLU(), torch.nn.Mish(), torch.nn.GELU(), torch.nn.GELU("tanh"),
        torch.nn.LogSigmoid(), torch.nn.Tanhshrink(), torch.nn.Softshrink(0.3),
    ],
    ids=str,
)  # fmt: skip
def test_a_known_activation_is_written_with_its_parameters(module: torch.nn.Module) -> None:
    found = activation_of_module(module)
    assert found is not None
    text = written_activation(found, "x")
    assert text is not None
    words = {"max": sympy.Max, "min": sympy.Min, "abs": sympy.Abs, "softplus": lambda v: sympy.log(1 + sympy.exp(v))}
    words["sigmoid"] = lambda v: 1 / (1 + sympy.exp(-v))
    formula = sympy.sympify(text, locals=words)
    for x in (-2.3, -0.4, 0.0, 0.2, 1.7):
        exact = mpmath.mpf(sympy.N(formula.subs("x", sympy.Float(x, 30)), 30))
        assert float(module(torch.tensor(x, dtype=torch.float64))) == pytest.approx(float(exact), abs=1e-7)


def test_what_the_grammar_has_no_words_for_is_not_written() -> None:
    assert written_activation(Activation("rrelu"), "x") is None
