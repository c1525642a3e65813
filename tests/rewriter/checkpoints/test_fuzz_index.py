"""The index of a sharded checkpoint leads to files beside it and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from rewriter.checkpoints.files import files_of
from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError

SHARDS = {"one.safetensors": {"a": torch.ones(2)}, "two.safetensors": {"b": torch.zeros(3), "c": torch.ones(1)}}
MAP = {name: shard for shard, state in SHARDS.items() for name in state}
INDEX = "model.safetensors.index.json"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("outside") / "checkpoint"
    place.mkdir()
    for name, state in SHARDS.items():
        save_file(state, place / name)
        save_file(state, place.parent / f"other-{name}")
    (place / "link.safetensors").symlink_to(place.parent / "other-one.safetensors")
    (place / "inner.safetensors").symlink_to("one.safetensors")
    (place / "deep").mkdir()
    save_file(SHARDS["one.safetensors"], place / "deep" / "one.safetensors")
    return place


def write(folder: Path, content: str | bytes) -> Path:
    (folder / INDEX).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder / INDEX


NAMES = st.sampled_from(
    [
        *("one.safetensors", "two.safetensors", "link.safetensors", "inner.safetensors", "deep/one.safetensors"),
        *("../other-one.safetensors", "..", ".", "", "deep", "/etc/passwd", "deep\\one.safetensors", "C:one", INDEX),
        *("absent.safetensors", "one.safetensors\0", "one.safetensors\n", "\x1b[2J", "a" * 300, "./one.safetensors"),
    ]
)
ANYTHING = st.none() | st.integers() | st.lists(NAMES, max_size=2) | st.dictionaries(NAMES, NAMES, max_size=2) | NAMES


@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "x\x1b"]), NAMES | ANYTHING, max_size=4) | ANYTHING)
def test_any_weight_map_gives_the_shards_tensors_or_is_refused(folder: Path, weight_map: Any) -> None:
    index = write(folder, json.dumps({"metadata": {}, "weight_map": weight_map}))
    try:
        found = read_state_dict(index)
    except CheckpointError as refused:
        assert refused.exit_code == 6
        assert str(refused).isprintable()
        return
    assert found.keys() == weight_map.keys()
    assert all(file.resolve().parent == folder.resolve() for file in files_of(index))


@given(st.binary(max_size=60) | st.text(max_size=40).map(lambda text: ("{" + text).encode()))
def test_any_bytes_in_the_place_of_an_index_are_refused(folder: Path, content: bytes) -> None:
    with pytest.raises(CheckpointError):
        read_state_dict(write(folder, content))


@pytest.mark.parametrize(
    ("weight_map", "said"),
    {
        "a path upwards": ({"a": "../other-one.safetensors"}, "names of files"),
        "an absolute path": ({"a": "/etc/passwd"}, "names of files"),
        "a folder inside": ({"a": "deep/one.safetensors"}, "names of files"),
        "a link out": ({"a": "link.safetensors"}, "symbolic link that leaves the folder"),
        "a missing shard": ({"a": "absent.safetensors"}, "absent.safetensors"),
        "a folder as shard": ({"a": "deep"}, "a file deep"),
        "the index itself": ({"a": INDEX}, "files of weights"),
        "a tensor elsewhere": ({**MAP, "a": "two.safetensors"}, "missing"),
        "a tensor left out": ({"b": "two.safetensors"}, "does not place there"),
        "two shards with one tensor": ({"a": "one.safetensors", "z": "inner.safetensors"}, "missing|another shard"),
    }.values(),
)
def test_each_trick_of_an_index_is_refused_by_its_reason(folder: Path, weight_map: dict[str, str], said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        read_state_dict(write(folder, json.dumps({"weight_map": weight_map})))


def test_an_index_with_a_key_twice_is_refused(folder: Path) -> None:
    text = '{"weight_map": {"a": "one.safetensors", "a": "two.safetensors"}}'
    with pytest.raises(CheckpointError, match="'a' twice"):
        read_state_dict(write(folder, text))


def test_a_link_inside_the_folder_is_followed(folder: Path) -> None:
    assert read_state_dict(write(folder, json.dumps({"weight_map": {"a": "inner.safetensors"}}))).keys() == {"a"}


def test_a_sound_index_is_read(folder: Path) -> None:
    index = write(folder, json.dumps({"metadata": {"total_size": 24}, "weight_map": MAP}))
    assert read_state_dict(index).keys() == MAP.keys()
    assert [file.name for file in files_of(index)] == list(SHARDS)
