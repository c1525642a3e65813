"""Recognition of activations by their values: what a formula computes, whatever words it is written in."""

from __future__ import annotations

import ast
import copy
import math
from collections.abc import Callable
from functools import partial
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.tracing.spellings import DEFAULTS, Activation, unusual

Function = Callable[[Tensor], Tensor]

_FUNCTIONS: Final[dict[str, Function]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "selu": F.selu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "tanhshrink": F.tanhshrink,
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "squared_relu": lambda x: F.relu(x).square(),
}
_OPERATIONS: Final[dict[type[ast.operator], Callable[[Tensor, Tensor], Tensor]]] = {
    ast.Add: torch.add,
    ast.Sub: torch.sub,
    ast.Mult: torch.mul,
    ast.Div: torch.div,
    ast.Pow: torch.pow,
}
_CALLS: Final[dict[str, Callable[..., Tensor]]] = {
    "max": torch.maximum,
    "min": torch.minimum,
    "softplus": lambda x: F.softplus(x, threshold=1000.0),
    **{name: getattr(torch, name) for name in ("exp", "log", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "atan")},
    **{name: getattr(torch, name) for name in ("erf", "sigmoid", "abs")},
}
Measure = Callable[[Callable[[float], float]], float]
# What the value at one point tells of a parameter: slopes at −1, bounds and saturations far away.
_FAMILIES: Final[dict[str, tuple[dict[str, Measure], Callable[..., Tensor]]]] = {
    "leaky_relu": ({"negative_slope": lambda f: -f(-1.0)}, F.leaky_relu),
    "elu": ({"saturation": lambda f: -f(-1000.0)}, lambda x, saturation: F.elu(x, saturation)),
    "celu": ({"saturation": lambda f: -f(-1000.0)}, lambda x, saturation: F.celu(x, saturation)),
    "hardtanh": ({"min_val": lambda f: f(-1000.0), "max_val": lambda f: f(1000.0)}, F.hardtanh),
    "softplus": ({"beta": lambda f: 0.6931471805599453 / (f(0.0) or 1e-9)}, lambda x, beta: F.softplus(x, beta, 100.0)),
    "softshrink": ({"lambd": lambda f: (lambda x: x - f(x))(2 * (1000.0 - f(1000.0)))}, F.softshrink),
    "hardshrink": ({"lambd": lambda f: _jump(f)}, F.hardshrink),
}
_TOLERANCE: Final = 1e-6


def recognised(function: Function) -> Activation | None:
    """Recognise an activation by its values on float64 points between −1000 and 1000, to 1e-6.

    Args:
        function: maps a float64 tensor to one of its shape; may raise anything.

    Returns:
        None where the values are those of no known activation, or of several.
    """
    points = sample_points()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = function(points.clone())
            if not isinstance(values, Tensor) or (values.shape, values.dtype) != (points.shape, points.dtype):
                return None
            found = [Activation(name) for name, known in _FUNCTIONS.items() if _agree(values, known(points))]
            return found[0] if found else _of_a_family(function, values, points)
    except Exception:  # a user's code may raise anything; then it is no elementwise function of one tensor
        return None


def computes(activation: Activation, function: nn.Module) -> bool:
    """Say whether a module computes the activation of a name, or of a formula, as far as float32 can tell.

    What draws random numbers, has trained parameters, or reads other values of its input is taken to.
    """
    named = _function_of(activation)
    if named is None:
        return True
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            values = copy.deepcopy(function).to("cpu", torch.float64).eval()(sample_points())
            expected = named(sample_points())
            both = values.isfinite() & expected.isfinite()  # exp overflows in one way to write a function only
            return torch.allclose(values[both].double(), expected[both], 1e-5, 1e-5)
    except Exception:  # a user's code may raise anything at points so far from 0
        return True


def _function_of(activation: Activation) -> Function | None:
    name, parameters = activation.name, activation.parameters
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    if name in _FAMILIES:
        names, known = _FAMILIES[name]
        given = {key: parameters.get(key, DEFAULTS[name][key]) for key in names}
        return partial(known, **given)
    return None if name.isidentifier() else partial(_value, ast.parse(name, mode="eval").body)


def _value(formula: ast.expr, x: Tensor) -> Tensor:
    """Compute a formula in the grammar of activations' formulas."""
    match formula:
        case ast.Name("x"):
            return x
        case ast.Name("pi"):
            return torch.tensor(math.pi, dtype=x.dtype)
        case ast.Constant(int() | float() as number):
            return torch.tensor(float(number), dtype=x.dtype)
        case ast.UnaryOp(ast.USub(), operand):
            return -_value(operand, x)
        case ast.BinOp(left, operation, right) if type(operation) in _OPERATIONS:
            return _OPERATIONS[type(operation)](_value(left, x), _value(right, x))
        case ast.Call(ast.Name(called), arguments, []) if called in _CALLS:
            return _CALLS[called](*(_value(argument, x) for argument in arguments))
    raise ValueError(ast.unparse(formula))


def sample_points() -> Tensor:
    """Give the points at which functions are compared, float64 in four dimensions."""
    near = torch.linspace(-12.6, 12.6, 228, dtype=torch.float64, device="cpu")
    far = torch.tensor([20.5, 30.0, 50.0, 100.0, 400.0, 1000.0], dtype=torch.float64, device="cpu")
    return torch.cat([near, far, -far]).reshape(2, 3, 5, 8)


def _of_a_family(function: Function, values: Tensor, points: Tensor) -> Activation | None:
    def at(point: float) -> float:
        return float(function(torch.full((1, 1, 1, 1), point, dtype=torch.float64)))

    for name, (parameters, known) in _FAMILIES.items():
        found = {key: _plain(measure(at)) for key, measure in parameters.items()}
        bounded = all(abs(value) < 1000 for value in found.values())  # else it is not seen to be bounded at all
        constant = name == "hardtanh" and found["min_val"] >= found["max_val"]
        trivial = constant or found == {"negative_slope": 1.0}  # the identity
        if bounded and not trivial and (name == "hardtanh" or all(value > 0 for value in found.values())):
            try:
                agrees = _agree(values, known(points, **found))
            except RuntimeError:  # such as bounds in the wrong order
                continue
            if agrees:
                return Activation(name, unusual(name, found))
    return None


def _plain(value: float) -> float:
    """Take off what rounding added: 0.1 for 0.09999999999999998."""
    return round(value, 14) if abs(value - round(value, 14)) <= 4e-16 * max(1.0, abs(value)) else value


def _jump(f: Callable[[float], float]) -> float:
    low, high = 0.0, 8.0
    if f(low) != 0 or f(high) != high:
        return 0.0
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if f(middle) == 0 else (low, middle)
    return low


def _agree(values: Tensor, expected: Tensor) -> bool:
    """Say whether two functions have the same values, but for far away where the first one overflows."""
    finite = values.isfinite()
    near = sample_points().abs() <= 100
    return bool(finite[near].all()) and torch.allclose(values[finite], expected[finite], _TOLERANCE, _TOLERANCE)
