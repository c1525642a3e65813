"""The expression that a user means by an activation: a name of the catalogue, or a formula in ``x``."""

from __future__ import annotations

from collections.abc import Mapping

import sympy

from passes.evaluation.symbols import x
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.grammar import parse_expression
from rewriter.errors import UsageError


def activation_expression(text: str, parameters: Mapping[str, float]) -> sympy.Expr:
    """Return an activation's expression in ``x``.

    Args:
        text: a canonical name of the catalogue, or a formula such as ``"log(1+exp(x))"``.
        parameters: the activation's parameters, by name; a formula has none.

    Raises:
        UsageError: an unknown name or parameter, or a formula outside the grammar or undefined somewhere.
    """
    if text in activation_names() or (text.isidentifier() and text != x.name):
        return catalogue_entry(text).at(parameters)
    if parameters:
        raise UsageError(
            expected=f"no parameters for {text}", found=", ".join(parameters), remedy="write them into the formula"
        )
    return parse_expression(text, (x,))
