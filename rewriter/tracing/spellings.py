"""The names of activations: every class, function and method that means one, with its parameters."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import fx, nn


@dataclass(frozen=True)
class Activation:
    """An activation under its canonical name.

    Attributes:
        name: the canonical name, such as ``"gelu_tanh"``; for a function without one its formula in ``x``.
        parameters: constants that differ from the name's defaults, such as ``{"negative_slope": 0.2}``.
        inplace: whether this spelling overwrites its input.
    """

    name: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    inplace: bool = False

    def __str__(self) -> str:
        values = ", ".join(f"{key}={_exactly(value)}" for key, value in self.parameters.items())
        return f"{self.name}({values})" if values else self.name


def _exactly(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


# What the parameters of an activation are where none are given.
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "leaky_relu": {"negative_slope": 0.01},
    "elu": {"saturation": 1.0},
    "celu": {"saturation": 1.0},
    "hardtanh": {"min_val": -1.0, "max_val": 1.0},
    "softplus": {"beta": 1.0},
    "hardshrink": {"lambd": 0.5},
    "softshrink": {"lambd": 0.5},
    "rrelu": {"lower": 1 / 8, "upper": 1 / 3},
}

_TORCH_CLASSES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.ReLU6: "relu6",
    nn.LeakyReLU: "leaky_relu",
    nn.PReLU: "prelu",
    nn.ELU: "elu",
    nn.CELU: "celu",
    nn.SELU: "selu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Mish: "mish",
    nn.Sigmoid: "sigmoid",
    nn.Tanh: "tanh",
    nn.Softplus: "softplus",
    nn.Softsign: "softsign",
    nn.LogSigmoid: "logsigmoid",
    nn.Tanhshrink: "tanhshrink",
    nn.Hardtanh: "hardtanh",
    nn.Hardsigmoid: "hardsigmoid",
    nn.Hardswish: "hardswish",
    nn.Hardshrink: "hardshrink",
    nn.Softshrink: "softshrink",
    nn.Threshold: "threshold",
    nn.RReLU: "rrelu",
}

# Classes of other libraries are known by name, so that recognising them does not import their library.
_FOREIGN_CLASSES = {
    "timm.layers.activations.GELU": "gelu",
    "timm.layers.activations.GELUTanh": "gelu_tanh",
    "timm.layers.activations.QuickGELU": "quick_gelu",
    "timm.layers.activations.Swish": "silu",
    "timm.layers.activations.Mish": "mish",
    "timm.layers.activations.Sigmoid": "sigmoid",
    "timm.layers.activations.Tanh": "tanh",
    "timm.layers.activations.HardSwish": "hardswish",
    "timm.layers.activations.HardSigmoid": "hardsigmoid",
    "timm.layers.activations.PReLU": "prelu",
    "timm.layers.activations_me.SwishMe": "silu",
    "timm.layers.activations_me.MishMe": "mish",
    "timm.layers.activations_me.HardSigmoidMe": "hardsigmoid",
    "timm.layers.activations_me.HardSwishMe": "hardswish",
    "transformers.activations.GELUActivation": "gelu",
    "transformers.activations.GELUTanh": "gelu_tanh",
    "transformers.activations.NewGELUActivation": "gelu_tanh",
    "transformers.activations.FastGELUActivation": "gelu_tanh",
    "transformers.activations.AccurateGELUActivation": "gelu_tanh",
    "transformers.activations.QuickGELUActivation": "quick_gelu",
    "transformers.activations.SiLUActivation": "silu",
    "transformers.activations.MishActivation": "mish",
    "transformers.activations.ReLUSquaredActivation": "squared_relu",
    "transformers.models.bloom.modeling_bloom.BloomGelu": "gelu_tanh",
}

_FUNCTIONS: dict[Callable[..., Any], tuple[str, bool]] = {
    F.relu: ("relu", False),
    torch.relu: ("relu", False),
    F.relu_: ("relu", True),
    torch.relu_: ("relu", True),
    F.relu6: ("relu6", False),
    F.leaky_relu: ("leaky_relu", False),
    F.leaky_relu_: ("leaky_relu", True),
    F.elu: ("elu", False),
    F.celu: ("celu", False),
    F.selu: ("selu", False),
    torch.selu: ("selu", False),
    torch.celu: ("celu", False),
    F.elu_: ("elu", True),
    F.celu_: ("celu", True),
    F.selu_: ("selu", True),
    F.hardtanh_: ("hardtanh", True),
    torch.sigmoid_: ("sigmoid", True),
    torch.tanh_: ("tanh", True),
    F.gelu: ("gelu", False),
    F.silu: ("silu", False),
    F.mish: ("mish", False),
    F.sigmoid: ("sigmoid", False),
    torch.sigmoid: ("sigmoid", False),
    F.tanh: ("tanh", False),
    torch.tanh: ("tanh", False),
    F.softplus: ("softplus", False),
    F.softsign: ("softsign", False),
    F.logsigmoid: ("logsigmoid", False),
    F.tanhshrink: ("tanhshrink", False),
    F.hardtanh: ("hardtanh", False),
    F.hardsigmoid: ("hardsigmoid", False),
    F.hardswish: ("hardswish", False),
    F.hardshrink: ("hardshrink", False),
    F.softshrink: ("softshrink", False),
    F.threshold: ("threshold", False),
    torch.threshold: ("threshold", False),
    torch.threshold_: ("threshold", True),
    F.prelu: ("prelu", False),
    torch.prelu: ("prelu", False),
    torch.rrelu: ("rrelu", False),
    torch.rrelu_: ("rrelu", True),
    torch.selu_: ("selu", True),
    torch.celu_: ("celu", True),
    torch.threshold_: ("threshold", True),
    F.rrelu: ("rrelu", False),
    F.rrelu_: ("rrelu", True),
    F.prelu: ("prelu", False),
}

_METHODS = {
    "relu": ("relu", False),
    "relu_": ("relu", True),
    "sigmoid": ("sigmoid", False),
    "sigmoid_": ("sigmoid", True),
    "tanh": ("tanh", False),
    "tanh_": ("tanh", True),
    "hardshrink": ("hardshrink", False),
    "prelu": ("prelu", False),
}

# Operators such as ``torch.ops.aten.relu`` that have the canonical name of what they compute.
_ATEN = frozenset(
    {"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "sigmoid", "tanh", "softplus"}
    | {"hardtanh", "hardsigmoid", "hardswish"}
)

# By activation, torch's names of its parameters in their order, and the catalogue's.
_PARAMETERS: dict[str, dict[str, str]] = {
    "leaky_relu": {"negative_slope": "negative_slope"},
    "elu": {"alpha": "saturation"},
    "celu": {"alpha": "saturation"},
    "hardtanh": {"min_val": "min_val", "max_val": "max_val"},
    "softplus": {"beta": "beta"},
    "hardshrink": {"lambd": "lambd"},
    "softshrink": {"lambd": "lambd"},
    "threshold": {"threshold": "threshold", "value": "value"},
    "rrelu": {"lower": "lower", "upper": "upper"},
}

MULTIPLICATIONS: frozenset[Any] = frozenset({operator.mul, operator.imul, torch.mul, "mul", "mul_"})


def is_known_activation(module: nn.Module) -> bool:
    """Say whether a module is of a known activation class."""
    return _known_class(module) is not None


def activation_of_module(module: nn.Module) -> Activation | None:
    """Give the activation that a module computes, or None when it is of no known class."""
    name = _known_class(module)
    if name is None:
        return None
    if name == "gelu" and getattr(module, "approximate", "none") == "tanh":
        name = "gelu_tanh"
    values = {ours: getattr(module, torchs) for torchs, ours in _PARAMETERS.get(name, {}).items()}
    return Activation(name, unusual(name, values), bool(getattr(module, "inplace", False)))


def activation_of_function(node: fx.Node) -> Activation | None:
    """Give the activation that a function or method node computes, or None."""
    known = _known_call(node)
    if known is None:
        return None
    name, inplace = known
    if name == "gelu" and node.kwargs.get("approximate", "none") == "tanh":
        name = "gelu_tanh"
    names = _PARAMETERS.get(name, {})
    values = dict(zip(names.values(), node.args[1:], strict=False))
    values |= {names[key]: value for key, value in node.kwargs.items() if key in names}
    if not all(isinstance(value, int | float) for value in values.values()):
        return None
    return Activation(name, unusual(name, values), inplace or bool(node.kwargs.get("inplace", False)))


def activation_of_callable(function: object) -> Activation | None:
    """Give the activation that a plain function computes when it is called with one argument, or None."""
    try:
        name, inplace = _FUNCTIONS.get(function, (None, False))  # type: ignore[call-overload]
    except TypeError:  # a callable that cannot be hashed
        return None
    return Activation(name, {}, inplace) if name is not None else None


def unusual(name: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Give the parameters of an activation that differ from the defaults of its name."""
    defaults = DEFAULTS.get(name, {})
    return {key: float(value) for key, value in values.items() if float(value) != defaults.get(key)}


def _known_call(node: fx.Node) -> tuple[str, bool] | None:
    """Give the canonical name of a function or method node, and whether the call is one in place."""
    target = node.target
    if not callable(target):
        return _METHODS.get(target)
    if isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        operator = str(target.overloadpacket if isinstance(target, torch._ops.OpOverload) else target)
        name = operator.removeprefix("aten.").removesuffix("_")
        scaled = name == "elu" and len(node.args) > 2  # the operator that computes SELU, too
        return (name, operator.endswith("_")) if name in _ATEN and not scaled else None
    try:
        return _FUNCTIONS.get(target)
    except TypeError:  # a callable that cannot be hashed
        return None


def _known_class(module: nn.Module) -> str | None:
    """Give the canonical name of a known class; subclasses, which may differ, are none."""
    qualified = f"{type(module).__module__}.{type(module).__qualname__}"
    return _TORCH_CLASSES.get(type(module)) or _FOREIGN_CLASSES.get(qualified)
