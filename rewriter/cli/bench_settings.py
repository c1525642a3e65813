"""The options of a measurement, under the names of timm's ``benchmark.py``."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from rewriter.bench.settings import Precision, Settings
from rewriter.cli.arguments import takes_options


def bench_settings(
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", help="fewer where memory does not suffice")] = 8,
    num_warm_iter: Annotated[int, typer.Option(help="rounds before the measured ones")] = 2,
    num_bench_iter: Annotated[int, typer.Option(help="measured rounds; in each, both models run")] = 20,
    precision: Annotated[str, typer.Option(help="float32, bfloat16, float16 or amp")] = "float32",
    amp: Annotated[bool, typer.Option("--amp", help="the same as --precision amp")] = False,
    channels_last: Annotated[bool, typer.Option("--channels-last", help="lay images out with channels last")] = False,
    torchcompile: Annotated[bool, typer.Option("--torchcompile", help="measure torch.compile, too")] = False,
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
) -> Settings:
    """Gather the settings.

    Raises:
        UsageError: one of them is unknown or out of range.
    """
    return Settings(
        batch_size=batch_size,
        num_warm_iter=num_warm_iter,
        num_bench_iter=num_bench_iter,
        precision=cast(Precision, "amp" if amp else precision),
        channels_last=channels_last,
        torchcompile=torchcompile,
        device=device,
    )


takes_bench_settings = takes_options(bench_settings, "settings")
"""Gives a command these options, which reach it together in its parameter ``settings``."""
