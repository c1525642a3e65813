"""Elementwise operations: which there are, and how they are written in the grammar of activations' formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
from torch import fx

from rewriter.tracing.spellings import DEFAULTS, Activation

Write = Callable[..., str]


def number(value: float) -> str:
    """Write a number so that it is read back exactly."""
    text = repr(int(value)) if float(value).is_integer() and abs(value) < 1e12 else repr(float(value))
    return f"({text})" if value < 0 else text


def _clamp(x: str, low: str = "", high: str = "") -> str:
    bounded = f"max({x},{low})" if low else x
    return f"min({bounded},{high})" if high else bounded


# In the order of torch's arguments; None: the function jumps, or has no words in the grammar.
_WRITTEN: Final[Mapping[str, Write | None]] = {
    "add": lambda a, b: f"({a}+{b})",
    "sub": lambda a, b: f"({a}-{b})",
    "mul": lambda a, b: f"{a}*{b}",
    "div": lambda a, b: f"{a}/({b})",
    "neg": lambda a: f"(-{a})",
    "pow": lambda a, b: f"({a})**{b}",
    "square": lambda a: f"({a})**2",
    "reciprocal": lambda a: f"1/({a})",
    "rsqrt": lambda a: f"1/sqrt({a})",
    "expm1": lambda a: f"(exp({a})-1)",
    "log1p": lambda a: f"log(1+{a})",
    "exp2": lambda a: f"exp(log(2)*{a})",
    **{name: f"{name}({{}})".format for name in ("exp", "log", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "atan")},
    **{name: f"{name}({{}})".format for name in ("erf", "sigmoid", "abs")},
    "clamp": _clamp,
    "clamp_min": lambda a, b: f"max({a},{b})",
    "clamp_max": lambda a, b: f"min({a},{b})",
    "maximum": lambda a, b: f"max({a},{b})",
    "minimum": lambda a, b: f"min({a},{b})",
    **dict.fromkeys(("where", "gt", "lt", "ge", "le", "eq", "ne", "sign", "masked_fill", "heaviside", "logical_not")),
}
_OTHER_NAMES: Final = {
    "truediv": "div",
    "true_divide": "div",
    "negative": "neg",
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "iadd": "add",
    "isub": "sub",
    "imul": "mul",
    "itruediv": "div",
    "ipow": "pow",
    "special_erf": "erf",
    "special_expit": "sigmoid",
    "special_expm1": "expm1",
    "special_log1p": "log1p",
    "special_exp2": "exp2",
    "absolute": "abs",
    "arctan": "atan",
    "clip": "clamp",
    "max": "maximum",
    "min": "minimum",
    "greater": "gt",
    "less": "lt",
    "float_power": "pow",
}
_COPIES: Final = frozenset({"float", "double", "half", "bfloat16", "to", "type", "type_as", "clone", "contiguous"})
_LINEAR: Final = frozenset({"add", "sub", "neg", *_COPIES})
_CONSTANTS: Final = frozenset(
    {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full", "new_tensor", "zeros", "ones", "full"}
    | {"tensor", "as_tensor", "scalar_tensor"}
)
_ACTIVATIONS: Final[Mapping[str, str]] = {
    "relu": "max({x},0)",
    "relu6": "min(max({x},0),6)",
    "leaky_relu": "(max({x},0)+{negative_slope}*min({x},0))",
    "hardtanh": "min(max({x},{min_val}),{max_val})",
    "hardsigmoid": "min(max({x}+3,0),6)/6",
    "hardswish": "{x}*min(max({x}+3,0),6)/6",
    "elu": "(max({x},0)+{saturation}*(exp(min({x},0))-1))",
    "sigmoid": "sigmoid({x})",
    "tanh": "tanh({x})",
    "softplus": "softplus({beta}*{x})/{beta}",
    "softsign": "{x}/(1+abs({x}))",
    "silu": "{x}*sigmoid({x})",
    "quick_gelu": "{x}*sigmoid(1.702*{x})",
    "mish": "{x}*tanh(softplus({x}))",
    "gelu": "{x}*(1+erf({x}/sqrt(2)))/2",
    "gelu_tanh": "{x}*(1+tanh(sqrt(2/pi)*({x}+0.044715*{x}**3)))/2",
    "logsigmoid": "(-softplus(-{x}))",
    "tanhshrink": "({x}-tanh({x}))",
    "softshrink": "({x}-min(max({x},-{lambd}),{lambd}))",
    "squared_relu": "max({x},0)**2",
}


def name_of(node: fx.Node) -> str:
    """Give the plain name of what a function or method node calls, the same for all its spellings, else ""."""
    target: Any = node.target
    if node.op not in ("call_function", "call_method"):
        return ""
    if isinstance(target, torch._ops.OpOverload):
        target = target._schema.name.rpartition("::")[2]
    name = target if isinstance(target, str) else str(getattr(target, "__name__", ""))
    name = name.removesuffix("_")
    if name in ("max", "min") and len(node.args) + len(node.kwargs) < 2:
        return ""  # of all values
    return _OTHER_NAMES.get(name, name)


def is_elementwise(node: fx.Node) -> bool:
    """Say whether a function or method node computes every value from the one in its place."""
    name = name_of(node)
    if name in _COPIES or name in _WRITTEN:
        return not (name in ("maximum", "minimum") and "dim" in node.kwargs)
    return False


def is_copy(node: fx.Node) -> bool:
    """Say whether a node gives the values as they are, at most in another dtype."""
    return name_of(node) in _COPIES


def makes_constants(node: fx.Node) -> bool:
    """Say whether a node makes a tensor whose values depend on no other values."""
    return name_of(node) in _CONSTANTS


def is_linear(node: fx.Node) -> bool:
    """Say whether an elementwise node with one varying argument adds, scales or copies."""
    name = name_of(node)
    if name == "div":
        return len(node.args) == 2 and not isinstance(node.args[1], fx.Node)
    return name in _LINEAR or (name == "mul" and len(node.all_input_nodes) < 2 and len(set(node.args)) > 1)


def scales(node: fx.Node) -> bool:
    """Say whether a node multiplies or divides one value by a number."""
    one = len(node.all_input_nodes) == 1 and len(node.args) == 2
    return one and ((name_of(node) == "mul" and not all(isinstance(a, fx.Node) for a in node.args)) or is_divided(node))


def is_divided(node: fx.Node) -> bool:
    """Say whether a node divides a value by a number."""
    return name_of(node) == "div" and isinstance(node.args[0], fx.Node) and not isinstance(node.args[1], fx.Node)


def written(node: fx.Node, arguments: list[str], keywords: Mapping[str, str]) -> str | None:
    """Write what a node computes from written arguments; None where the grammar has no words for it."""
    name = name_of(node)
    if name in _COPIES:
        return arguments[0]
    write = _WRITTEN.get(name)
    if write is None:
        return None
    if name == "clamp":
        bounds = [keywords.get("min", ""), keywords.get("max", "")]
        given = [*arguments[1:], *bounds[len(arguments) - 1 :]]
        return write(arguments[0], *("" if text == "None" else text for text in given))
    if keywords:
        return None
    return write(*arguments)


def written_activation(activation: Activation, x: str) -> str | None:
    """Write an activation of a written value; None where the grammar has no words for it."""
    form = _ACTIVATIONS.get(activation.name)
    if form is None:
        return None
    values = {
        key: number(value) for key, value in {**DEFAULTS.get(activation.name, {}), **activation.parameters}.items()
    }
    return form.format(x=f"({x})", **values)
