"""Distillation: the new weights are trained until the rewritten model's features are the original's.

Nothing but calibration inputs is needed, no labels. The loss compares what enters every site, in order that errors do
not build up with depth, and what the model returns: position by position, and in the mean over positions, since that is
what models are used by where their outputs are pooled.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn

from rewriter.warm.outputs import output_channels_dim
from rewriter.warm.watching import attention_mask, rows, run, seeing

Precision = Literal["float32", "bfloat16"]

_LEARNING_RATE = 2e-4
_BETAS = (0.9, 0.95)
_WARM_UP = 0.1
_INNER_WEIGHT = 0.1
_HEAD_START = 1e-3  # of the progress, so that the first step changes something
_PARTS = 1000


def distil(
    original: nn.Module,
    rewritten: nn.Module,
    trained: Sequence[nn.Parameter],
    features: dict[str, int],
    inputs: Sequence[Any],
    *,
    seed: int,
    seconds: float,
    steps: int | None,
    precision: Precision,
    on_step: Callable[[int, int], None],
) -> int:
    """Train ``trained`` by Adam so that ``rewritten`` computes what ``original`` does; both are in eval mode.

    Args:
        original: the teacher.
        rewritten: the student.
        trained: the student's parameters that change.
        features: modules by path, with the dimension of their input that holds the channels: what enters them is to be
            alike.
        inputs: calibration inputs, one for each step, in an order drawn from the seed; over again when they end.
        seed: of the order.
        seconds: the time to spend, unless ``steps`` says how many.
        steps: how many.
        precision: what products are computed in.
        on_step: called after each step with how much is done, and of how much.

    Returns:
        The number of steps.
    """
    started = time.perf_counter()
    loss_of = _Loss(original, rewritten, features, precision)
    order = _order(len(inputs), seed)
    with _training(rewritten, trained) as optimizer:
        loss_of.scale(inputs, seed)
        done = 0
        while (progress := done / steps if steps is not None else (time.perf_counter() - started) / seconds) < 1:
            rate = min(1.0, (progress + _HEAD_START) / _WARM_UP) * 0.5 * (1 + math.cos(math.pi * progress))
            for group in optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * rate
            optimizer.zero_grad()
            torch.autograd.backward(loss_of(inputs[next(order)]))
            optimizer.step()
            done += 1
            on_step(round(progress * _PARTS), _PARTS)
    return done


def faster_precision(device: torch.device) -> Precision:
    """Give the precision in which this machine multiplies matrices faster: bfloat16 must win by a half."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        left, right = torch.ones(512, 512, dtype=dtype, device=device), torch.ones(512, 512, dtype=dtype, device=device)
        float((left @ right)[0, 0])
        timings = []
        for _ in range(16):
            begun = time.perf_counter()
            float((left @ right)[0, 0])
            timings.append(time.perf_counter() - begun)
        seconds[dtype] = min(timings)  # what else the machine does only adds to it
    return "bfloat16" if seconds[torch.bfloat16] * 1.5 < seconds[torch.float32] else "float32"


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Compute products in a precision."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bfloat16" else nullcontext()


class _Loss:
    def __init__(
        self, original: nn.Module, rewritten: nn.Module, features: dict[str, int], precision: Precision
    ) -> None:
        self.original, self.rewritten = original, rewritten
        self.features, self.precision = features, precision
        self.device = next(rewritten.parameters()).device
        self.scales: list[float] = []

    def scale(self, inputs: Sequence[Any], seed: int) -> None:
        """Measure the variance of every compared value over some inputs, which its errors are divided by."""
        some = [inputs[i] for _, i in zip(range(8), _order(len(inputs), seed), strict=False)]
        with torch.no_grad():
            compared = [self._compared(self.original, given) for given in some]
        self.scales = []
        for values in zip(*compared, strict=False):
            joined = torch.cat([value.reshape(-1, value.shape[-1]) for _, value in values])
            spread = float((joined - joined.mean(0)).square().mean())
            self.scales.append(spread if spread > 0 else max(float(joined.square().mean()), 1e-12))

    def __call__(self, given: Any) -> Tensor:
        with torch.no_grad():
            expected = self._compared(self.original, given)
        found = self._compared(self.rewritten, given)
        pairs = zip(expected, found, self.scales, strict=False)
        return torch.stack([weight * (a - b).square().mean() / scale for (weight, a), (_, b), scale in pairs]).sum()

    def _compared(self, model: nn.Module, given: Any) -> list[tuple[float, Tensor]]:
        """Run a model and list what is compared, each with its weight; channels come last."""
        entered: list[tuple[float, Tensor]] = []

        def see(path: str, before: Tensor, _: Tensor) -> None:
            entered.append((_INNER_WEIGHT, rows(before, self.features[path], given).float()))

        with autocast(self.device, self.precision), seeing(model, list(self.features), see):
            outputs = run(model, given)
        most = max((output.numel() for output in outputs), default=1)
        for output in outputs:
            share = output.numel() / most  # every value counts alike
            dim = output_channels_dim(output)
            one = rows(output, dim, given).float()
            entered.append((share, one))
            if output.ndim > 2:
                entered.append((share, _pooled(output, dim, given)))
        return entered


def _pooled(output: Tensor, channels_dim: int, given: Any) -> Tensor:
    """Give the mean over all positions that no ``attention_mask`` hides, ``[N, C]``."""
    values = output.float().movedim(channels_dim, -1)
    seen = attention_mask(values, given)
    if seen is None:
        return values.flatten(1, -2).mean(1)
    weights = seen.to(values.dtype)[..., None]
    return (values * weights).sum(1) / weights.sum(1).clamp_min(1)


def _order(count: int, seed: int) -> Iterator[int]:
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


@contextmanager
def _training(model: nn.Module, trained: Sequence[nn.Parameter]) -> Iterator[torch.optim.Optimizer]:
    """Let gradients reach ``trained`` alone; on leaving all parameters are as before but for the values."""
    needed = {parameter: parameter.requires_grad for parameter in model.parameters()}
    for parameter in needed:
        parameter.requires_grad_(False)
    try:
        for parameter in trained:
            parameter.requires_grad_(True)
        with torch.enable_grad():
            yield torch.optim.Adam(trained, lr=_LEARNING_RATE, betas=_BETAS)
    finally:
        for parameter, need in needed.items():
            parameter.grad = None
            parameter.requires_grad_(need)
