"""The account of the activation calls: nothing is lost, and only documented reasons are out of scope."""

from __future__ import annotations

import json

from benchmarks.refusal_table import account, refusal_lines
from rewriter.sites.out_of_scope import GATE, UNFED

ROWS = [
    {"sites": "6", "reasons": json.dumps({GATE.reason: 2, GATE.because("its two layers differ"): 1}), "never_seen": ""},
    {"sites": "0", "reasons": json.dumps({UNFED.because("ReLU"): 4, "it follows fft | x": 5}), "never_seen": '["a"]'},
]


def test_every_activation_is_counted_once_and_details_do_not_split_a_reason() -> None:
    found = account(ROWS)
    assert found.beyond == {GATE.reason: 3, UNFED.reason: 4}
    assert found.refused == {"it follows fft | x": 5}
    assert found.total == 6 + 3 + 4 + 5 + 1
    assert found.refused_share == 6 / 19


def test_the_page_shows_the_share_and_both_lists() -> None:
    lines = refusal_lines(ROWS)
    assert "31.58% of all." in "\n".join(lines)
    assert f"| 3 | {GATE.reason} |" in lines
    assert "| 5 | it follows fft \\| x |" in lines


def test_models_without_activations_have_no_share() -> None:
    assert account([]).refused_share == 0.0
