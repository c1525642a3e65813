"""Files of arrays are read as NumPy reads them, or refused in one line, and take no memory that they only claim."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewriter.calibration import read_calibration
from rewriter.calibration.arrays import numpy_arrays
from rewriter.errors import UsageError
from tests.models.memory import forget_peak, needs_peaks, peak_kib

ARRAYS = {"x": np.arange(12, dtype=np.float32).reshape(3, 4), "y": np.arange(3)}


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def npz(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def claiming(shape: tuple[int, ...], content: bytes = b"", dtype: str = "<f4") -> bytes:
    """Write a ``.npy`` file whose header claims a shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


def require_read_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        found = numpy_arrays(path)
    except Exception:
        with pytest.raises(UsageError) as refused:
            read_calibration(path)
        assert str(refused.value).isprintable()
        return
    try:
        theirs = np.load(path, allow_pickle=False)
    except ValueError:  # NumPy wants the archive at the first byte, as zip itself does not
        assert not content.startswith(b"PK")
        theirs = ARRAYS
    for name, array in {"": theirs}.items() if isinstance(theirs, np.ndarray) else theirs.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
@given(data=st.data())
def test_changed_bytes_are_read_or_refused(tmp_path: Path, suffix: str, data: st.DataObject) -> None:
    members = [(f"{name}.npy", npy(array)) for name, array in ARRAYS.items()]
    content = bytearray(npy(ARRAYS["x"]) if suffix == ".npy" else npz(members))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    require_read_or_refused(tmp_path / f"inputs{suffix}", bytes(content))


HUGE = (1 << 30, 1 << 10)
REFUSED = {
    "objects.npy": npy(np.array([{"a": 1}], dtype=object)),
    "claiming.npy": claiming(HUGE, b"1234"),
    "negative.npy": claiming((-4, 2), b"1234" * 8),
    "objects.npz": npz([("x.npy", npy(np.array([{"a": 1}], dtype=object)))]),
    "claiming.npz": npz([("x.npy", claiming(HUGE, b"1234"))]),
    "twice.npz": npz([("x.npy", npy(ARRAYS["x"])), ("x", npy(ARRAYS["x"]))]),
    "text.npz": npz([("../x.npy", b"no array")]),
    "bomb.npz": npz([(f"{n}.npy", claiming((1 << 20,), bytes(1 << 22))) for n in range(5)], zipfile.ZIP_DEFLATED),
}


@needs_peaks
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", REFUSED)
def test_each_trick_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("rewriter.calibration.arrays._LARGEST", 1 << 24)  # 16 MB, for a bomb of 20
    (tmp_path / name).write_bytes(REFUSED[name])
    forget_peak()
    before = peak_kib()
    with pytest.raises(UsageError, match=name) as refused:
        read_calibration(tmp_path / name)
    assert "\n" not in str(refused.value)
    assert peak_kib() - before < 50_000


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path: Path, save: Any) -> None:
    save(tmp_path / "inputs.npz", **ARRAYS)
    (batch,) = read_calibration(tmp_path / "inputs.npz")
    assert torch.equal(batch["x"], torch.from_numpy(ARRAYS["x"]))
