"""Makes the bundled weights: ``python -m rewriter.demo.make_weights`` trains ``DigitsViT`` from scratch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from rewriter.demo.digits import load_split
from rewriter.demo.model import WEIGHTS_FILE, DigitsViT
from rewriter.demo.train import accuracy, fit

EPOCHS = 90
SEED = 0
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
BATCH_SIZE = 64


def make(folder: Path, *, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train on the training part, write the weights and their JSON card into ``folder``, and return the card.

    The settings were chosen on a part of the training images held out for that; the test images are read once, after
    the last epoch. A progress bar goes to stderr.

    Args:
        folder: an existing folder; ``digits_vit.safetensors`` and ``digits_vit.json`` there are replaced.
        epochs: passes over the training images.
    """
    split = load_split()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = DigitsViT()
    with Progress(
        TextColumn("training"),
        BarColumn(),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    ) as progress:
        task = progress.add_task("training", total=None, loss=float("nan"))
        losses = fit(
            model,
            split.train,
            epochs=epochs,
            lr=LEARNING_RATE,
            weight_decay=WEIGHT_DECAY,
            seed=SEED,
            batch_size=BATCH_SIZE,
            on_step=lambda done, steps, loss: progress.update(task, completed=done, total=steps, loss=loss),
        )
    card = {
        "model": "rewriter.demo.model:digits_vit",
        "data": "scikit-learn load_digits",
        "command": "python -m rewriter.demo.make_weights",
        "train_images": len(split.train.labels),
        "test_images": len(split.test.labels),
        "test_accuracy": accuracy(model, split.test),
        "final_loss": losses[-1],
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "seed": SEED,
        "epochs": epochs,
        "lr": LEARNING_RATE,
        "weight_decay": WEIGHT_DECAY,
        "batch_size": BATCH_SIZE,
        "torch": torch.__version__,
    }
    weights = folder / WEIGHTS_FILE
    weights.write_bytes(safetensors.torch.save(model.state_dict()))
    weights.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n")
    return card


if __name__ == "__main__":
    torch.set_num_threads(1)  # the sums of a parallel product depend on the number of threads
    made = make(Path(__file__).parent)
    print(f"test accuracy {made['test_accuracy']:.4f} ({made['test_images']} images), {made['parameters']} parameters")
