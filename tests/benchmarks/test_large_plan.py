from __future__ import annotations

from pathlib import Path

from benchmarks.large_plan import measure
from benchmarks.stream_checkpoint import LLAMA_70B, write_config


def test_a_model_that_is_never_in_memory_is_planned_both_ways(tmp_path: Path) -> None:
    write_config(tmp_path / "llama", LLAMA_70B | {"num_hidden_layers": 2})
    row = measure(tmp_path / "llama")
    embeddings = 2 * 32_000 * 8192
    layer = 2 * 8192 * 8192 + 2 * 8192 * 1024 + 3 * 8192 * 28_672 + 2 * 8192
    assert row["parameters (10⁹)"] == round((embeddings + 2 * layer + 8192) / 1e9, 1)
    assert row["sites"] == 2
    assert float(str(row["plan (s)"])) > 0
