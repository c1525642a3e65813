"""The whole way on the bundled model: measure, rewrite, fine-tune, save, restore, export, compare."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from export import TARGETS, Parity, export_model
from rewriter.bench.interleaved import interleave
from rewriter.demo.digits import DigitsSplit
from rewriter.demo.train import OnStep, accuracy, fit
from rewriter.doors import Result
from rewriter.sources.inputs import InputSpec
from rewriter.sources.source import load_source
from rewriter.storage import restore, save

SOURCE = "py:rewriter.demo.model:digits_vit"
METHOD = "sa"
EXPORTS = ("onnx", "torchscript")
EPOCHS = 20
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
BATCH_SIZE = 64
LATENCY_BATCH = 64
LATENCY_ROUNDS = 30


@dataclass(frozen=True)
class Latency:
    """Median milliseconds for one batch, original and rewritten, in one run.

    Attributes:
        runner: what ran them, such as ``eager``.
        original: of the original model.
        rewritten: of the rewritten model.
    """

    runner: str
    original: float
    rewritten: float


def fine_tune(model: nn.Module, split: DigitsSplit, on_step: OnStep) -> float:
    """Train a rewritten model shortly on the training images and return its accuracy on the test images."""
    fit(
        model,
        split.train,
        epochs=EPOCHS,
        lr=LEARNING_RATE,
        weight_decay=WEIGHT_DECAY,
        seed=0,
        batch_size=BATCH_SIZE,
        on_step=on_step,
    )
    return accuracy(model, split.test)


def store(result: Result, directory: Path, images: Tensor) -> bool:
    """Save a result, restore it onto a fresh model, and say whether both give the same outputs bit for bit."""
    save(result, directory)
    restored = restore(load_source(SOURCE, trained=False).model, directory).eval()
    with torch.inference_mode():
        return torch.equal(restored(images), result.model.eval()(images))


def export(model: nn.Module, inputs: tuple[InputSpec, ...], directory: Path) -> Parity:
    """Export a model to ONNX and TorchScript and compare each with eager.

    Raises:
        ExportError: an exporter failed.
        ValidationError: an export computes something else.
    """
    return export_model(model, inputs, directory, EXPORTS)


def compare_latency(
    original: nn.Module,
    rewritten: nn.Module,
    inputs: tuple[InputSpec, ...],
    images: Tensor,
    directory: Path,
    on_round: Callable[[], None],
) -> list[Latency]:
    """Time one batch through both models in eager PyTorch and from their exports, all in turn.

    Args:
        original: the model before the rewrite; exported to a temporary folder for this.
        rewritten: the model after it.
        inputs: what both take.
        images: one batch.
        directory: the folder with the rewritten model's exports.
        on_round: called after each round.
    """
    with tempfile.TemporaryDirectory() as temporary:
        export(original, inputs, Path(temporary) / "original")
        feeds = {inputs[0].name: images}
        runs: dict[str, Callable[[], object]] = {}
        for name, model, folder in (
            ("original", original, Path(temporary) / "original"),
            ("rewritten", rewritten, directory),
        ):
            runs[f"eager {name}"] = partial(_eager, model, images)
            for target in EXPORTS:
                runs[f"{target} {name}"] = partial(TARGETS[target].load(folder / TARGETS[target].filename), feeds)
        times = interleave(runs, LATENCY_ROUNDS, on_round=on_round)
    return [
        Latency(runner, times[f"{runner} original"].median, times[f"{runner} rewritten"].median)
        for runner in ("eager", *EXPORTS)
    ]


def _eager(model: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model(images)
        return output
