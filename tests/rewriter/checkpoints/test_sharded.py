"""Checkpoints in several files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Shard, distribute_tensor

from rewriter.checkpoints.loading import load_checkpoint
from rewriter.checkpoints.reading import read_state_dict, stored_tensors
from rewriter.checkpoints.stored import Assembled, Region
from rewriter.errors import CheckpointError

STATE = {
    "embed.weight": torch.arange(12.0).reshape(3, 4),
    "norm.scale": torch.ones(4, dtype=torch.bfloat16),
    "norm.count": torch.tensor(7),
    "head.weight": torch.randn(2, 4).half(),
    "head.fp8": torch.randn(8).to(torch.float8_e4m3fn),
}
PLACED = {key: ("a" if key.startswith("embed") else "b") for key in STATE}


def write_sharded(folder: Path, suffix: str = ".safetensors", weight_map: dict[str, str] | None = None) -> Path:
    folder.mkdir(exist_ok=True)
    for letter in "ab":
        part = {key: STATE[key].clone() for key in STATE if PLACED[key] == letter}
        file = folder / f"{letter}{suffix}"
        _ = save_file(part, file) if suffix == ".safetensors" else torch.save(part, file)
    index = folder / ("model.safetensors.index.json" if suffix == ".safetensors" else "pytorch_model.bin.index.json")
    placed = weight_map or {key: f"{letter}{suffix}" for key, letter in PLACED.items()}
    index.write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return index


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> None:
    assert found.keys() == expected.keys()
    for key, tensor in expected.items():
        assert (found[key].dtype, found[key].shape) == (tensor.dtype, tensor.shape), key
        assert found[key].reshape(-1).view(torch.uint8).tolist() == tensor.reshape(-1).view(torch.uint8).tolist(), key


def refused(path: Path, said: str) -> None:
    with pytest.raises(CheckpointError, match=said) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 6


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_shards_are_read_through_their_index_and_through_their_folder(tmp_path: Path, suffix: str) -> None:
    index = write_sharded(tmp_path, suffix)
    assert_same(read_state_dict(index))
    assert_same(read_state_dict(tmp_path))


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_listing_shards_reads_no_values(tmp_path: Path, suffix: str) -> None:
    write_sharded(tmp_path, suffix)
    assert all(isinstance(stored, Region) for stored in stored_tensors(tmp_path).values())


def test_pieces_of_a_stored_tensor_are_its_bytes(tmp_path: Path) -> None:
    write_sharded(tmp_path)
    for key, stored in stored_tensors(tmp_path).items():
        assert isinstance(stored, Region)
        found = b"".join(bytes(piece.numpy()) for piece in stored.pieces(8))
        assert found == bytes(STATE[key].reshape(-1).view(torch.uint8).numpy())


def test_a_sharded_checkpoint_loads_into_a_model_like_a_whole_one(tmp_path: Path) -> None:
    trained, model = nn.Linear(3, 2), nn.Linear(3, 2)
    for key, tensor in trained.state_dict().items():
        save_file({key: tensor}, tmp_path / f"{key}.safetensors")
    placed = {key: f"{key}.safetensors" for key in trained.state_dict()}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    load_checkpoint(model, tmp_path)
    assert_same(model.state_dict(), trained.state_dict())


@pytest.mark.parametrize(
    "name", ["../a.safetensors", "/etc/passwd", "sub/a.safetensors", "..", "", "c:a", "a\\b", "a\0"]
)
def test_names_of_shards_that_are_paths_are_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inner"
    index = write_sharded(folder, weight_map=dict.fromkeys(STATE, name))
    save_file(STATE, tmp_path / "a.safetensors")
    (folder / "sub").mkdir()
    save_file(STATE, folder / "sub" / "a.safetensors")
    refused(index, "names of files in")


def test_link_that_leaves_the_folder_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    index = write_sharded(tmp_path / "inner")
    shard = tmp_path / "inner" / "a.safetensors"
    shard.rename(tmp_path / "inner" / "c.safetensors")
    shard.symlink_to("c.safetensors")
    assert_same(read_state_dict(index))
    shard.unlink()
    (tmp_path / "inner" / "c.safetensors").rename(tmp_path / "outside.safetensors")
    shard.symlink_to("../outside.safetensors")
    refused(index, "a symbolic link that leaves the folder")


@pytest.mark.parametrize("name", ["model.safetensors", "model.safetensors.index.json", ".metadata"])
def test_checkpoint_of_a_folder_that_is_a_link_to_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "inner").mkdir()
    save_file(STATE, tmp_path / "outside")
    (tmp_path / "inner" / name).symlink_to("../outside")
    refused(tmp_path / "inner", "a symbolic link that leaves the folder")


def test_shard_that_is_no_regular_file_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    (tmp_path / "a.safetensors").unlink()
    os.mkfifo(tmp_path / "a.safetensors")
    refused(index, "found none")


def test_missing_shard_is_named(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    (tmp_path / "b.safetensors").unlink()
    refused(index, "a file b.safetensors")


def test_tensor_that_the_named_shard_lacks_is_refused(tmp_path: Path) -> None:
    placed = {key: f"{letter}.safetensors" for key, letter in PLACED.items()}
    refused(write_sharded(tmp_path, weight_map=placed | {"other": "a.safetensors"}), r"1 missing \(other\)")


def test_tensor_that_no_line_of_the_index_places_is_refused(tmp_path: Path) -> None:
    placed = {key: f"{letter}.safetensors" for key, letter in PLACED.items() if key != "norm.scale"}
    refused(write_sharded(tmp_path, weight_map=placed), r"1 that the index does not place there \(norm.scale\)")


def test_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    save_file({"embed.weight": torch.ones(3, 4), "head.weight": torch.ones(1)}, tmp_path / "a.safetensors")
    refused(index, "1 that the index does not place there")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"weight_map": {"a": "a.safetensors", "a": "b.safetensors"}}', "the key 'a' twice"),
        ('{"weight_map": {}}', "no weight_map"),
        ('{"weight_map": {"a": 3}}', "does not lead to file names"),
        ("[" * 100_000, "nested too deeply|JSON"),
        ("[]", "no object"),
        ("{", "JSONDecodeError|Expecting"),
    ],
)
def test_damaged_index_is_refused(tmp_path: Path, content: str, said: str) -> None:
    index = write_sharded(tmp_path)
    index.write_text(content)
    refused(index, said)


def saved(folder: Path, state: dict[str, Any]) -> Path:
    dcp.save(state, checkpoint_id=str(folder), no_dist=True)
    return folder


@pytest.mark.filterwarnings("ignore")
def test_distributed_checkpoint_is_read_as_torch_reads_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "dcp", {"model": STATE, "epoch": 3})
    expected = {key: torch.zeros_like(tensor) for key, tensor in STATE.items()}
    dcp.load({"model": expected}, checkpoint_id=str(folder), no_dist=True)
    found = read_state_dict(folder)
    assert_same(found, expected)
    assert_same(found)


@pytest.mark.filterwarnings("ignore")
def test_distributed_checkpoint_of_a_bare_state_dict_is_read(tmp_path: Path) -> None:
    assert_same(read_state_dict(saved(tmp_path / "dcp", dict(STATE))))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "damage", [b"cposix\nsystem\n(S'true'\ntR.", b"\x80\x04cbuiltins\neval\n.", b"", b"\x80\x04N."]
)
def test_distributed_metadata_that_is_other_pickle_is_refused_and_not_run(tmp_path: Path, damage: bytes) -> None:
    folder = saved(tmp_path / "dcp", dict(STATE))
    (folder / ".metadata").write_bytes(damage)
    refused(folder, "metadata|wants to run code")


@pytest.mark.filterwarnings("ignore")
def test_cut_distributed_file_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "dcp", dict(STATE))
    (part,) = folder.glob("*.distcp")
    part.write_bytes(part.read_bytes()[:-200])
    refused(folder, "a part up to byte")


@pytest.mark.filterwarnings("ignore")
def test_distributed_file_name_that_is_a_path_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "dcp", dict(STATE))
    metadata = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(metadata.replace(b"__0_0.distcp", b"../../passwd"))
    refused(folder, "names of files in")


def save_distributed(rank: int, folder: Path) -> None:
    """Save one tensor cut by rows and one cut by columns, as one of two processes."""
    torch.distributed.init_process_group("gloo", f"file://{folder}/store", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    rows = distribute_tensor(torch.arange(20.0).reshape(5, 4), mesh, [Shard(0)])
    columns = distribute_tensor(torch.arange(15).reshape(3, 5), mesh, [Shard(1)])
    dcp.save({"rows": rows, "columns": columns}, checkpoint_id=str(folder / "dcp"))
    torch.distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore")
def test_tensors_cut_over_processes_are_put_together(tmp_path: Path) -> None:
    context = torch.multiprocessing.get_context("fork")
    processes = [context.Process(target=save_distributed, args=(rank, tmp_path)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    expected = {"rows": torch.arange(20.0).reshape(5, 4), "columns": torch.arange(15).reshape(3, 5)}
    assert_same(read_state_dict(tmp_path / "dcp"), expected)
    for key, stored in stored_tensors(tmp_path / "dcp").items():
        assert isinstance(stored, Assembled)
        found = b"".join(bytes(piece.numpy()) for piece in stored.pieces(16))
        assert found == bytes(expected[key].reshape(-1).view(torch.uint8).numpy())


def test_values_are_read_to_the_cpu_whatever_the_default_device_is(tmp_path: Path) -> None:
    index = write_sharded(tmp_path)
    with torch.device("meta"):
        found = read_state_dict(index)
    assert_same(found)
