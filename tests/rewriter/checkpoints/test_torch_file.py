"""Files of torch.save that claim more than they hold."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rewriter.checkpoints.reading import read_state_dict, stored_tensors
from rewriter.checkpoints.stored import Region
from rewriter.errors import CheckpointError


def rewritten(content: object, change: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Save an object with some parts of the archive replaced."""
    saved, made = io.BytesIO(), io.BytesIO()
    torch.save(content, saved)
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(made, "w", compression) as new:
        for entry in old.infolist():
            name = entry.filename.partition("/")[2]
            new.writestr(entry.filename, change.get(name, old.read(entry)))
    return made.getvalue()


def refused(path: Path, content: bytes, said: str) -> None:
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_state_dict(path)
    assert "\n" not in str(caught.value)


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    bomb = rewritten({"a": torch.zeros(1 << 16)}, {}, compression=zipfile.ZIP_DEFLATED)
    refused(tmp_path / "model.pt", bomb, "compressed parts")


def test_tensor_expanded_far_beyond_its_values_is_refused_before_it_is_made(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(1 << 45)}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="bytes that are not in the file"):
        read_state_dict(tmp_path / "model.pt")


def test_storage_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1 << 16)}, tmp_path / "model.pt")
    content = rewritten({"a": torch.zeros(1 << 16)}, {"data/0": bytes(16)})
    refused(tmp_path / "model.pt", content, "not in the file")


class AsksForAnArray:
    def __reduce__(self) -> tuple:
        return bytearray, (1 << 50,)


def test_pickle_that_asks_for_a_huge_array_is_refused(tmp_path: Path) -> None:
    content = rewritten({"a": torch.ones(1)}, {"data.pkl": pickle.dumps({"a": AsksForAnArray()}, protocol=2)})
    refused(tmp_path / "model.pt", content, "an array of any length")


def test_big_endian_values_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "model.pt", rewritten({"a": torch.ones(2)}, {"byteorder": b"big"}), "little-endian")


@pytest.mark.parametrize("make", [lambda t: t.to_sparse(), lambda t: t.to_sparse_csr()], ids=["coo", "csr"])
def test_sparse_tensors_are_refused(tmp_path: Path, make) -> None:
    torch.save({"a": make(torch.eye(3))}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).t(),
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.arange(20.0)[5:9],
        torch.arange(20.0)[::3],
        torch.tensor(3),
        torch.empty(0, 3),
        torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16)),
    ],
    ids=["transposed", "channels last", "offset", "strided", "scalar", "empty", "parameter"],
)
def test_views_are_read_in_their_order(tmp_path: Path, tensor: Tensor) -> None:
    torch.save({"a": tensor}, tmp_path / "model.pt")
    (stored,) = stored_tensors(tmp_path / "model.pt").values()
    assert isinstance(stored, Region)
    loaded = stored.load()
    assert torch.equal(loaded, tensor.detach())
    assert loaded.is_contiguous()
    assert b"".join(bytes(piece.numpy()) for piece in stored.pieces(8)) == bytes(
        tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy()
    )
