"""Every kind of data becomes examples."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rewriter.errors import UsageError
from rewriter.finetune.data.spec import read_examples
from rewriter.finetune.data.takes import Takes, what_it_takes
from rewriter.sources.inputs import InputSpec

COLOURS = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
MEAN, DEVIATION = (0.5, 0.25, 0.0), (0.5, 1.0, 2.0)


def takes(shape: tuple[int, ...] | None = (3, 32, 32), source: str = "py:models:model") -> Takes:
    return Takes(source=source, name=None, shape=shape, mean=MEAN, deviation=DEVIATION)


def expected(images: np.ndarray) -> torch.Tensor:
    """Scale and normalise, channels first."""
    values = (images.astype(np.float64) / 255 - np.array(MEAN)) / np.array(DEVIATION)
    return torch.from_numpy(values.transpose(0, 3, 1, 2)).float()


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values in the format of MNIST's files."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (0, 3, 1, 2)])
def test_uint8_images_in_an_npz_are_scaled_and_normalised(order: tuple[int, ...], tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", images=COLOURS.transpose(order), y=np.arange(6))
    examples = read_examples(str(tmp_path / "data.npz"), takes())
    batch = examples.batch([4, 1])
    assert len(examples) == 6
    assert examples.labelled
    assert batch.labels is not None
    assert batch.labels.tolist() == [4, 1]
    torch.testing.assert_close(batch.inputs, expected(COLOURS[[4, 1]]))


def test_floats_in_an_npz_are_taken_as_they_are_and_several_arrays_by_name(tmp_path: Path) -> None:
    tokens, mask = np.arange(12).reshape(4, 3), np.ones((4, 3), dtype=np.int32)
    np.savez(tmp_path / "two.npz", input_ids=tokens, attention_mask=mask)
    batch = read_examples(str(tmp_path / "two.npz"), takes(None)).batch([3])
    assert batch.labels is None
    assert isinstance(batch.inputs, dict)
    assert batch.inputs["input_ids"].tolist() == [[9, 10, 11]]
    assert batch.mask is not None
    values = np.linspace(-3, 3, 20).reshape(4, 5)
    np.savez(tmp_path / "one.npz", x=values)
    torch.testing.assert_close(
        read_examples(str(tmp_path / "one.npz"), takes((5,))).batch([0, 2]).inputs,
        torch.from_numpy(values)[[0, 2]].float(),
    )


def test_an_image_folder_has_its_classes_from_its_sub_folders(tmp_path: Path) -> None:
    for index, image in enumerate(COLOURS):
        folder = tmp_path / "images" / ("cat" if index < 2 else "dog")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{index}.png")
    examples = read_examples(str(tmp_path / "images"), takes())
    batch = examples.batch(range(6))
    assert batch.labels is not None
    assert batch.labels.tolist() == [0, 0, 1, 1, 1, 1]
    torch.testing.assert_close(batch.inputs, expected(COLOURS))
    grey = read_examples(str(tmp_path / "images"), Takes("py:a:b", "pixels", (1, 16, 16), (0.0,), (1.0,)))
    inputs = grey.batch([0]).inputs
    assert isinstance(inputs, dict)
    assert inputs["pixels"].shape == (1, 1, 16, 16)

    (tmp_path / "images" / "dog" / "3.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match="complete image files"):
        examples.batch([3])


def test_a_torchvision_data_set_is_read_from_local_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"torchvision's MNIST on this machine.*torchvision:MNIST\?root=data"):
        read_examples(f"torchvision:MNIST?root={tmp_path}", takes())
    folder = tmp_path / "MNIST" / "raw"
    folder.mkdir(parents=True)
    images, labels = np.zeros((5, 28, 28), dtype=np.uint8), np.arange(5, dtype=np.uint8)
    images[3, 2, 7] = 255
    for part in ("train", "t10k"):
        write_idx(folder / f"{part}-images-idx3-ubyte", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte", labels)
    grey = Takes("py:a:b", None, (1, 28, 28), (0.0,), (1.0,))
    examples = read_examples(f"torchvision:MNIST?root={tmp_path}&train=false", grey)
    batch = examples.batch([4, 3])
    assert len(examples) == 5
    assert batch.labels is not None
    assert batch.labels.tolist() == [4, 3]
    assert isinstance(batch.inputs, torch.Tensor)
    assert batch.inputs.nonzero().tolist() == [[1, 0, 2, 7]]


@pytest.mark.parametrize("packed", [False, True])
def test_lines_of_text_are_cut_by_the_models_own_tokenizer(packed: bool, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "small", "model"]
    (tmp_path / "vocab.txt").write_text("\n".join(words), encoding="utf-8")
    transformers.BertTokenizer(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "model")
    text = b"a small model\n\n a model\n"
    path = tmp_path / ("lines.txt.gz" if packed else "lines.txt")
    path.write_bytes(gzip.compress(text) if packed else text)
    examples = read_examples(str(path), takes(None, f"hf:{tmp_path / 'model'}"))
    batch = examples.batch([0, 1])
    assert len(examples) == 2
    assert not examples.labelled
    assert batch.labels is None
    assert batch.mask is not None
    assert batch.mask.sum(1).tolist() == [5, 4]  # with [CLS] and [SEP]


def test_what_cannot_be_read_is_refused_with_a_reason(tmp_path: Path) -> None:
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 not a zip")
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    np.savez(tmp_path / "uneven.npz", x=np.zeros((3, 2)), y=np.zeros(4))
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "lines.txt").write_text("text\n")
    (tmp_path / "folder").mkdir()
    for name, message in {
        "damaged.npz": "complete .npz file",
        "objects.npz": "complete .npz file",
        "uneven.npz": "all of one length",
        "empty.txt": "lines of text",
        "lines.txt": "a transformers model, whose tokenizer reads text",
        "folder": "one sub-folder of image files for each class",
        "missing": "which does not exist",
    }.items():
        with pytest.raises(UsageError, match=message):
            read_examples(str(tmp_path / name), takes())
    np.savez(tmp_path / "two.npz", x=np.zeros((2, 2, 32, 32), dtype=np.uint8))
    examples = read_examples(str(tmp_path / "two.npz"), takes())
    with pytest.raises(UsageError, match="images of 3 channels"):
        examples.batch([0])
    with pytest.raises(UsageError, match="torchvision data set"):
        read_examples("torchvision:CIFRA10", takes())


def test_a_model_says_how_its_images_are_normalised() -> None:
    model = nn.Identity()
    spec = (InputSpec(name="x", shape=(3, 8, 8)),)
    assert what_it_takes(model, "py:a:b", spec).mean == (0.485, 0.456, 0.406)
    assert what_it_takes(model, "py:a:b", (InputSpec(name="x", shape=(1, 8, 8)),)).deviation == (1.0,)
    model.pretrained_cfg = {"mean": (0.1, 0.2, 0.3), "std": (1.0, 2.0, 3.0)}  # type: ignore[assignment]
    assert what_it_takes(model, "timm:x", spec).deviation == (1.0, 2.0, 3.0)
    assert what_it_takes(model, "timm:x", spec, mean=(0.0, 0.0, 0.0)).mean == (0.0, 0.0, 0.0)
