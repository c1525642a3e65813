"""A sharded checkpoint of a Llama of a given size, made fast and the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from rewriter.sources.structure import load_structure

_BLOCK = 1 << 24  # values that are drawn once and laid end to end
_GIGABYTES_OF_A_LAYER = 0.405
_SHARD = 2_000_000_000  # bytes
_LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_attention_heads": 32,
    "num_key_value_heads": 32,
    "vocab_size": 32000,
    "tie_word_embeddings": False,
    "dtype": "bfloat16",
}
LLAMA_70B = _LLAMA | {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
}


def write_config(folder: Path, config: dict[str, object]) -> None:
    """Write the configuration of a model into a new folder."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def make_checkpoint(folder: Path, gigabytes: float) -> int:
    """Write a Llama of 7B's width, with as many layers as the size asks for, in bfloat16 shards with an index.

    Below half a gigabyte the width shrinks too, for trying the benchmark out. A finished checkpoint in the folder, of a
    run that was killed, is taken as it is.

    Returns:
        The size of its tensors in bytes.
    """
    written = folder / "model.safetensors.index.json"
    if written.exists():
        return int(json.loads(written.read_text())["metadata"]["total_size"])
    small = gigabytes < 0.5
    narrow = {"hidden_size": 256, "intermediate_size": 688, "num_attention_heads": 4, "num_key_value_heads": 4}
    embedding = 4 * _LLAMA["vocab_size"] * _LLAMA["hidden_size"] / 1e9  # type: ignore[operator]
    layers = max(1, round((gigabytes - embedding) / _GIGABYTES_OF_A_LAYER))
    write_config(folder, _LLAMA | ({**narrow, "num_hidden_layers": 4} if small else {"num_hidden_layers": layers}))
    model = load_structure(f"hf:{folder}").model
    values = torch.randn(_BLOCK, generator=torch.Generator().manual_seed(0)).mul_(0.02).to(torch.bfloat16)
    placed: dict[str, str] = {}
    for number, state in enumerate(_shards(model, values, 20_000_000 if small else _SHARD), start=1):
        name = f"model-{number:05}.safetensors"
        save_file(state, folder / name, metadata={"format": "pt"})
        placed |= dict.fromkeys(state, name)
    total = sum(tensor.numel() for tensor in model.state_dict().values()) * 2
    index = {"metadata": {"total_size": total}, "weight_map": placed}
    written.write_text(json.dumps(index), encoding="utf-8")
    return total


def _shards(model: nn.Module, values: Tensor, largest: int) -> Iterator[dict[str, Tensor]]:
    state: dict[str, Tensor] = {}
    filled = 0
    for number, (key, tensor) in enumerate(model.state_dict().items()):
        if state and filled + tensor.numel() * 2 > largest:
            yield state
            state, filled = {}, 0
        start = number * 1009 % 4096
        repeated = values[start:].repeat(-(-tensor.numel() // (_BLOCK - start)))
        state[key] = repeated[: tensor.numel()].reshape(tensor.shape).contiguous()
        filled += tensor.numel() * 2
    yield state
