"""Training a classifier on the digits, and measuring it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewriter.demo.digits import Digits

OnStep = Callable[[int, int, float], None]

_TURN = math.radians(10.0)
_ZOOM = 0.1
_SHIFT = 0.5  # pixels


def fit(
    model: nn.Module,
    train: Digits,
    *,
    epochs: int,
    lr: float,
    weight_decay: float,
    seed: int,
    batch_size: int,
    on_step: OnStep | None = None,
) -> list[float]:
    """Train ``model`` in place and return the mean cross-entropy (nats) of each epoch.

    AdamW under a one-cycle cosine schedule, on images turned, scaled and shifted a little. The same seed gives the same
    weights on the same machine and thread count; the caller's random state is left as it was. The model ends in eval
    mode.

    Args:
        model: maps ``[N, 1, 8, 8]`` to logits ``[N, 10]``.
        train: the images to learn from.
        epochs: passes over ``train``.
        lr: the highest learning rate, reached after a tenth of the steps.
        weight_decay: AdamW's decay of the matrices; vectors (biases, norms, coefficients) are not decayed.
        seed: of the order, the jitter and the dropout.
        batch_size: images per step; the last step of an epoch takes what is left.
        on_step: called after each step with the steps done, the steps in all, and the step's loss.
    """
    steps = epochs * -(-len(train.images) // batch_size)
    optimizer = torch.optim.AdamW(_groups(model.parameters(), weight_decay), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, total_steps=steps, pct_start=0.1)
    losses, done = [], 0
    model.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for _ in range(epochs):
            total = 0.0
            for batch in torch.split(torch.randperm(len(train.images)), batch_size):
                loss = F.cross_entropy(model(_jittered(train.images[batch])), train.labels[batch])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                total += loss.item() * len(batch)
                done += 1
                if on_step is not None:
                    on_step(done, steps, loss.item())
            losses.append(total / len(train.images))
    model.eval()
    return losses


def accuracy(model: nn.Module, data: Digits) -> float:
    """Return the fraction of ``data`` that ``model``, put in eval mode, labels right (0 to 1)."""
    with torch.inference_mode():
        predicted = model.eval()(data.images).argmax(dim=1)
    return int((predicted == data.labels).sum()) / len(data.labels)


def _groups(parameters: Iterable[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def _jittered(images: Tensor) -> Tensor:
    """Rotate, scale and shift each image a little; what comes in at the border is background."""
    background = images.min()
    turn, zoom, right, down = torch.empty(4, len(images)).uniform_(-1.0, 1.0)
    turn, zoom = turn * _TURN, 1.0 + zoom * _ZOOM
    shift = 2.0 * _SHIFT / images.shape[-1]  # grid_sample's image is 2 units wide
    cosine, sine = zoom * turn.cos(), zoom * turn.sin()
    rows = torch.stack([cosine, -sine, shift * right, sine, cosine, shift * down], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(rows, list(images.shape), align_corners=False)
    return F.grid_sample(images - background, grid, align_corners=False) + background
