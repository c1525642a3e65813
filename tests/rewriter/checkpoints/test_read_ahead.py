"""Reading ahead asks for every byte once, in order, and for none beyond the end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewriter.checkpoints import read_ahead
from rewriter.checkpoints.stored import Region
from rewriter.streaming.shard_file import hash_file


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """What the system was asked for: where from, and how much."""
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda file, start, size, advice: calls.append((start, size)))
    return calls


@given(st.integers(0, 100), st.integers(0, 1000), st.lists(st.integers(1, 50), max_size=40))
def test_each_byte_is_asked_for_once_before_it_is_read(start: int, size: int, steps: list[int]) -> None:
    calls: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "posix_fadvise", lambda file, begin, length, advice: calls.append((begin, length)))
        patch.setattr(read_ahead, "_AHEAD", 64)
        ahead, position = read_ahead.ReadAhead(0, start, start + size), start
        ahead.reading(position)
        for step in steps:
            position = min(position + step, start + size)
            ahead.reading(position)
    reached = start
    for begin, length in calls:
        assert (begin, length > 0) == (reached, True)
        reached += length
    assert reached == min(position + 64, start + size)


def test_hashing_a_file_asks_for_the_whole_of_it(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5_000_000))
    hash_file(path, lambda size: None)
    assert sum(size for _, size in asked) == 5_000_000


def test_the_pieces_of_a_tensor_ask_for_its_bytes_alone(tmp_path: Path, asked: list[tuple[int, int]]) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 40)
    region = Region(path, 256, torch.uint8, (40, 200))
    pieces = torch.cat([piece.clone() for piece in region.pieces(1000)])
    assert bytes(pieces.numpy()) == path.read_bytes()[256 : 256 + 8000]
    assert asked[0][0] >= 256
    assert max(start + size for start, size in asked) == 256 + 8000


def test_a_system_that_cannot_be_asked_reads_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "posix_fadvise")
    path = tmp_path / "file"
    path.write_bytes(b"abc" * 1000)
    assert hash_file(path, lambda size: None).size == 3000
