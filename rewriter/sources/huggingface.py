"""``hf:DIR_OR_ID``: a model of the transformers library, from a local folder or the hub."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from torch import nn

from rewriter.checkpoints.finite import require_finite
from rewriter.checkpoints.listing import count_and_name
from rewriter.errors import CheckpointError, UsageError
from rewriter.sources.construct import construct
from rewriter.sources.huggingface_inputs import describe_inputs
from rewriter.sources.inputs import InputSpec

_HUB_ID: Final = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def build(name: str, *, trained: bool) -> tuple[nn.Module, tuple[InputSpec, ...]]:
    """Create the model that ``config.json`` names; a local folder is read offline and no remote code is run.

    Args:
        name: a folder, or an identifier on the hub.
        trained: load the source's own weights; False builds from the configuration alone.

    Raises:
        UsageError: transformers is not installed, or there is no such folder or identifier.
        CheckpointError: the weights are unreadable, quantised, not finite, or lack or mismatch a key.
    """
    transformers = _import_transformers()
    location = _resolve(name)
    offline = isinstance(location, Path)
    try:
        config = transformers.AutoConfig.from_pretrained(location, trust_remote_code=False, local_files_only=offline)
    except Exception as error:
        raise UsageError(
            expected="a folder or hub identifier with a config.json of a model type that transformers knows",
            found=f"{name!r}: {textwrap.shorten(str(error), 300)}",
            remedy="give the folder that save_pretrained wrote, or check the identifier and the connection",
        ) from error
    architecture = _architecture(transformers, config)
    if trained:
        model = _load(architecture, location, config, offline)
    elif architecture is transformers.AutoModel:
        model = construct(lambda: architecture.from_config(config, trust_remote_code=False), f"hf:{name}")
    else:
        model = construct(lambda: architecture(config), f"hf:{name}")
    return model, describe_inputs(model)


def _import_transformers() -> ModuleType:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise UsageError(
            expected="the transformers package for hf: sources",
            found=f"{type(error).__name__}: {textwrap.shorten(str(error), 200)}",
            remedy="run `pip install network-rewriter[hf]`",
        ) from error


def _resolve(name: str) -> Path | str:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if _HUB_ID.fullmatch(name) and not folder.exists():
        return name
    raise UsageError(
        expected="an existing folder or a hub identifier (owner/name)", found=repr(name), remedy="check the path"
    )


def _architecture(transformers: ModuleType, config: Any) -> Any:
    named = (config.architectures or [""])[0]
    found = getattr(transformers, named, None)
    is_model = isinstance(found, type) and issubclass(found, transformers.PreTrainedModel)
    return found if is_model else transformers.AutoModel


def _load(architecture: Any, location: Path | str, config: Any, offline: bool) -> nn.Module:
    if getattr(config, "quantization_config", None) is not None:
        raise CheckpointError(
            expected="floating-point weights",
            found=f"{str(location)!r}, quantised according to its config.json",
            remedy="use the model it was quantised from",
        )
    try:
        model, info = architecture.from_pretrained(
            location,
            config=config,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            local_files_only=offline,
        )
    except Exception as error:
        raise CheckpointError(
            expected=f"weights of {architecture.__name__} that transformers can load",
            found=f"{str(location)!r}: {textwrap.shorten(str(error), 300)}",
            remedy="fetch the files again, or give other weights with --checkpoint",
        ) from error
    # A mismatched entry is a key, or a tuple that starts with it.
    mismatched = [key if isinstance(key, str) else key[0] for key in info["mismatched_keys"]]
    if info["missing_keys"] or mismatched:
        raise CheckpointError(
            expected=f"every weight of {architecture.__name__}",
            found=f"{str(location)!r} with "
            + count_and_name({"missing": info["missing_keys"], "of another shape": mismatched}),
            remedy="make config.json's architectures and sizes those of the weights",
        )
    require_finite(dict(model.named_parameters()), repr(str(location)))
    return model  # type: ignore[no-any-return]
