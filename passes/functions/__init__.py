"""The mathematics: activations, their adversarial functions, and their decompositions."""

from passes.functions.adversarial import Adversarial, adversarial
from passes.functions.catalogue import activation_names
from passes.functions.decomposition import Decomposition
from passes.functions.library import decomposition, decomposition_for, decomposition_names
from passes.functions.written_activation import activation

__all__ = [
    "Adversarial",
    "Decomposition",
    "activation",
    "activation_names",
    "adversarial",
    "decomposition",
    "decomposition_for",
    "decomposition_names",
]
