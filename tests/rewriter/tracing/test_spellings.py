"""Every activation class of torch, timm and transformers, held against the catalogue by its values."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.nn.modules import activation as torch_activations

from passes.functions import activation, activation_names
from rewriter.tracing.spellings import activation_of_module

# Beyond 10, where transformers clips a GELU.
POINTS = torch.linspace(-12.6, 12.6, 421)
ANOTHER_FUNCTION = "computes a function that the catalogue does not have"
SEVERAL_VALUES = "makes an output of several inputs, not elementwise"
IDENTITY = "is the identity, which tracing passes through"

# Known by name, so that they are found and listed, but no smooth or continuous function that methods could work with.
NAMED_ONLY = {"Threshold": "threshold", "Hardshrink": "hardshrink", "RReLU": "rrelu"}
UNRECOGNISED = {
    "GLU": SEVERAL_VALUES,
    "MultiheadAttention": SEVERAL_VALUES,
    "Softmin": SEVERAL_VALUES,
    "Softmax": SEVERAL_VALUES,
    "Softmax2d": SEVERAL_VALUES,
    "LogSoftmax": SEVERAL_VALUES,
    "HardMish": ANOTHER_FUNCTION,
    "HardMishMe": ANOTHER_FUNCTION,
    "ClippedGELUActivation": ANOTHER_FUNCTION,
    "LaplaceActivation": ANOTHER_FUNCTION,
    "SqrtSoftplusActivation": ANOTHER_FUNCTION,
    "XIELUActivation": ANOTHER_FUNCTION,
    "LinearActivation": IDENTITY,
}
ARGUMENTS: dict[str, tuple[float, ...]] = {"Threshold": (0.5, 0.0), "MultiheadAttention": (2, 1)}


def classes_of(module: ModuleType) -> list[type[nn.Module]]:
    """The module classes that a Python module defines itself."""
    found = [value for _, value in inspect.getmembers(module, inspect.isclass) if value.__module__ == module.__name__]
    return [one for one in found if issubclass(one, nn.Module)]


def variants(library: str) -> list[nn.Module]:
    """One module of each activation class of a library, and of each of its configurations that have a name."""
    if library == "torch":
        classes = classes_of(torch_activations)
        assert {one.__name__ for one in classes} == set(torch_activations.__all__)
        return [*(one(*ARGUMENTS.get(one.__name__, ())) for one in classes), nn.GELU(approximate="tanh")]
    if library == "timm":
        modules = [pytest.importorskip(f"timm.layers.{name}") for name in ("activations", "activations_me")]
        return [one() for module in modules for one in classes_of(module)]
    table = pytest.importorskip("transformers.activations").ACT2FN
    return [table[name] for name in table]


def agreeing(module: nn.Module) -> set[str]:
    """The activations of the catalogue that have the same values as a module to 1e-5, at their own defaults."""
    values = module.eval()(POINTS)
    return {name for name in activation_names() if torch.allclose(activation(name)(POINTS), values, atol=1e-5)}


@pytest.mark.parametrize("library", ["torch", "timm", "transformers"])
def test_every_class_that_computes_a_function_of_the_catalogue_is_recognised_as_it(library: str) -> None:
    for module in variants(library):
        if type(module).__name__ in UNRECOGNISED.keys() | NAMED_ONLY.keys():
            continue
        found = activation_of_module(module)
        assert found is not None, f"{type(module).__name__} is neither recognised nor listed with a reason"
        function = activation(found.name, **found.parameters)
        assert torch.allclose(function(POINTS), module(POINTS), atol=1e-5), f"{type(module).__name__} is not {found}"


@pytest.mark.parametrize("library", ["torch", "timm", "transformers"])
def test_no_class_that_is_listed_with_a_reason_is_recognised_or_in_the_catalogue(library: str) -> None:
    for module in variants(library):
        reason = UNRECOGNISED.get(type(module).__name__)
        if reason is None:
            continue
        assert activation_of_module(module) is None
        if reason in (ANOTHER_FUNCTION, IDENTITY):
            assert agreeing(module.float()) == ({"identity"} if reason == IDENTITY else set())


@pytest.mark.parametrize("kind", NAMED_ONLY)
def test_a_class_outside_the_catalogue_has_a_name_that_the_catalogue_has_not(kind: str) -> None:
    module = getattr(nn, kind)(*ARGUMENTS.get(kind, ()))
    found = activation_of_module(module)
    assert found is not None
    assert found.name == NAMED_ONLY[kind]
    assert found.name not in activation_names()
    assert agreeing(module) == set()


def test_the_parameters_of_a_class_reach_the_function_it_is_recognised_as() -> None:
    for module in (
        nn.LeakyReLU(0.3), nn.ELU(0.4), nn.CELU(0.4), nn.Hardtanh(-0.5, 2.5), nn.Softplus(2.0),
    ):  # fmt: skip
        found = activation_of_module(module)
        assert found is not None
        assert torch.allclose(activation(found.name, **found.parameters)(POINTS), module(POINTS), atol=1e-5)
        assert not torch.allclose(activation(found.name)(POINTS), module(POINTS), atol=1e-5)
