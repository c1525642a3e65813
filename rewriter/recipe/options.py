"""The options of a rewrite: the engine's own, and the method's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from rewriter.errors import UsageError
from rewriter.methods import Method, MethodConfig
from rewriter.names import require_known

Width = Literal["match", "paper", "keep"] | Annotated[int, Field(gt=0)]


class RewriteOptions(BaseModel):
    """What the engine needs to know, whatever the method.

    Attributes:
        width: hidden width of rewritten MLPs: ``match`` (the largest within the site's parameter budget), ``paper``
            (a quarter of the old one), ``keep`` (the old one, over the budget), or a number of units.
        multiple: round matched widths down to a multiple of this (8, 16 or 64 suit tensor cores).
        include: rewrite only sites with a path that one of these globs matches; empty means all.
        exclude: leave sites with a path that one of these globs matches.
        strict: raise CaptureError when a module could not be captured.
        seed: seeds every random number of the rewrite.
        init: where new layers get their weights from: ``random``, or ``warm``, from the layers in their place.
        warm_seconds: how long a warm start with calibration data may take, in wall-clock seconds; what the regressions
            leave is spent on distillation.
        warm_steps: number of steps of distillation instead, which gives the same weights again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    width: Width = "match"
    multiple: Annotated[int, Field(gt=0)] = 1
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    strict: bool = False
    seed: int = 0
    init: Literal["random", "warm"] = "random"
    warm_seconds: Annotated[float, Field(ge=0)] = 60.0
    warm_steps: Annotated[int, Field(ge=0)] | None = None


Model = TypeVar("Model", bound=BaseModel)


def split_options(method: Method[Any], options: Mapping[str, Any]) -> tuple[RewriteOptions, MethodConfig]:
    """Sort a user's keywords into the engine's options and the method's config.

    Raises:
        UsageError: an option that neither knows (with the nearest name), or a value that does not fit.
    """
    engine, own = RewriteOptions.model_fields, method.config.model_fields
    for name in options:
        require_known(name, [*engine, *own], f"option of method {method.name!r}")
    return (
        _validated(RewriteOptions, {k: v for k, v in options.items() if k in engine}),
        _validated(method.config, {k: v for k, v in options.items() if k in own}),
    )


def _validated(model: type[Model], values: Mapping[str, Any]) -> Model:
    values = {
        name: (value,) if name in ("include", "exclude") and isinstance(value, str) else value
        for name, value in values.items()
    }
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        raise UsageError(
            expected=f"a valid {name} ({first['msg']})",
            found=repr(values.get(name)),
            remedy=f"change the option {name}",
        ) from None
