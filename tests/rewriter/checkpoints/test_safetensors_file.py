"""Headers of safetensors files that lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save, save_file

from rewriter.checkpoints.boxes import require_cover
from rewriter.checkpoints.reading import read_state_dict, stored_tensors
from rewriter.checkpoints.safetensors_file import DTYPES
from rewriter.errors import CheckpointError

ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def written(path: Path, header: Any, data: bytes = bytes(8), *, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
    return path


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"a": ENTRY | {"data_offsets": [0, 4]}}, "4 bytes for 8"),
        ({"a": ENTRY | {"data_offsets": [8, 0]}}, "-8 bytes for 8"),
        ({"a": ENTRY | {"data_offsets": [-8, 0]}}, "no sizes"),
        ({"a": ENTRY | {"data_offsets": [8, 16]}}, "at byte"),
        ({"a": ENTRY, "b": ENTRY}, "at byte"),
        ({"a": ENTRY | {"shape": [-2]}}, "no sizes"),
        ({"a": ENTRY | {"shape": [True, 2]}}, "no sizes"),
        ({"a": ENTRY | {"shape": [2.0]}}, "no sizes"),
        ({"a": ENTRY | {"shape": [2**62, 2**62], "data_offsets": [0, 8]}}, "8 bytes for"),
        ({"a": ENTRY | {"shape": [1] * 65}}, "no sizes"),
        ({"a": ENTRY | {"dtype": "F4"}}, "of the dtype 'F4'"),
        ({"a": ENTRY | {"dtype": ["F32"]}}, "of the dtype"),
        ({"a": ENTRY | {"more": 1}}, "without dtype, shape and data_offsets"),
        ({"a": 3}, "without dtype, shape and data_offsets"),
        ({"__metadata__": {"a": 1}}, "no dict of strings"),
        ({}, "up to byte"),
        (b'{"a": {"dtype": "F32", "dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', "twice"),
        (b'{"a": NaN}', "without dtype"),
        (b'{"a": "\xff"}', "codec"),
    ],
)
def test_header_that_does_not_fit_the_file_is_refused(tmp_path: Path, header: Any, said: str) -> None:
    path = written(tmp_path / "model.safetensors", header)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("length", [2**63, 100_000_001, 10_000])
def test_header_longer_than_allowed_or_than_the_file_is_refused(tmp_path: Path, length: int) -> None:
    with pytest.raises(CheckpointError, match=f"a header of {length} bytes"):
        read_state_dict(written(tmp_path / "model.safetensors", {"a": ENTRY}, length=length))


def test_bytes_behind_the_last_tensor_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"a": torch.ones(2)}) + bytes(8))
    with pytest.raises(CheckpointError, match="tensors up to byte"):
        read_state_dict(path)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_dtype_is_read_as_the_library_reads_it(tmp_path: Path, dtype: torch.dtype) -> None:
    raw = torch.randint(0, 2, (48,), dtype=torch.uint8)
    state = {"a": raw.view(dtype).reshape(2, -1), "empty": torch.empty(0, 3).to(dtype)}
    save_file(state, tmp_path / "model.safetensors")
    found = {key: stored.load() for key, stored in stored_tensors(tmp_path).items()}
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        for key in state:
            expected = file.get_tensor(key)
            assert (found[key].dtype, found[key].shape) == (expected.dtype, expected.shape)
            assert found[key].view(torch.uint8).tolist() == expected.view(torch.uint8).tolist()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(1, 3), st.integers(1, 3)), max_size=5))
def test_boxes_cover_a_tensor_exactly_when_every_value_lies_in_one(parts: list[tuple[int, int, int, int]]) -> None:
    boxes = [((row, column), (rows, columns)) for row, column, rows, columns in parts]
    count = torch.zeros(8, 8, dtype=torch.int64)
    for (row, column), (rows, columns) in boxes:
        count[row : row + rows, column : column + columns] += 1
    inside = bool((count[4:].sum() + count[:, 3:].sum()) == 0)
    covered = inside and bool((count[:4, :3] == 1).all())
    if covered:
        require_cover((4, 3), boxes, "tensor")
    else:
        with pytest.raises(ValueError, match="tensor"):
            require_cover((4, 3), boxes, "tensor")


def test_halves_cover_a_tensor() -> None:
    require_cover((4, 3), [((0, 0), (4, 1)), ((0, 1), (2, 2)), ((2, 1), (2, 2))], "tensor")
    with pytest.raises(ValueError, match="overlap"):
        require_cover((4, 3), [((0, 0), (4, 1)), ((0, 1), (2, 2)), ((1, 1), (2, 2))], "tensor")
