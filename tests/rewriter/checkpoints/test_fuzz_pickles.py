"""No pickle runs code without being trusted, whatever form it has, and nothing it claims takes memory."""

from __future__ import annotations

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.distributed import checkpoint as distributed

from rewriter.checkpoints.loading import load_checkpoint
from rewriter.checkpoints.reading import read_state_dict, stored_tensors
from rewriter.errors import CheckpointError

REPOSITORY = Path(__file__).resolve().parents[3]
STATE = {"a": torch.arange(6.0), "b": {"c": torch.ones(3, dtype=torch.int8)}}
FORMATS = {"zip": True, "legacy": False}


class Touches:
    """Unpickles to a call that makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


def saved(content: Any, *, new: bool = True, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=new, pickle_protocol=protocol)
    return file.getvalue()


def with_pickle(pickled: bytes) -> bytes:
    """Put another pickle into an archive of torch.save."""
    source, made = zipfile.ZipFile(io.BytesIO(saved({"a": torch.ones(2)}))), io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for entry in source.infolist():
            archive.writestr(entry, pickled if entry.filename.endswith("data.pkl") else source.read(entry))
    return made.getvalue()


def require_refused(path: Path, *words: str) -> None:
    with pytest.raises(CheckpointError) as refused:
        read_state_dict(path)
    assert refused.value.exit_code == 6
    assert str(refused.value).isprintable()
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("new", FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize(
    "place", [lambda evil: evil, lambda evil: {"a": evil}, lambda evil: {"model": STATE, "x": [evil]}]
)
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(
    tmp_path: Path, new: bool, protocol: int, place: Callable[[Any], Any]
) -> None:
    (tmp_path / "model.pt").write_bytes(saved(place(Touches(tmp_path / "made")), new=new, protocol=protocol))
    require_refused(tmp_path / "model.pt")
    assert not (tmp_path / "made").exists()


OPCODES = {
    "reduce": b"cos\nmkdir\n(V{path}\ntR.",
    "inst": b"(V{path}\nios\nmkdir\n.",
    "obj": b"(cos\nmkdir\nV{path}\no.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93(V{path}\ntR.",
    "through torch": b"ctorch.serialization\nos.mkdir\n(V{path}\ntR.",
    "eval": b"c__builtin__\neval\n(V__import__('os').mkdir('{path}')\ntR.",
    "build": b"ccollections\nOrderedDict\n)R}(V__class__\ncos\nmkdir\nub0cos\nmkdir\n(V{path}\ntR.",
    "apply": b"c__builtin__\napply\n(cos\nmkdir\n(V{path}\nttR.",
    "extension": b"\x82\x01(V{path}\ntR.",
}


@pytest.mark.parametrize("opcode", OPCODES)
@pytest.mark.parametrize("wrap", [bytes, with_pickle], ids=["bare", "in an archive"])
def test_no_opcode_calls_anything(tmp_path: Path, opcode: str, wrap: Callable[[bytes], bytes]) -> None:
    content = OPCODES[opcode].replace(b"{path}", str(tmp_path / "made").encode())
    (tmp_path / "model.pt").write_bytes(wrap(content if wrap is with_pickle else b"\x80\x02" + content))
    require_refused(tmp_path / "model.pt")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("opcode", OPCODES)
def test_no_metadata_of_a_distributed_checkpoint_calls_anything(tmp_path: Path, opcode: str) -> None:
    (tmp_path / ".metadata").write_bytes(OPCODES[opcode].replace(b"{path}", str(tmp_path / "made").encode()))
    require_refused(tmp_path)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("new", FORMATS.values(), ids=FORMATS)
def test_a_trusted_pickle_is_read_with_its_code(tmp_path: Path, new: bool) -> None:
    content = {"model": {"weight": torch.ones(2, 2), "bias": torch.ones(2)}, "run": Touches(tmp_path / "made")}
    (tmp_path / "model.pt").write_bytes(saved(content, new=new))
    model = nn.Linear(2, 2)
    load_checkpoint(model, tmp_path / "model.pt", trust_pickle=True)
    assert (tmp_path / "made").is_dir()
    assert model.weight.tolist() == torch.ones(2, 2).tolist()


def test_a_trusted_module_is_read_as_its_state_dict(tmp_path: Path) -> None:
    torch.save(nn.Linear(2, 3), tmp_path / "model.pt")
    require_refused(tmp_path / "model.pt", "--trust-pickle")
    assert set(read_state_dict_trusted(tmp_path / "model.pt")) == {"weight", "bias"}


def read_state_dict_trusted(path: Path) -> dict[str, Any]:
    return {name: stored.load() for name, stored in stored_tensors(path, trust_pickle=True).items()}


def test_trust_does_not_make_a_bomb_harmless(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(compressed(saved({"a": torch.zeros(1000)})))
    with pytest.raises(CheckpointError, match="compressed"):
        read_state_dict_trusted(tmp_path / "model.pt")


def compressed(archive: bytes) -> bytes:
    source, made = zipfile.ZipFile(io.BytesIO(archive)), io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in source.infolist():
            packed.writestr(entry.filename, source.read(entry))
    return made.getvalue()


def require_loaded_or_refused(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    try:
        found = read_state_dict(path)
    except CheckpointError as refused:
        assert str(refused).isprintable()
        return
    for name, tensor in found.items():
        assert tensor.numel() * tensor.itemsize <= len(content), name


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("new", FORMATS.values(), ids=FORMATS)
@given(data=st.data())
def test_changed_bytes_of_a_torch_file_are_read_or_refused(tmp_path: Path, new: bool, data: st.DataObject) -> None:
    content = bytearray(saved({"model": STATE["b"], "a": STATE["a"]}, new=new))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    require_loaded_or_refused(bytes(content), tmp_path / "model.pt")


@pytest.mark.filterwarnings("error")
@given(data=st.data())
def test_a_changed_pickle_of_an_archive_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    source = zipfile.ZipFile(io.BytesIO(saved({"a": torch.ones(2)})))
    (name,) = (name for name in source.namelist() if name.endswith("data.pkl"))
    content = bytearray(source.read(name))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    require_loaded_or_refused(with_pickle(bytes(content)), tmp_path / "model.pt")


@given(data=st.data())
def test_changed_bytes_of_distributed_metadata_are_read_or_refused(
    distributed_folder: Path, data: st.DataObject
) -> None:
    content = bytearray((distributed_folder / ".metadata").read_bytes())
    original = bytes(content)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    try:
        (distributed_folder / ".metadata").write_bytes(content)
        found = read_state_dict(distributed_folder)
        assert all(tensor.numel() < 10_000 for tensor in found.values())
    except CheckpointError as refused:
        assert str(refused).isprintable()
    finally:
        (distributed_folder / ".metadata").write_bytes(original)


@pytest.fixture(scope="module")
def distributed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    distributed.save({"a": torch.ones(4, 3), "b": torch.zeros(2)}, checkpoint_id=folder, no_dist=True)
    return folder


def claim(sizes: str, storage: int, dtype: bytes = b"FloatStorage") -> bytes:
    """Pickle ``{"a": tensor}`` of claimed sizes over a storage of a claimed length."""
    length = b"\x8a\x08" + struct.pack("<q", storage)
    size = b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", int(n)) for n in sizes.split(",")) + b"t"
    stride = b"(" + b"".join(b"K\x00" for _ in sizes.split(",")) + b"t"
    return (
        b"\x80\x02}X\x01\x00\x00\x00actorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n"
        + dtype
        + b"\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
        + length
        + b"tQK\x00"
        + size
        + stride
        + b"\x89ccollections\nOrderedDict\n)RtRs."
    )


BOMBS = {
    "expanded": with_pickle(claim("1099511627776", 2)),
    "storage": with_pickle(claim("1000000000", 1 << 40)),
    "bytearray": with_pickle(b"\x80\x02c__builtin__\nbytearray\n\x8a\x08" + struct.pack("<q", 1 << 33) + b"\x85R."),
    "long": with_pickle(b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b"."),
    "string": with_pickle(b"\x80\x04\x8d" + struct.pack("<Q", 1 << 33) + b"x."),
    "memo": with_pickle(b"\x80\x02K\x01r\xff\xff\xff\x7f."),
    "frame": with_pickle(b"\x80\x04\x95" + struct.pack("<Q", 1 << 33) + b"."),
    "packed": compressed(saved({"a": torch.zeros(30_000_000)})),
    "legacy": b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}."
    + claim("1099511627776", 1 << 40)
    + b"\x80\x02]X\x01\x00\x00\x000a."
    + struct.pack("<q", 1 << 40),
}


def test_no_claim_takes_memory(tmp_path: Path) -> None:
    """Each bomb claims gigabytes; all are refused in a process that may not take 400 MB more than it has."""
    for name, content in BOMBS.items():
        (tmp_path / f"{name}.pt").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", READING, *map(str, sorted(tmp_path.iterdir()))],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == sorted(f"{name}.pt" for name in BOMBS), done.stdout


READING = """
import sys
from pathlib import Path
from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError
from tests.models.memory import peak_kib
peak = peak_kib()
for name in sys.argv[1:]:
    try:
        read_state_dict(Path(name))
    except CheckpointError as error:
        print(Path(name).name)
    grown = peak_kib() - peak
    assert grown < 100_000, f"{name} took {grown} KiB"
"""


def test_an_oversized_pickle_is_not_even_read(tmp_path: Path) -> None:
    with (tmp_path / "model.pt").open("wb") as file:
        file.write(pickle.PROTO + b"\x02")
        file.truncate(1 << 33)  # sparse
    require_refused(tmp_path / "model.pt")
