from __future__ import annotations

import pytest

from passes.evaluation.symbols import variables
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.grammar import parse_expression
from passes.pictures.wording import in_words


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("relu", "{x if x > 0, 0 otherwise}"),
        ("hardtanh", "{min_val if x ≤ min_val, max_val if x ≥ max_val, x otherwise}"),
        ("selu", "{1.0507*x if x > 0, 1.7581*exp(x) - 1.7581 otherwise}"),
        ("quick_gelu", "x*sigmoid(1.702*x)"),
        ("softsign", "x/(Abs(x) + 1)"),
    ],
)
def test_pieces_comparisons_and_long_numbers_are_written_for_people(name: str, text: str) -> None:
    assert in_words(catalogue_entry(name).expression) == text


def test_a_split_variable_comes_first_in_its_comparison() -> None:
    assert in_words(parse_expression("x1*relu(x2)", variables(2))) == "x1*{x2 if x2 > 0, 0 otherwise}"


def test_conditions_are_joined_by_words() -> None:
    assert in_words(catalogue_entry("hardsigmoid").expression.diff()) == "{0 if x ≤ -3 or x ≥ 3, 1/6 otherwise}"


@pytest.mark.parametrize("name", activation_names())
def test_every_function_fits_on_a_line(name: str) -> None:
    text = in_words(catalogue_entry(name).expression)
    assert len(text) < 80
    assert "Piecewise" not in text
