"""Every deliberate fault is real, and is found; without it the same models pass."""

from __future__ import annotations

import pytest

from benchmarks.check_faults import Results, results_of, smallest_error, sound, try_fault
from benchmarks.fault_models import MODELS
from benchmarks.faults import FAULTS, Fault, put_in

CASES = [pytest.param(fault, name, id=f"{fault.name}-{name}") for fault in FAULTS for name in fault.models]
NAMED = {"blocks": ("first.1",), "two readers": ("act",), "gated": ("(model):silu",), "convolutions": ("act", "stem.2")}


def test_there_are_faults_enough_and_each_is_another_one() -> None:
    assert len(FAULTS) >= 20
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize(("fault", "name"), CASES)
def test_a_fault_is_real_and_found(fault: Fault, name: str) -> None:
    row = try_fault(fault, name)
    assert row.without_check
    assert row.real
    assert row.found == "check", row
    assert row.named in NAMED.get(name, (row.named,))
    assert row.named


@pytest.mark.parametrize("name", MODELS)
def test_without_faults_the_models_pass(name: str) -> None:
    refused = name in ("overwritten", "two modes", "noisy gate")
    assert (sound(name) == []) == refused


def test_a_fault_is_taken_out_again() -> None:
    from rewriter.sites.hidden_flow import HiddenFlow

    right = HiddenFlow.down
    with put_in(FAULTS[0]):
        assert HiddenFlow.down is not right
    assert HiddenFlow.down is right


def test_an_error_of_a_hundred_millionth_is_noticed() -> None:
    assert smallest_error("blocks") <= 1e-8


def test_the_page_says_how_many_are_found_and_where() -> None:
    row = try_fault(FAULTS[0], FAULTS[0].models[0])
    results = results_of([row], {"blocks": ["ga"]}, {"blocks": 1e-8}, "python -m benchmarks.check_faults")
    assert isinstance(results, Results)
    page = results.page()
    assert "1 of 1 are found" in page
    assert row.fault in page
    assert "commit" in page
