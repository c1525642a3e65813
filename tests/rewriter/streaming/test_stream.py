"""A streamed checkpoint is the one that is made in memory."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.distributed.checkpoint as dcp
import transformers
from safetensors.torch import load_file, save_file, save_model
from torch import Tensor, nn

import rewriter
from rewriter.checkpoints.reading import read_state_dict
from rewriter.errors import CheckpointError, UsageError
from rewriter.streaming import stream

SHARD = 30_000  # bytes


class Functional(nn.Module):
    """Activations that are calls in a module's own code."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 40), nn.Linear(40, 6)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(nn.functional.gelu(self.first(x)))


class Tied(nn.Module):
    """An MLP between an embedding and an output layer that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
        self.output = nn.Linear(8, 9, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.mlp(self.embedding(tokens)))


def llama() -> nn.Module:
    config = transformers.LlamaConfig(
        hidden_size=16,
        intermediate_size=44,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=32,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


def mixtral() -> nn.Module:
    config = transformers.MixtralConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        vocab_size=32,
        num_local_experts=3,
    )
    return transformers.MixtralForCausalLM(config)


MODELS: dict[str, tuple[Callable[[], nn.Module], str, dict[str, Any]]] = {
    "vit": (lambda: timm.create_model("test_vit"), "sa", {}),
    "convnext": (lambda: timm.create_model("test_convnext"), "hdfgd", {}),
    "mobilenet": (lambda: timm.create_model("test_efficientnet"), "hdfgd", {"seed": 3}),
    "resnet": (lambda: timm.create_model("test_resnet"), "ga", {}),
    "lone": (lambda: timm.create_model("test_resnet"), "hdfgd", {"activation": "gelu", "low_rank": True}),
    "functional": (lambda: nn.Sequential(Functional(), Functional()), "hdfgd", {}),
    "tied": (Tied, "sa", {}),
    "llama": (llama, "hdfgd", {"width": "paper"}),
    "warm vit": (lambda: timm.create_model("test_vit"), "sa", {"init": "warm"}),
    "warm kept": (llama, "hdfgd", {"init": "warm", "width": "keep"}),
    "warm mobilenet": (lambda: timm.create_model("test_efficientnet"), "hdfgd", {"init": "warm"}),
    "warm mixtral": (mixtral, "hdfgd", {"init": "warm"}),
    "warm lone": (
        lambda: timm.create_model("test_resnet"),
        "hdfgd",
        {"activation": "gelu", "low_rank": True, "init": "warm"},
    ),
    "mixtral": (mixtral, "hdfgd", {}),
}


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """Make a model whose every floating-point value differs from what its constructor would give."""
    torch.manual_seed(1)
    model = make().eval()
    for tensor in {id(t): t for t in model.state_dict(keep_vars=True).values()}.values():
        if tensor.is_floating_point():
            tensor.data = torch.rand_like(tensor) + 0.5
    return model


def checkpoint_of(model: nn.Module, folder: Path) -> Path:
    """Write a model in two shards of safetensors."""
    folder.mkdir()
    save_model(model, str(folder / "whole"))
    state = load_file(folder / "whole")
    (folder / "whole").unlink()
    placed: dict[str, str] = {}
    for number in range(2):
        part = {key: state[key] for key in sorted(state)[number::2]}
        save_file(part, folder / f"part-{number}.safetensors")
        placed |= dict.fromkeys(part, f"part-{number}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    return folder


def same_tensors(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        found[key].dtype == tensor.dtype and torch.equal(found[key], tensor) for key, tensor in expected.items()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("name", MODELS)
def test_result_is_bit_for_bit_what_the_rewrite_in_memory_gives(tmp_path: Path, name: str) -> None:
    make, method, options = MODELS[name]
    model = trained(make)
    recipe = rewriter.plan(model, method, **options)
    expected = rewriter.apply(model, recipe).model
    checkpoint = checkpoint_of(model, tmp_path / "checkpoint")
    with torch.device("meta"):
        structure = make()
    shards = stream(structure, recipe, checkpoint, tmp_path / "out", shard_size=SHARD)
    assert len(shards) > (sum(t.nbytes for t in expected.state_dict().values()) > 2 * SHARD)
    restored = rewriter.restore(make(), tmp_path / "out").eval()
    assert same_tensors(restored.state_dict(), expected.state_dict())
    kept = {key: value for key, value in expected.state_dict().items() if not key.endswith("num_batches_tracked")}
    written = read_state_dict(tmp_path / "out")
    assert kept.keys() - written.keys() <= {"output.weight", "lm_head.weight"}


def test_shards_open_with_the_safetensors_library_and_are_no_larger_than_asked(tmp_path: Path) -> None:
    model = trained(lambda: timm.create_model("test_vit"))
    recipe = rewriter.plan(model, "hdfgd")
    stream(copy.deepcopy(model), recipe, checkpoint_of(model, tmp_path / "in"), tmp_path / "out", shard_size=SHARD)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    loaded: dict[str, Tensor] = {}
    for file in (tmp_path / "out").glob("*.safetensors"):
        state = load_file(file)
        assert len(state) == 1 or sum(tensor.nbytes for tensor in state.values()) <= SHARD
        assert all(index["weight_map"][key] == file.name for key in state)
        loaded |= state
    assert loaded.keys() == index["weight_map"].keys()
    assert sum(tensor.nbytes for tensor in loaded.values()) == index["metadata"]["total_size"]
    assert same_tensors(loaded, rewriter.apply(model, recipe).model.state_dict())


def test_several_workers_write_the_same_bytes(tmp_path: Path) -> None:
    model = trained(lambda: timm.create_model("test_vit"))
    recipe, checkpoint = rewriter.plan(model, "sa"), checkpoint_of(model, tmp_path / "in")
    for workers in (1, 3):
        made = copy.deepcopy(model)
        stream(made, recipe, checkpoint, tmp_path / f"{workers}", shard_size=SHARD, workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtype_of_the_checkpoint_is_kept(tmp_path: Path, dtype: torch.dtype) -> None:
    model = trained(lambda: timm.create_model("test_vit")).to(dtype)
    recipe, checkpoint = rewriter.plan(model, "sa"), checkpoint_of(model, tmp_path / "in")
    stream(timm.create_model("test_vit"), recipe, checkpoint, tmp_path / "out")
    assert same_tensors(read_state_dict(tmp_path / "out"), rewriter.apply(model, recipe).model.state_dict())


class WithBytes(nn.Module):
    """An MLP beside tensors of eight bits and a mask with infinities."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8))
        self.register_buffer("scales", torch.ones(16).to(torch.float8_e4m3fn))
        self.register_buffer("mask", torch.full((2, 2), float("-inf")))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


