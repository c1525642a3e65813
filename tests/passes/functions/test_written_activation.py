from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from passes.evaluation.symbols import x
from passes.functions import activation, adversarial
from passes.functions.grammar import parse_expression
from passes.functions.written_activation import FormulaActivation, activation_expression, activation_slope
from rewriter.errors import UsageError

# Formulas, and the same functions spelled with torch.
SPELLED: dict[str, Callable[[Tensor], Tensor]] = {
    "x*sigmoid(2*x)": lambda t: t * torch.sigmoid(2 * t),
    "tanh(max(x,0))": lambda t: torch.tanh(torch.relu(t)),
    "max(x,0)**3/6": lambda t: torch.relu(t) ** 3 / 6,
    "x*tanh(log(1+exp(x)))": nn.functional.mish,
    "x/(1+exp(-x))": nn.functional.silu,
    "max(min(x,1),-1)": nn.functional.hardtanh,
    "max(tanh(x),x**3)": lambda t: torch.maximum(torch.tanh(t), t**3),
    "x": lambda t: t.clone(),
}
POINTS = torch.linspace(-6.1, 6.3, 997, dtype=torch.float64)


def value_and_gradient(function: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    at = points.clone().requires_grad_()
    value = function(at)
    (gradient,) = torch.autograd.grad(value.sum(), at)
    return value.detach(), gradient


@pytest.mark.parametrize("count", [997, 2**15])
@pytest.mark.parametrize("text", SPELLED)
def test_a_formula_has_the_values_and_gradients_of_the_function_that_it_spells(text: str, count: int) -> None:
    points = torch.linspace(-6.1, 6.3, count, dtype=torch.float64)
    for found, expected in zip(
        value_and_gradient(activation(text), points), value_and_gradient(SPELLED[text], points), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("text", SPELLED)
def test_a_formula_is_that_of_mpmath(exactly: Any, text: str) -> None:
    exact = exactly(parse_expression(text, (x,)))
    with mpmath.workdps(30):
        expected = [float(exact(point)) for point in POINTS[::31].tolist()]
    torch.testing.assert_close(activation(text)(POINTS[::31]).tolist(), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("count", [999, 2**15])
def test_half_precision_is_computed_in_single_precision(dtype: torch.dtype, count: int) -> None:
    points = torch.linspace(-9, 9, count).to(dtype)
    value, gradient = value_and_gradient(activation("x*sigmoid(2*x)"), points)
    single, slope = value_and_gradient(activation("x*sigmoid(2*x)"), points.float())
    assert value.dtype == gradient.dtype == dtype
    assert torch.equal(value, single.to(dtype))
    torch.testing.assert_close(gradient.float(), slope, rtol=2 * torch.finfo(dtype).eps, atol=1e-6)


def test_float16_saturates_instead_of_overflowing() -> None:
    assert activation("max(x,0)**3")(torch.tensor([300.0], dtype=torch.float16)).tolist() == [65504.0]


@pytest.mark.parametrize("text", ["x*sigmoid(2*x)", "x*exp(-x**2)"])
def test_second_derivatives_are_those_of_finite_differences(text: str) -> None:
    points = torch.linspace(-3, 3, 13, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activation(text), points)
    assert torch.autograd.gradgradcheck(activation(text), points)


def test_the_gradient_is_finite_where_the_piece_that_is_not_taken_has_none() -> None:
    _, gradient = value_and_gradient(activation("max(x,0)**1.5"), torch.tensor([-4.0, -1.0, 0.0, 4.0]))
    assert gradient.tolist() == [0.0, 0.0, 0.0, 3.0]


@pytest.mark.parametrize("text", ["log(1+exp(x))", "x/(1+exp(-x))", "exp(2*x)/(exp(2*x)+1)", "exp(x)/(1+exp(x))**2"])
def test_logistic_functions_in_pieces_do_not_overflow(exactly: Any, text: str) -> None:
    far = torch.tensor([-1e4, -200.0, 200.0, 1e4])
    for function in (activation(text), adversarial(text)):
        value, gradient = value_and_gradient(function, far)
        assert value.isfinite().all()
        assert gradient.isfinite().all()
    assert all(
        abs(exactly(activation_expression(text, {}))(point) - exactly(parse_expression(text, (x,)))(point)) < 1e-25
        for point in (-3.3, 0.2, 4.1)
    )


@pytest.mark.parametrize("text", ["exp(x) + 1", "1/(2+exp(x))", "exp(x)*sigmoid(x)", "log(2+exp(x))", "1/(1+x**2)"])
def test_what_is_not_logistic_stays_as_it_is_written(text: str) -> None:
    assert activation_expression(text, {}) == parse_expression(text, (x,))


def test_a_formula_has_no_state_and_tells_its_text() -> None:
    module = activation("x*sigmoid(2*x)")
    assert isinstance(module, FormulaActivation)
    assert module.state_dict() == {}
    assert repr(module) == "FormulaActivation(x*sigmoid(2*x))"


def test_a_name_gives_the_module_of_the_catalogue() -> None:
    assert type(activation("silu")) is nn.SiLU


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hardshrink", "expected a known activation; found 'hardshrink'"),
        ("x*sigmod(x)", "did you mean 'sigmoid'"),
        ("x*sigmoid(", "found 'x\\*sigmoid\\('"),
        ("y*sigmoid(y)", "name in an expression"),
        ("x/abs(x)", "x = 0"),
        ("x**20", "exponent between"),
        ("+".join(["x"] * 300), "at most 400 characters"),
    ],
)
def test_what_is_neither_a_name_nor_a_formula_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        activation(text)
    with pytest.raises(UsageError, match=message):
        activation_slope(text, {})


def test_a_formula_takes_no_parameters() -> None:
    with pytest.raises(UsageError, match="no parameters"):
        activation("x*sigmoid(2*x)", beta=2.0)


@pytest.mark.parametrize("make", [lambda text: activation_slope(text, {}), adversarial])
def test_a_slope_that_is_no_number_far_out_is_refused(make: Callable[[str], object]) -> None:
    with pytest.raises(UsageError, match=r"slope in float32 up to x = ±10000; found none at x = -10000 in"):
        make("x + (1-exp(-x))/(1+exp(-x))")


class Both(nn.Module):
    """Formulas on the same input."""

    def __init__(self) -> None:
        super().__init__()
        self.functions = nn.ModuleList(activation(text) for text in SPELLED)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(function(x) for function in self.functions)


SHAPED = torch.linspace(-9, 9, 48).reshape(6, 8)
OTHER = SHAPED.flip(0) / 2 + 0.1


def agree(found: Any, rtol: float = 1e-6) -> None:
    for text, own, exact in zip(SPELLED, found, Both()(OTHER), strict=True):
        assert torch.allclose(torch.as_tensor(own), exact, rtol=rtol, atol=1e-6), text


@pytest.mark.filterwarnings("ignore:.torch.jit:FutureWarning")
def test_torchscript_trace_agrees_after_saving() -> None:
    stream = io.BytesIO()
    torch.jit.save(torch.jit.trace(Both(), SHAPED), stream)
    stream.seek(0)
    agree(torch.jit.load(stream)(OTHER))


def test_symbolic_trace_agrees() -> None:
    agree(torch.fx.symbolic_trace(Both())(OTHER))


@pytest.mark.parametrize("strict", [False, True])
def test_exported_program_agrees(strict: bool) -> None:
    shapes = ({0: torch.export.Dim("batch")},)
    agree(torch.export.export(Both(), (SHAPED,), dynamic_shapes=shapes, strict=strict).module()(OTHER))


def test_onnx_has_standard_operators_and_agrees(tmp_path: Path) -> None:
    path = str(tmp_path / "both.onnx")
    torch.onnx.export(Both().eval(), (SHAPED,), path, dynamo=True, verbose=False)
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    agree(session.run(None, {session.get_inputs()[0].name: OTHER.numpy()}), rtol=1e-5)
