"""The zoo of other libraries: those that are installed, and why the rest is left out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import torch
from torch import nn

from benchmarks.libraries.library_model import LibraryModel
from benchmarks.zoo_model import ZooModel
from rewriter.errors import UsageError

PACKAGES: Final[Mapping[str, str]] = {
    "diffusers": "diffusers",
    "e3nn": "e3nn",
    "efficientnet_pytorch": "efficientnet-pytorch",
    "kornia": "kornia",
    "monai": "monai",
    "open_clip": "open-clip-torch",
    "pytorch_tabnet": "pytorch-tabnet",
    "rtdl": "rtdl-revisiting-models",
    "segmentation_models_pytorch": "segmentation-models-pytorch",
    "speechbrain": "speechbrain",
    "stable_baselines3": "stable-baselines3",
    "torch_geometric": "torch-geometric",
    "torchaudio": "torchaudio",
    "torchrl": "torchrl",
    "ultralytics": "ultralytics",
    "vit_pytorch": "vit-pytorch",
    "x_transformers": "x-transformers",
}
"""The file in `benchmarks.libraries` and the package that it is of."""


def libraries_models() -> list[ZooModel]:
    """List the models of every library that can be imported; a model's family is its library.

    Raises:
        UsageError: none can.
    """
    missing = left_out()
    present = [library for library in PACKAGES if library not in missing]
    if not present:
        raise UsageError(
            expected=f"one of {', '.join(PACKAGES.values())}",
            found="none that can be imported",
            remedy="pip install -r benchmarks/libraries.txt, best in an environment of its own",
        )
    models = []
    for library in present:
        for name, model in _models(library).items():
            load = partial(_load, library, name)
            models.append(
                ZooModel("libraries", f"{library}.{name}", library, load, counted=model.mlps, note=model.note)
            )
    return models


def left_out() -> dict[str, str]:
    """Say for each library that cannot be imported why: it is not installed, or does not go with the others."""
    reasons = {}
    for library in PACKAGES:
        try:
            _models(library)
        except ImportError as error:
            reasons[library] = f"{type(error).__name__}: {error}"
    return reasons


def library_versions() -> dict[str, str]:
    """Give the versions of the packages that are installed."""
    found = {}
    for package in PACKAGES.values():
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _models(library: str) -> Mapping[str, LibraryModel]:
    models: Mapping[str, LibraryModel] = import_module(f"benchmarks.libraries.{library}").MODELS
    return models


def _load(library: str, name: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """Build a model on the CPU wherever others are built: many constructors and forwards here read values."""
    entry = _models(library)[name]
    with torch.device("cpu"):
        return entry.make().eval(), entry.inputs()