def test_bytes_of_eight_bit_floats_and_infinite_masks_are_kept(tmp_path: Path) -> None:
    model = WithBytes()
    model.scales = torch.randn(16).to(torch.float8_e4m3fn)
    recipe, checkpoint = rewriter.plan(model, "hdfgd"), checkpoint_of(model, tmp_path / "in")
    stream(WithBytes(), recipe, checkpoint, tmp_path / "out")
    written = read_state_dict(tmp_path / "out")
    assert written["scales"].view(torch.uint8).tolist() == model.scales.view(torch.uint8).tolist()
    assert torch.equal(written["mask"], model.mask)


@pytest.mark.parametrize(("key", "value"), [("embed.weight", "inf"), ("embed.weight", "nan"), ("mask", "nan")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_values_that_are_not_finite_are_refused_and_nothing_is_left(
    tmp_path: Path, dtype: torch.dtype, key: str, value: str
) -> None:
    def make() -> nn.Module:
        model = WithBytes()
        model.embed = nn.Embedding(1000, 100)
        return model.to(dtype)

    model = make()
    model.state_dict()[key].view(-1)[-1] = float(value)
    recipe, checkpoint = rewriter.plan(model, "hdfgd"), checkpoint_of(model, tmp_path / "in")
    with pytest.raises(CheckpointError, match=f"{key} with NaN"):
        stream(make(), recipe, checkpoint, tmp_path / "out", workers=2)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("suffix", ["bin", "distcp"])
@pytest.mark.filterwarnings("ignore")
def test_torch_files_and_distributed_folders_are_streamed_too(tmp_path: Path, suffix: str) -> None:
    model = trained(lambda: timm.create_model("test_vit"))
    recipe = rewriter.plan(model, "hdfgd")
    if suffix == "bin":
        torch.save({"state_dict": {f"module.{k}": v for k, v in model.state_dict().items()}}, tmp_path / "a.bin")
    else:
        dcp.save({"model": model.state_dict()}, checkpoint_id=str(tmp_path / "a.distcp"), no_dist=True)
    stream(copy.deepcopy(model), recipe, tmp_path / f"a.{suffix}", tmp_path / "out", workers=2)
    assert same_tensors(read_state_dict(tmp_path / "out"), rewriter.apply(model, recipe).model.state_dict())


def test_file_that_can_only_be_read_as_a_whole_is_refused(tmp_path: Path) -> None:
    model = trained(lambda: timm.create_model("test_vit"))
    torch.save(model.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match="can only be read as a whole"):
        stream(model, rewriter.plan(model, "hdfgd"), tmp_path / "old.pt", tmp_path / "out")


def test_tied_names_with_two_values_are_refused(tmp_path: Path) -> None:
    state = Tied().state_dict()
    state["output.weight"] = state["output.weight"] + 1
    save_file({key: value.clone() for key, value in state.items()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"tied names embedding\.weight, output\.weight"):
        stream(Tied(), rewriter.plan(Tied(), "hdfgd"), tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_checkpoint_of_another_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(Tied(), tmp_path / "in")
    model = timm.create_model("test_vit")
    with pytest.raises(CheckpointError, match="missing"):
        stream(model, rewriter.plan(model, "hdfgd"), checkpoint, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_existing_output_is_left_alone(tmp_path: Path) -> None:
    checkpoint = checkpoint_of(Tied(), tmp_path / "in")
    (tmp_path / "out").mkdir()
    with pytest.raises(UsageError, match="does not exist yet"):
        stream(Tied(), rewriter.plan(Tied(), "hdfgd"), checkpoint, tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    assert not list((tmp_path / "out").iterdir())


def test_recipe_names_the_files_on_both_sides_by_their_digests(tmp_path: Path) -> None:
    model = Tied()
    checkpoint = checkpoint_of(model, tmp_path / "in")
    source = rewriter.recipe.SourceRecord(spec="py:somewhere:model")
    stream(model, rewriter.plan(Tied(), "hdfgd", source=source), checkpoint, tmp_path / "out")
    recipe = rewriter.recipe.Recipe.read(tmp_path / "out" / "recipe.json")
    assert recipe.source is not None
    assert recipe.result is not None
    for folder, digests in ((checkpoint, recipe.source.files), (tmp_path / "out", recipe.result.files)):
        for digest in digests:
            content = (folder / digest.name).read_bytes()
            assert (digest.size, digest.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    weights = {path.name for path in (tmp_path / "out").glob("model*")}
    assert {digest.name for digest in recipe.result.files} == weights
    assert {digest.name for digest in recipe.source.files} == {"part-0.safetensors", "part-1.safetensors"}
