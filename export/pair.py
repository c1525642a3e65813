"""An exported file, opened beside the eager model that it must agree with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from export.agreement import coarsest
from export.exporter import one_line, silenced
from export.options import ExportOptions, options_in
from export.outputs import named_tensors
from export.runner import Runner
from export.targets import TARGETS
from export.trials import Trial, trials
from export.view import ExportView, portable_view
from rewriter.errors import UsageError, ValidationError
from rewriter.sources.inputs import InputSpec

REMEDY = "export again, or choose another target"


@dataclass(frozen=True)
class Pair:
    """The two sides of a comparison, both on the CPU.

    Attributes:
        path: the exported file.
        specs: what both take.
        view: the eager model, with weights of the dtype that the file was asked to have.
        run: runs the file.
        options: the choices that the file was made with.
    """

    path: Path
    specs: Sequence[InputSpec]
    view: ExportView
    run: Runner
    options: ExportOptions

    @property
    def dtype(self) -> torch.dtype:
        """The coarsest dtype of the weights, which sets the tolerance."""
        return coarsest(parameter.dtype for parameter in self.view.parameters())

    def trials(self, batch_sizes: Sequence[int], real: Sequence[Any]) -> Iterator[Trial]:
        """Make the inputs to compare on."""
        return trials(self.view, self.specs, batch_sizes, real, dynamic_size=self.options.dynamic_size)

    def named(self, trial: Trial) -> Mapping[str, Tensor]:
        """Return copies of the inputs by name, since a model may write into what it is given."""
        return dict(zip(self.view.input_names, (tensor.clone() for tensor in trial.inputs), strict=True))

    def eager(self, trial: Trial) -> list[tuple[str, Tensor]]:
        """Return what eager PyTorch makes of the inputs, by name.

        Raises:
            UsageError: it cannot run on them.
            ValidationError: it makes NaN of them, with which nothing can agree.
        """
        try:
            with silenced():
                output = named_tensors(self.view.call(*(tensor.clone() for tensor in trial.inputs)))
        except Exception as error:
            raise UsageError(
                expected=f"{trial.origin} inputs that the model runs on {trial}",
                found=one_line(error),
                remedy="give inputs as its forward takes them",
            ) from error
        for name, tensor in output:
            if bool(torch.isnan(tensor).any()):
                raise ValidationError(
                    expected="outputs of the model in eager PyTorch that can be compared",
                    found=f"NaN in {name!r} {trial}",
                    remedy="check the model's weights, their dtype and the inputs",
                )
        if self.view.converts:
            return [(name, t.to(self.view.dtype) if t.is_floating_point() else t) for name, t in output]
        return output

    def exported(self, trial: Trial) -> list[Tensor]:
        """Return what the file makes of the inputs, one tensor for each of the eager model's.

        Raises:
            ValidationError: it fails on them.
        """
        with _demanding(f"{self.path.name} to run {trial}"):
            return self.run(self.named(trial))


def open_pair(model: nn.Module, specs: Sequence[InputSpec], path: Path, target: str) -> Pair:
    """Open the file at ``path`` beside a copy of ``model``.

    Raises:
        UsageError: the model does not run on inputs that fit ``specs``.
        ValidationError: the file does not load.
    """
    with _demanding(f"{path.name} to load"):
        options = options_in(dict(TARGETS[target].metadata(path)))
        run = TARGETS[target].load(path)
    return Pair(path, specs, portable_view(model, specs, options.dtype), run, options)


@contextlib.contextmanager
def _demanding(what: str) -> Iterator[None]:
    """Turn any failure of the export that runs inside into a ``ValidationError``."""
    try:
        with silenced():
            yield
    except Exception as error:
        raise ValidationError(expected=what, found=one_line(error), remedy=REMEDY) from error
