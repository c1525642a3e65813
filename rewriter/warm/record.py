"""What a warm start did, for the report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class SiteWarmth(BaseModel):
    """How far one rewritten site is from the original, on calibration inputs that nothing was fitted to.

    Each error is the squared difference of what the site gives, summed over all values, over that of the original's
    values from their mean; the square root of it.

    Attributes:
        path: the site.
        before: with the kept units copied into all branches; None where the outputs cannot be compared.
        after: at the end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    before: float | None
    after: float | None


class WarmRecord(BaseModel):
    """What a warm start did.

    Attributes:
        inputs: number of calibration inputs, each a batch; 0 when the weights alone were used.
        refitted: number of second layers that were regressed.
        steps: steps of distillation; give them as ``warm_steps`` to get the same weights again. Where they bring the
            outputs no nearer, they are taken back.
        precision: the dtype that products were computed in while distilling.
        seconds: wall-clock seconds of all.
        output_before: the error of the model's outputs, measured as that of a site; None without calibration.
        output_after: the same at the end.
        sites: the errors of the sites, in order of depth.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    inputs: int
    refitted: int = 0
    steps: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    seconds: float = 0.0
    output_before: float | None = None
    output_after: float | None = None
    sites: tuple[SiteWarmth, ...] = ()
