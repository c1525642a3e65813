"""Arguments and options that several commands share."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from rewriter.errors import UsageError

SourceArgument = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        help="timm:NAME[?key=value&…], torchvision:NAME[?…], hf:DIR_OR_ID or py:package.module:factory",
    ),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="a folder that `rewrite-model apply` wrote")]
CheckpointOption = Annotated[
    Path | None, typer.Option("--checkpoint", metavar="FILE_OR_DIR", help="trained weights for SOURCE, loaded strictly")
]
TrustPickleOption = Annotated[
    bool, typer.Option("--trust-pickle", help="run the code that pickles hold; without it none is ever run")
]
InputShapeOption = Annotated[
    str | None,
    typer.Option("--input-shape", metavar="CxHxW", help="one input's shape without the batch, such as 3x224x224"),
]
JsonOption = Annotated[bool, typer.Option("--json", help="print one JSON object, and everything else on stderr")]


def method_options(
    method: Annotated[str, typer.Option(help="a name that `rewrite-model list methods` shows")] = "sa",
    activation: Annotated[str | None, typer.Option(help="of the rewritten sites; default: what they have")] = None,
    terms: Annotated[int | None, typer.Option(help="number of branches; default: the most there are")] = None,
    width: Annotated[str, typer.Option(help="match, paper, keep or a number of hidden units")] = "match",
    multiple: Annotated[int, typer.Option(help="round matched widths down to a multiple of this")] = 1,
    alpha: Annotated[float | None, typer.Option(help="the lift α of adversarial functions")] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="example inputs, to measure on and to fit a warm start to: .npy, .npz, .safetensors, .txt or images",
        ),
    ] = None,
    init: Annotated[str, typer.Option(help="new weights: random, or warm, made from those in their place")] = "random",
    warm_seconds: Annotated[float | None, typer.Option(help="time for a warm start with --calibration")] = None,
    warm_steps: Annotated[int | None, typer.Option(help="its steps of distillation instead: always the same")] = None,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="only sites at these module paths")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="no site at these module paths")] = None,
    seed: Annotated[int, typer.Option(help="seed of the new weights")] = 0,
    strict: Annotated[bool, typer.Option("--strict", help="fail when a module could not be captured")] = False,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="another option of the method")
    ] = None,
) -> dict[str, Any]:
    """Gather the options of a rewrite as the Python doors take them; what was not given is left out.

    Raises:
        UsageError: a ``--set`` without a name and a value.
    """
    given: dict[str, Any] = {
        "method": method,
        "width": int(width) if width.isdecimal() else width,
        "multiple": multiple,
        "include": tuple(include or ()),
        "exclude": tuple(exclude or ()),
        "seed": seed,
        "strict": strict,
        "init": init,
    }
    optional = {"activation": activation, "terms": terms, "alpha": alpha, "calibration": calibration}
    optional |= {"warm_seconds": warm_seconds, "warm_steps": warm_steps}
    given |= {name: value for name, value in optional.items() if value is not None}
    return given | dict(_setting(text) for text in settings or ())


def takes_options(gather: Callable[..., Any], into: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make a decorator that gives a command the options of ``gather``; what that returns is its parameter ``into``."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(gather, eval_str=True).parameters
        own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.name != into]

        def gathered(**values: Any) -> None:
            gathering = gather(**{name: values.pop(name) for name in shared})
            command(**{into: gathering}, **values)

        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [p.replace(kind=keyword) for p in (*own, *shared.values())]
        gathered.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        gathered.__annotations__ = {p.name: p.annotation for p in parameters}
        gathered.__doc__ = command.__doc__
        return gathered

    return decorate


takes_method_options = takes_options(method_options, "options")
"""Gives a command the options of a rewrite, which reach it together in its parameter ``options``."""


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageError(expected="--set NAME=VALUE", found=repr(text), remedy="write for instance --set combine=sum")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value
