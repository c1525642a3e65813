import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from rewriter.calibration import read_calibration
from rewriter.errors import UsageError

IMAGES = np.random.default_rng(0).normal(size=(150, 1, 4, 4))


def test_an_npy_file_becomes_batches_of_single_precision_tensors(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    batches = read_calibration(tmp_path / "images.npy")
    assert [len(batch) for batch in batches] == [64, 64, 22]
    assert torch.equal(torch.cat(batches), torch.from_numpy(IMAGES).float())


def test_one_array_under_a_name_is_the_first_argument(tmp_path):
    np.savez(tmp_path / "images.npz", anything=IMAGES)
    save_file({"anything": torch.from_numpy(IMAGES)}, tmp_path / "images.safetensors")
    for name in ("images.npz", "images.safetensors"):
        assert torch.equal(torch.cat(read_calibration(tmp_path / name)), torch.from_numpy(IMAGES).float())


def test_several_arrays_are_keyword_arguments_and_integers_stay_integers(tmp_path):
    arrays = {"input_ids": np.arange(140).reshape(70, 2), "scale": np.ones((70, 2))}
    np.savez(tmp_path / "tokens.npz", **arrays)
    save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, tmp_path / "tokens.safetensors")
    for name in ("tokens.npz", "tokens.safetensors"):
        first, second = read_calibration(tmp_path / name)
        assert first["input_ids"].dtype == torch.int64
        assert first["scale"].dtype == torch.float32
        assert second["input_ids"].tolist() == arrays["input_ids"][64:].tolist()


def test_bad_files_are_refused_in_one_line(tmp_path):
    np.savez(tmp_path / "lengths.npz", a=np.ones((3, 2)), b=np.ones((4, 2)))
    np.save(tmp_path / "scalar.npy", np.float64(1))
    np.save(tmp_path / "none.npy", np.ones((0, 3)))
    np.save(tmp_path / "objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    (tmp_path / "truncated.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "broken.safetensors").write_bytes(b"not a header")
    (tmp_path / "images.txt").write_text("1 2 3")
    for name, message in {
        "lengths.npz": r"one and the same number of inputs.*a \(3, 2\), b \(4, 2\)",
        "scalar.npy": "number of inputs",
        "none.npy": "number of inputs",
        "objects.npy": "complete .npy file of numbers",
        "words.npy": "complete .npy file of numbers",
        "truncated.npz": "complete .npz file",
        "broken.safetensors": "complete .safetensors file",
        "images.txt": "ending in .npy, .npz, .safetensors",
        "absent.npy": "does not exist",
    }.items():
        with pytest.raises(UsageError, match=message) as refused:
            read_calibration(tmp_path / name)
        assert "\n" not in str(refused.value)
