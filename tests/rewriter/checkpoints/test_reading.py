import io
import os
import pickle
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save, save_file
from torch import Tensor, nn

from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError

STATE = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2, dtype=torch.float16)}


class RunsCode:
    def __reduce__(self) -> tuple:
        return os.mkdir, ("pickled_code_ran",)


def torch_bytes(content: object, *, legacy: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


VALID_FILES = {
    "safe.safetensors": save(STATE),
    "zip.pt": torch_bytes(STATE),
    "legacy.pt": torch_bytes(STATE, legacy=True),
}


def assert_same(loaded: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert loaded.keys() == expected.keys()
    for key, tensor in expected.items():
        torch.testing.assert_close(loaded[key], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".th", ".bin", ".ckpt", ".PTH"])
@pytest.mark.parametrize("legacy", [False, True])
def test_torch_files_are_read_under_every_suffix(tmp_path: Path, suffix: str, legacy: bool):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(torch_bytes({"state_dict": STATE, "epoch": 3}, legacy=legacy))
    assert_same(read_state_dict(path), STATE)


def test_safetensors_files_are_read(tmp_path: Path):
    save_file(STATE, tmp_path / "model.safetensors")
    assert_same(read_state_dict(tmp_path / "model.safetensors"), STATE)


def test_folder_gives_its_safetensors_before_its_pickle(tmp_path: Path):
    (tmp_path / "pytorch_model.bin").write_bytes(torch_bytes({"other": torch.ones(1)}))
    assert read_state_dict(tmp_path).keys() == {"other"}
    save_file(STATE, tmp_path / "model.safetensors")
    assert_same(read_state_dict(tmp_path), STATE)


@pytest.mark.parametrize(
    "content",
    [torch_bytes({"weight": RunsCode()}), torch_bytes({"weight": RunsCode()}, legacy=True)],
    ids=["zip", "legacy"],
)
def test_pickle_with_code_is_refused_by_the_name_it_wants_and_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    monkeypatch.chdir(tmp_path)
    Path("evil.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"wants to run code \((posix|nt)\.mkdir\).*safetensors"):
        read_state_dict(Path("evil.pt"))
    assert not Path("pickled_code_ran").exists()


def test_plain_pickle_with_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("evil.pt").write_bytes(pickle.dumps(RunsCode()))
    with pytest.raises(CheckpointError):
        read_state_dict(Path("evil.pt"))
    assert not Path("pickled_code_ran").exists()


def test_pickled_model_is_refused_by_its_class(tmp_path: Path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read_state_dict(tmp_path / "model.pt")


def test_torchscript_archive_is_refused(tmp_path: Path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "model.pt")
    with pytest.raises(CheckpointError):
        read_state_dict(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("name", "source", "remedy"),
    [("a.pt", "safe.safetensors", "rename it to end in .safetensors"), ("a.safetensors", "zip.pt", "to end in .pt")],
)
def test_suffix_that_lies_is_refused_with_the_right_one(tmp_path: Path, name: str, source: str, remedy: str):
    (tmp_path / name).write_bytes(VALID_FILES[source])
    with pytest.raises(CheckpointError, match=remedy):
        read_state_dict(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.npz", b"", "suffixes .safetensors .pt"),
        ("a.pt", b"", "unknown content"),
        ("a.safetensors", b"version https://git-lfs", "unknown content"),
        ("folder", None, "which does not exist"),
        ("..", None, "a folder with none of them"),
    ],
)
def test_path_without_a_checkpoint_is_refused(tmp_path: Path, name: str, content: bytes | None, said: str):
    (tmp_path / "inner").mkdir()
    path = tmp_path / "inner" / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        read_state_dict(path)


@pytest.mark.parametrize("name", VALID_FILES)
def test_every_truncation_is_refused_in_one_line(tmp_path: Path, name: str):
    content, path = VALID_FILES[name], tmp_path / name
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError) as caught:
            read_state_dict(path)
        assert "\n" not in str(caught.value)


def loads_or_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        loaded = read_state_dict(path)
    except CheckpointError:
        return
    assert all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in loaded.items())


FUZZ = settings(max_examples=150)


@FUZZ
@given(name=st.sampled_from(sorted(VALID_FILES)), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bit_loads_or_is_refused(tmp_path: Path, name: str, position: float, bit: int):
    content = bytearray(VALID_FILES[name])
    content[int(position * len(content))] ^= 1 << bit
    loads_or_is_refused(tmp_path / name, bytes(content))


@FUZZ
@given(
    name=st.sampled_from(sorted(VALID_FILES)),
    head=st.sampled_from([b"", b"PK\x03\x04", b"\x80\x02", b"\x10" + bytes(7) + b"{"]),
    tail=st.binary(max_size=64),
)
def test_random_bytes_load_or_are_refused(tmp_path: Path, name: str, head: bytes, tail: bytes):
    loads_or_is_refused(tmp_path / name, head + tail)
