from __future__ import annotations

from typing import Any

import numpy as np

AXES = {f"n{number}": np.array([number]) for number in range(4)}


def test_sizes_that_are_known_are_constants_and_the_others_are_asked_for(rewrite: Any) -> None:
    body = (
        "s = Shape(x) batch = Slice(s, n0, n1) rows = Slice(s, n1, n2) columns = Slice(s, n2, n3)"
        " flat = Concat<axis = 0>(batch, columns, rows) y = Reshape(x, flat)"
        " fixed = Concat<axis = 0>(rows, columns) z = Expand(n2f, fixed)"
    )
    constants = AXES | {"n2f": np.array(2, dtype=np.float32)}
    signature = "(float[batch, 2, 5] x) => (float[batch, 5, 2] y, float[2, 5] z)"
    found = rewrite(body, constants, signature)
    assert found.operations == ["Shape", "Slice", "Concat", "Reshape", "Expand"]
    found.require_agreement()
