"""The zoo: which models the coverage benchmark looks at, by library and sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final, Literal

from benchmarks.ci_sample import CI_SAMPLE
from benchmarks.zoo_libraries import libraries_models
from benchmarks.zoo_model import ZooModel
from benchmarks.zoo_transformers import transformers_models
from benchmarks.zoo_vision import size, timm_models, torchvision_models
from rewriter.errors import UsageError
from rewriter.names import require_known

Sample = Literal["all", "smallest", "classification", "ci"]
LIBRARIES: Final[dict[str, Callable[[], list[ZooModel]]]] = {
    "timm": timm_models,
    "torchvision": torchvision_models,
    "transformers": transformers_models,
    "libraries": libraries_models,
}


def zoo(
    library: str, sample: Sample = "all", globs: Sequence[str] = (), sizes: Mapping[str, int] | None = None
) -> list[ZooModel]:
    """List the models of a library, in its own order.

    Args:
        library: one of `LIBRARIES`.
        sample: ``all``; ``smallest``, the one of each family with the fewest parameters; ``classification``, without
            torchvision's groups of other tasks and of other inputs than images; or ``ci``, a fixed short list.
        globs: keep only names that one of these matches; empty keeps all.
        sizes: numbers of parameters by name where they are known already; finding them takes half a second a model.

    Raises:
        UsageError: the library is unknown, none of ``libraries`` can be imported, or nothing is left.
    """
    models = LIBRARIES[require_known(library, LIBRARIES, "library")]()
    if sample == "ci":
        models = [model for model in models if model.name in CI_SAMPLE.get(library, ())]
    if sample == "classification":
        models = [model for model in models if "." not in model.family]
    models = [model for model in models if not globs or any(fnmatchcase(model.name, glob) for glob in globs)]
    if sample == "smallest":
        models = _smallest(models, sizes or {})
    if not models:
        raise UsageError(expected=f"models of {library}", found="none that matches", remedy="change --models")
    return models


def _smallest(models: Sequence[ZooModel], sizes: Mapping[str, int]) -> list[ZooModel]:
    def parameters(model: ZooModel) -> int:
        return sizes.get(model.name) or size(model)

    families: dict[str, list[ZooModel]] = {}
    for model in models:
        families.setdefault(model.family, []).append(model)
    return [family[0] if len(family) == 1 else min(family, key=parameters) for family in families.values()]
