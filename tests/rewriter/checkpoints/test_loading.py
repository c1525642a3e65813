import copy
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from rewriter.checkpoints.loading import load_checkpoint
from rewriter.errors import CheckpointError

RESNET20 = Path(__file__).parents[4] / "shared/data/checkpoints/resnet20-12fca82f.th"


class Tied(nn.Module):
    """An embedding and an output layer that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.output = nn.Linear(3, 5, bias=False)
        self.output.weight = self.embedding.weight


class Positioned(nn.Module):
    """A layer with a constant buffer that its state dict leaves out, and an infinite one that it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.register_buffer("position_ids", torch.arange(4), persistent=False)
        self.register_buffer("mask", torch.full((3, 3), float("-inf")).triu(1))


def small_model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())


def randomised(model: nn.Module) -> nn.Module:
    """A copy whose floating-point tensors all differ from the model's."""
    other = copy.deepcopy(model)
    for tensor in other.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) + 2)
    return other


def assert_same_weights(model: nn.Module, expected: nn.Module) -> None:
    for (key, tensor), other in zip(model.state_dict().items(), expected.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), key


def assert_refused_unchanged(model: nn.Module, state: dict[str, Tensor], folder: Path, said: str) -> str:
    before = copy.deepcopy(model)
    torch.save(state, folder / "model.pt")
    with pytest.raises(CheckpointError, match=said) as caught:
        load_checkpoint(model, folder / "model.pt")
    assert_same_weights(model, before)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet34"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_saved_timm_model_is_loaded_bit_for_bit(tmp_path: Path, name: str, suffix: str):
    model = timm.create_model(name)
    trained, path = randomised(model), tmp_path / f"model{suffix}"
    state = trained.state_dict()
    _ = save_file(state, path) if suffix == ".safetensors" else torch.save({"model": state, "epoch": 1}, path)
    load_checkpoint(model, path)
    assert_same_weights(model, trained)


@pytest.mark.skipif(not RESNET20.is_file(), reason=f"{RESNET20.name} is not part of the repository")
def test_checkpoint_of_another_architecture_is_refused_with_counts(tmp_path: Path):
    model = timm.create_model("resnet18")
    before = copy.deepcopy(model)
    with pytest.raises(CheckpointError, match=r"\d+ missing \(.*\d+ unexpected \(.*\d+ of another shape \("):
        load_checkpoint(model, RESNET20)
    assert_same_weights(model, before)


def test_missing_unexpected_and_reshaped_keys_are_all_named(tmp_path: Path):
    state = small_model().state_dict()
    del state["0.bias"]
    state["head.weight"] = torch.ones(1)
    state["1.weight"] = torch.ones(7)
    message = assert_refused_unchanged(small_model(), state, tmp_path, "1 missing")
    for named in ["1 missing (0.bias)", "1 unexpected (head.weight)", "1 of another shape (1.weight [7] for [4])"]:
        assert named in message


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weight_that_is_not_finite_is_refused_by_name(tmp_path: Path, value: float):
    state = small_model().state_dict()
    state["0.weight"][0, 0, 0, 0] = value
    assert_refused_unchanged(small_model(), state, tmp_path, "0.weight")


def test_weight_too_large_for_the_models_dtype_is_refused(tmp_path: Path):
    state = {
        key: tensor.double() if tensor.is_floating_point() else tensor
        for key, tensor in small_model().state_dict().items()
    }
    state["0.bias"][0] = 1e300
    assert_refused_unchanged(small_model(), state, tmp_path, "0.bias")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.bool])
def test_quantised_weight_is_refused_by_name(tmp_path: Path, dtype: torch.dtype):
    state = small_model().state_dict()
    state["0.weight"] = state["0.weight"].to(dtype)
    assert_refused_unchanged(small_model(), state, tmp_path, r"quantised.*0\.weight: torch\.")


def test_sparse_weight_is_refused(tmp_path: Path):
    state = nn.Linear(2, 2).state_dict()
    state["weight"] = state["weight"].to_sparse()
    assert_refused_unchanged(nn.Linear(2, 2), state, tmp_path, "weight")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_dtype_is_converted_to_the_models(tmp_path: Path, dtype: torch.dtype):
    trained = randomised(small_model()).to(dtype)
    torch.save(trained.state_dict(), tmp_path / "model.pt")
    model = small_model()
    load_checkpoint(model, tmp_path / "model.pt")
    assert_same_weights(model, trained.float())


def test_tied_weight_saved_under_one_name_is_complete(tmp_path: Path):
    trained, model = randomised(Tied()), Tied()
    save_model(trained, str(tmp_path / "model.safetensors"))
    load_checkpoint(model, tmp_path / "model.safetensors")
    assert_same_weights(model, trained)
    assert model.output.weight is model.embedding.weight


def test_tied_weight_saved_under_no_name_is_missing(tmp_path: Path):
    model = nn.ModuleDict({"tied": Tied(), "other": nn.Linear(2, 2)})
    state = {key: tensor for key, tensor in model.state_dict().items() if key.startswith("other")}
    assert_refused_unchanged(model, state, tmp_path, r"2 missing \(tied.embedding.weight, tied.output.weight\)")


def test_tied_weight_with_two_values_is_refused(tmp_path: Path):
    state = {"embedding.weight": torch.zeros(5, 3), "output.weight": torch.ones(5, 3)}
    assert_refused_unchanged(Tied(), state, tmp_path, "tied names embedding.weight, output.weight")


def test_batch_counters_of_old_checkpoints_are_not_missed(tmp_path: Path):
    trained, model = randomised(small_model()), small_model()
    state = {key: tensor for key, tensor in trained.state_dict().items() if "num_batches_tracked" not in key}
    save_file(state, tmp_path / "model.safetensors")
    load_checkpoint(model, tmp_path / "model.safetensors")
    assert_same_weights(model, trained)


def test_constant_buffer_that_the_model_rebuilds_is_not_unexpected(tmp_path: Path):
    trained, model = randomised_linear(Positioned()), Positioned()
    save_file({**trained.state_dict(), "position_ids": torch.arange(4)}, tmp_path / "model.safetensors")
    load_checkpoint(model, tmp_path / "model.safetensors")
    assert_same_weights(model, trained)


def test_constant_buffer_with_another_value_is_unexpected(tmp_path: Path):
    state = {**Positioned().state_dict(), "position_ids": torch.arange(4) + 1}
    assert_refused_unchanged(Positioned(), state, tmp_path, r"1 unexpected \(position_ids\)")


def randomised_linear(model: Positioned) -> Positioned:
    nn.init.uniform_(model.linear.weight)
    return model


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrapped_and_bare_models_read_each_others_checkpoints(tmp_path: Path, prefix: str):
    def wrap(model: nn.Module) -> nn.Module:
        for name in reversed(prefix.split(".")[:-1]):
            model = nn.ModuleDict({name: model})
        return model

    trained = randomised(small_model())
    both_wrapped = (wrap(trained), wrap(small_model()))
    for saved, model in [(wrap(trained), small_model()), (trained, wrap(small_model())), both_wrapped]:
        torch.save(saved.state_dict(), tmp_path / "model.pt")
        load_checkpoint(model, tmp_path / "model.pt")
        assert_same_weights(model, trained)
