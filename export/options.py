"""What a user may choose about an export, beside the target."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rewriter.names import require_known

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
"""The dtypes that weights may be written in, by the names that the command line accepts."""


@dataclass(frozen=True)
class ExportOptions:
    """The choices of one export.

    Attributes:
        opset: the version of ai.onnx, for ONNX alone; None for the newest that runs.
        dynamic_size: whether the height and width of images may vary beside the batch.
        precision: a name of ``PRECISIONS`` that the floating-point weights are written in; None leaves them as they
            are. Inputs and outputs keep the dtype of the model.

    Raises:
        UsageError: the precision is unknown.
    """

    opset: int | None = None
    dynamic_size: bool = False
    precision: str | None = None

    def __post_init__(self) -> None:
        if self.precision is not None:
            require_known(self.precision, PRECISIONS, "precision")

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype of the weights to write, None for the model's own."""
        return None if self.precision is None else PRECISIONS[self.precision]

    def as_metadata(self) -> dict[str, str]:
        """Return the entries of a file's metadata that its reader needs in order to run it as it was meant."""
        entries = {"precision": self.precision, "dynamic_size": "true" if self.dynamic_size else None}
        return {name: value for name, value in entries.items() if value is not None}


AS_IT_IS = ExportOptions()
"""The choices of a user who makes none."""


def options_in(metadata: dict[str, str]) -> ExportOptions:
    """Return the choices that a file's metadata tells; the opset is the file's own business.

    Raises:
        UsageError: the precision is unknown.
    """
    return ExportOptions(dynamic_size=metadata.get("dynamic_size") == "true", precision=metadata.get("precision"))
