"""The entropy of an activation's output, and the ranking of activations by it (EAFO paper; the method, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from passes.evaluation.symbols import x
from passes.functions.catalogue import activation_names, catalogue_entry
from passes.functions.density import Density, Function
from passes.functions.program import compile_expression

Values = NDArray[Any]

_REFINED_CELLS, _PARTS = 8, 64


def output_entropy(function: Function, density: Density, *, where_rising: Function | None = None) -> float:
    """Return the entropy of ``f(U)`` for ``U`` of a density, in nats, to about 1e-5.

    For a function with an inverse ``y`` it is the paper's ``-∫ p(y)y' ln(p(y)y') dx``. Where several inputs have one
    output their densities add up; an interval that f maps to one value, as ReLU does, is an atom of probability m, and
    counts ``-m·ln m``, as in the entropy of a mixed discrete and continuous distribution.

    Args:
        function: the activation; elementwise, float64 to float64.
        density: of the input.
        where_rising: leave inputs out where this function is flat. The paper looks at ReLU that way, and only so does
            the entropy change continuously with a correction of it.
    """
    knots, masses = _refined(function, density)
    outputs: Values = function(knots).numpy()
    if where_rising is not None:
        masses = np.where(np.diff(where_rising(knots).numpy()) == 0, 0.0, masses)
    rises = np.diff(outputs)
    pieces = np.split(np.arange(len(rises)), _turns(rises) + 1)
    atoms = np.array([masses[piece].sum() for piece in pieces if rises[piece[0]] == 0])
    shared = masses.copy()
    for piece in pieces if len(pieces) > 1 else ():
        if rises[piece[0]] != 0:
            elsewhere = np.abs(np.diff(_mass_below(outputs, masses, piece)))
            elsewhere[piece] = 0.0
            shared += elsewhere
    moving = (rises != 0) & (masses > 0)
    log_density = np.log(shared[moving] / np.abs(rises[moving]))
    return -float(masses[moving] @ log_density) - float(sum(m * np.log(m) for m in atoms if m > 0))


def entropy_of(name: str, density: Density, **params: float) -> float:
    """Return the output entropy of an activation of the catalogue.

    Raises:
        UsageError: unknown name or parameter.
    """
    return output_entropy(compile_expression(catalogue_entry(name).at(params), (x,)), density)


def rank(density: Density, candidates: Iterable[str] | None = None) -> list[tuple[str, float]]:
    """Return activations with their output entropies in nats, the lowest, which EAFO holds the best, first.

    Args:
        density: of the pre-activations.
        candidates: canonical names; None for the whole catalogue.

    Raises:
        UsageError: a name that is not in the catalogue.
    """
    names = activation_names() if candidates is None else candidates
    return sorted(((name, entropy_of(name, density)) for name in names), key=lambda pair: pair[1])


def _turns(rises: Values) -> NDArray[np.intp]:
    """Return the positions of cells after which a function changes between rising, flat and falling."""
    return np.flatnonzero(np.diff(np.sign(rises)))


def _refined(function: Function, density: Density) -> tuple[Tensor, Values]:
    """Return knots, dense around each turn, where the output's density may have a pole, and the masses between them."""
    coarse = density.knots
    turns = _turns(np.diff(function(coarse).numpy()))
    cells = np.unique((turns[:, None] + np.arange(-_REFINED_CELLS, _REFINED_CELLS + 1)).clip(0, len(coarse) - 2))
    parts = torch.arange(1, _PARTS, dtype=torch.float64) * ((coarse[1] - coarse[0]) / _PARTS)
    knots = torch.cat([coarse, (coarse[cells, None] + parts).flatten()]).sort().values
    cell = torch.searchsorted(coarse, knots[:-1], right=True) - 1
    split = torch.isin(cell, torch.from_numpy(cells))
    masses = density.masses[cell]
    masses[split] = density.mass(knots[:-1][split], knots[1:][split])
    return knots, masses.numpy()


def _mass_below(outputs: Values, masses: Values, piece: Values) -> Values:
    """Return how much of one monotone piece's probability lies below each output."""
    ends = outputs[piece[0] : piece[-1] + 2]
    below = np.concatenate([[0.0], np.cumsum(masses[piece])])
    if ends[0] > ends[-1]:
        ends, below = ends[::-1], below[-1] - below[::-1]
    below_each: Values = np.interp(outputs, ends, below)
    return below_each
