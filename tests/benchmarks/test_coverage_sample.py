"""The fixed sample of the zoo: planned and rewritten, every promise checked."""

from __future__ import annotations

import pytest

from benchmarks.ci_sample import CI_SAMPLE, NOT_REWRITTEN
from benchmarks.identity_check import check_identity
from benchmarks.plan_check import check_plan
from benchmarks.rewrite_check import check_rewrite
from benchmarks.zoo import zoo
from benchmarks.zoo_model import ZooModel

SAMPLE = [model for library in CI_SAMPLE for model in zoo(library, "ci")]


def label(model: ZooModel) -> str:
    return f"{model.library}:{model.name}"


def test_the_sample_names_models_that_exist() -> None:
    named = [f"{library}:{name}" for library, names in CI_SAMPLE.items() for name in names]
    assert sorted(map(label, SAMPLE)) == sorted(named)


@pytest.mark.parametrize("model", SAMPLE, ids=label)
def test_every_activation_that_runs_is_a_site_or_a_miss(model: ZooModel) -> None:
    row = check_plan(model)
    assert row.crash == ""
    assert row.executed
    assert row.never_seen == "[]"


@pytest.mark.parametrize("model", SAMPLE, ids=label)
def test_a_rewritten_model_keeps_every_promise_or_says_why_it_is_not_rewritten(model: ZooModel) -> None:
    row = check_rewrite(model, "hdfgd")
    if row.outcome == "no site":  # no MLP, or none whose activation has a decomposition
        row = check_rewrite(model, "ga")
    if label(model) in NOT_REWRITTEN:
        assert row.outcome == "no site"
        assert NOT_REWRITTEN[label(model)] in row.reason
    else:
        assert (row.outcome, row.reason) == ("ok", "")


@pytest.mark.parametrize("model", SAMPLE, ids=label)
def test_a_rewrite_with_the_functions_that_there_are_changes_no_bit(model: ZooModel) -> None:
    row = check_identity(model)
    if label(model) in NOT_REWRITTEN:
        assert row.outcome == "no site"
    else:
        assert (row.outcome, row.reason) == ("ok", "")
        assert "eval" in row.modes
