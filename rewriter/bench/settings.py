"""How a model is run while it is measured."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Final, Literal

import torch

from rewriter.errors import UsageError
from rewriter.names import require_known

Precision = Literal["float32", "bfloat16", "float16", "amp"]
_DTYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "amp": torch.float32}


@dataclass(frozen=True)
class Settings:
    """The options of timm's ``benchmark.py`` that apply here, under its names.

    Attributes:
        batch_size: samples in a batch, the first that is tried.
        num_warm_iter: rounds before the measured ones.
        num_bench_iter: measured rounds; in each, every model runs once.
        precision: of weights and inputs; ``amp`` keeps float32 and runs under autocast, in bfloat16 on a CPU and in
            float16 on a GPU.
        channels_last: lay images and their weights out with channels last.
        torchcompile: measure ``torch.compile``, too.
        device: where the models run.
        threads: of torch on the CPU; None leaves what it has.
    """

    batch_size: int = 8
    num_warm_iter: int = 2
    num_bench_iter: int = 20
    precision: Precision = "float32"
    channels_last: bool = False
    torchcompile: bool = False
    device: str = "cpu"
    threads: int | None = None

    def __post_init__(self) -> None:
        require_known(self.precision, _DTYPES, "precision")
        for name in ("batch_size", "num_bench_iter"):
            if getattr(self, name) < 1:
                raise UsageError(
                    expected=f"a positive {name}", found=str(getattr(self, name)), remedy="give at least 1"
                )
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise UsageError(expected="a CUDA device", found="none", remedy="leave --device out to measure on the CPU")

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of weights and of floating-point inputs."""
        return _DTYPES[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout of images and of the weights of convolutions."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    @property
    def modes(self) -> tuple[str, ...]:
        """The ways to run a model, each with rows of its own."""
        return ("eager", "compiled") if self.torchcompile else ("eager",)

    def autocast(self) -> contextlib.AbstractContextManager[object]:
        """Return the context that the forward pass runs in."""
        if self.precision != "amp":
            return contextlib.nullcontext()
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16 if kind == "cpu" else torch.float16)

    def use_threads(self) -> int:
        """Set torch's number of threads where one was asked for, and return what it is."""
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        return torch.get_num_threads()
