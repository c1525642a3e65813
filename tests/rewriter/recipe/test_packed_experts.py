"""The budget of packed experts counts every expert's weights, and the shared function's coefficients once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rewriter.packed_experts import PackedExperts
from rewriter.recipe import RewriteOptions
from rewriter.recipe.packed_experts import experts_record, experts_shape
from rewriter.recipe.widths import hidden_widths

sizes = st.integers(1, 40)


@given(sizes, sizes, sizes, st.integers(2, 4), st.sampled_from([None, 0, 1]), st.integers(0, 60), st.integers(0, 3))
def test_the_matched_width_is_the_largest_whose_real_parameters_fit(
    experts: int, width: int, hidden: int, branches: int, half: int | None, coefficients: int, freed: int
) -> None:
    packed = PackedExperts("into", "out", False, half, experts, width, hidden, width)
    chosen = hidden_widths(experts_shape(packed, branches, freed=freed, coefficients=coefficients), RewriteOptions())
    fitting = [h for h in range(1, hidden + 1) if _after(packed, branches, h, coefficients) <= _before(packed) + freed]
    assert chosen == ((max(fitting),) if fitting else None)


@given(sizes, sizes, sizes, sizes, st.integers(2, 4), st.sampled_from([None, 0, 1]))
def test_a_record_counts_the_weights_of_all_experts(
    experts: int, width: int, hidden: int, new: int, branches: int, half: int | None
) -> None:
    packed = PackedExperts("into", "out", False, half, experts, width, hidden, width)
    record = experts_record("experts", packed, branches, new)
    assert (record.parameters_before, record.parameters_after) == (_before(packed), _after(packed, branches, new, 0))


def _before(packed: PackedExperts) -> int:
    return _after(packed, 1, packed.hidden, 0)


def _after(packed: PackedExperts, branches: int, hidden: int, coefficients: int) -> int:
    into = packed.shape("into", values=(branches + packed.gated) * hidden, hidden=hidden)
    out = packed.shape("out", values=0, hidden=hidden)
    return into[0] * into[1] * into[2] + out[0] * out[1] * out[2] + coefficients
