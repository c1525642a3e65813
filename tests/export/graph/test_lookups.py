from __future__ import annotations

from typing import Any

import numpy as np

TABLE = np.arange(12, dtype=np.float32).reshape(3, 4)
FLAT = np.array([-1], dtype=np.int64)
LOOKUP = (
    "a = Abs(x) b = Min(a, most) i = Cast<to = 6>(b) f = Reshape(i, flat) j = Cast<to = 7>(f)"
    " row = Gather(table, one) g = Gather(row, j) v = Reshape(g, cube) y = Sqrt(v)"
)


def test_values_that_get_another_shape_than_the_indices_keep_their_reshape(rewrite: Any) -> None:
    constants = {"table": TABLE, "one": np.array(1, dtype=np.int64), "flat": FLAT, "cube": np.array([2, 1, 2])}
    constants["most"] = np.array(3, dtype=np.float32)
    found = rewrite(LOOKUP, constants, "(float[1, 2, 2] x) => (float[2, 1, 2] y)")
    assert "Reshape" in found.operations
    found.require_agreement()


def test_the_rows_of_a_table_are_its_constants(rewrite: Any) -> None:
    constants = {"table": TABLE, "one": np.array(1, dtype=np.int64), "flat": FLAT, "cube": np.array([1, 2, 2])}
    constants["most"] = np.array(3, dtype=np.float32)
    found = rewrite(LOOKUP, constants, "(float[1, 2, 2] x) => (float[1, 2, 2] y)")
    assert found.operations == ["Abs", "Min", "Cast", "Gather", "Sqrt"]
    assert [array.tolist() for array in found.constants.values() if array.ndim] == [TABLE[1].tolist()]
    found.require_agreement()
