"""Any safetensors file is read as the format's own library reads it, or refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError

STATE = {"a": torch.arange(6, dtype=torch.float32).reshape(2, 3), "b": torch.ones(4, dtype=torch.int64)}
VALID = safetensors.torch.save(STATE)
LENGTH = int.from_bytes(VALID[:8], "little")
HEADER: dict[str, Any] = json.loads(VALID[8 : 8 + LENGTH])
BODY = VALID[8 + LENGTH :]
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 8, 24, 56, 57, 2**31, 2**62, 2**63, 2**64, 10**40, 1.0, True, None, "1"])
SIZES = st.lists(NUMBERS, max_size=4)
ENTRIES = st.fixed_dictionaries(
    {"dtype": st.sampled_from(["F32", "I64", "F64", "U8", "F4", "F8_E4M3", "C64", "", None, []])},
    optional={"shape": SIZES, "data_offsets": SIZES, "more": NUMBERS},
)


def in_file(header: bytes, body: bytes = BODY, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + body


def require_sound(content: bytes, path: Path) -> None:
    """Read a file; where that succeeds, the format's library must read the same."""
    path.write_bytes(content)
    try:
        found = read_state_dict(path)
    except CheckpointError as refused:
        assert refused.exit_code == 6
        assert str(refused).isprintable()
        return
    theirs = safetensors.torch.load_file(path)
    assert found.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        assert found[name].view(torch.uint8).tolist() == tensor.view(torch.uint8).tolist()


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "__metadata__", "x\x1b[31m\n"]), ENTRIES | NUMBERS | SIZES))
def test_any_header_is_read_rightly_or_refused(tmp_path: Path, header: dict[str, Any]) -> None:
    require_sound(in_file(json.dumps(header).encode()), tmp_path / "model.safetensors")


@given(name=st.sampled_from(["a", "b"]), field=st.sampled_from(["dtype", "shape", "data_offsets"]), data=st.data())
def test_one_changed_field_is_read_rightly_or_refused(
    tmp_path: Path, name: str, field: str, data: st.DataObject
) -> None:
    changed = {**HEADER, name: {**HEADER[name], field: data.draw(ENTRIES).get(field, data.draw(SIZES))}}
    require_sound(in_file(json.dumps(changed).encode()), tmp_path / "model.safetensors")


@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.binary(max_size=3)), min_size=1, max_size=4), st.data())
def test_changed_bytes_are_read_rightly_or_refused(
    tmp_path: Path, changes: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    content = bytearray(VALID)
    for place, new in changes:
        content[place : place + data.draw(st.integers(0, 3))] = new
    require_sound(bytes(content), tmp_path / "model.safetensors")


ENTRY = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
OTHER = {"dtype": "I64", "shape": [4], "data_offsets": [24, 56]}


def header_of(*entries: tuple[str, Any]) -> bytes:
    """Write a JSON object that may have a key twice."""
    return ("{" + ",".join(f"{json.dumps(name)}:{json.dumps(entry)}" for name, entry in entries) + "}").encode()


@pytest.mark.parametrize(
    ("content", "said"),
    {
        "overlapping": (in_file(header_of(("a", ENTRY), ("b", {**OTHER, "data_offsets": [16, 48]}))), "at byte"),
        "the same bytes": (in_file(header_of(("a", ENTRY), ("b", ENTRY))), "at byte"),
        "a gap": (in_file(header_of(("a", ENTRY), ("b", {**OTHER, "data_offsets": [25, 57]})), BODY + b"0"), "at byte"),
        "negative offsets": (in_file(header_of(("a", {**ENTRY, "data_offsets": [-24, 0]}))), "no sizes"),
        "offsets beyond the file": (in_file(header_of(("a", {**ENTRY, "data_offsets": [0, 2**50]}))), "for 24"),
        "bytes left over": (in_file(header_of(("a", ENTRY))), "in a file of"),
        "a key twice": (in_file(header_of(("a", ENTRY), ("a", OTHER))), "twice"),
        "a huge shape": (in_file(header_of(("a", {**ENTRY, "shape": [2**40, 2**40]}))), "24 bytes for"),
        "an overflowing shape": (in_file(header_of(("a", {**ENTRY, "shape": [2**63]}))), "no sizes"),
        "many dimensions": (in_file(header_of(("a", {**ENTRY, "shape": [1] * 70}))), "no sizes"),
        "an unknown dtype": (in_file(header_of(("a", {**ENTRY, "dtype": "object"}))), "dtype"),
        "a wrong dtype": (in_file(header_of(("a", {**ENTRY, "dtype": "F64"}), ("b", OTHER))), "24 bytes for 48"),
        "a truncated body": (VALID[:-1], "in a file of"),
        "a truncated header": (VALID[:40], "a header of"),
        "a header longer than the format allows": (in_file(b"{", length=100_000_001), "a header of 100000001"),
        "a header of the longest length": (in_file(b"{", length=2**64 - 1), "a header of"),
        "no UTF-8": (in_file(b'{"\xff": 1}'), "utf-8"),
        "deep nesting": (in_file(b'{"a":' * 100_000), "nested|Expecting|recursion"),
    }.values(),
)
def test_each_trick_of_a_header_is_refused_by_its_reason(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_state_dict(tmp_path / "model.safetensors")


@given(st.binary(max_size=200))
@example(b"")
@example(b"\x00" * 8 + b"{")
def test_random_bytes_after_a_length_are_read_rightly_or_refused(tmp_path: Path, content: bytes) -> None:
    require_sound(in_file(b"{" + content), tmp_path / "model.safetensors")


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8),
        st.tuples(st.lists(st.integers(0, 3), max_size=4), st.sampled_from([torch.float16, torch.int8, torch.bool])),
        min_size=1,
        max_size=5,
    )
)
def test_what_the_library_writes_is_read(tmp_path: Path, wanted: dict[str, tuple[list[int], torch.dtype]]) -> None:
    state = {
        name: (torch.arange(math.prod(shape)) % 2).to(dtype).reshape(shape) for name, (shape, dtype) in wanted.items()
    }
    if set(state) == {"__metadata__"} or "__metadata__" in state:
        return
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    found = read_state_dict(tmp_path / "model.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {n: t.tolist() for n, t in state.items()}
