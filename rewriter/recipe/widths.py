"""Hidden widths: how many units a rewritten chain of MLPs may have within its parameter budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rewriter.recipe.options import RewriteOptions

PAPER_PARALLEL_MATRICES = 4


@dataclass(frozen=True)
class Feed:
    """A layer that makes the values of one hidden layer.

    Attributes:
        before: how many values it makes for each hidden unit: 1, or 2 when it packs both factors of a gate.
        after: the same after the rewrite.
        bias: whether it has a bias.
    """

    before: int
    after: int
    bias: bool


@dataclass(frozen=True)
class Chain:
    """The shape of a chain of MLPs; a single MLP is a chain with one hidden layer.

    Attributes:
        fan_in: input width of the first layer.
        hidden: hidden widths, one for each site.
        feeds: for each site, the layers that make its values: one, or two for a gate in two layers.
        fan_out: output width of the last layer.
        freed: parameters of the activations that go away.
        coefficients: parameters of the functions that come.
    """

    fan_in: int
    hidden: tuple[int, ...]
    feeds: tuple[tuple[Feed, ...], ...]
    fan_out: int
    freed: int
    coefficients: int

    def fits(self, hidden: Sequence[int]) -> bool:
        """Say whether the rewritten chain has no more parameters than the original one."""
        before = self._weights(self.hidden, [[feed.before for feed in feeds] for feeds in self.feeds]) + self.freed
        after = self._weights(hidden, [[feed.after for feed in feeds] for feeds in self.feeds]) + self.coefficients
        return after <= before

    def _weights(self, hidden: Sequence[int], values: Sequence[Sequence[int]]) -> int:
        """Count weights and biases; the output bias, which never changes, is left out."""
        total, width = 0, self.fan_in
        for units, feeds, counts in zip(hidden, self.feeds, values, strict=True):
            total += sum(n * units * (width + feed.bias) for feed, n in zip(feeds, counts, strict=True))
            width = units
        return total + width * self.fan_out


def hidden_widths(chain: Chain, options: RewriteOptions) -> tuple[int, ...] | None:
    """Choose the hidden widths of a rewritten chain.

    ``match`` scales all hidden layers by one factor, the largest whose parameters, biases and trainable coefficients
    included, fit the budget; for a single MLP that is formula 23 of the paper with biases counted (the method,
    section 2). ``paper`` divides by four, ``keep`` keeps, a number sets every hidden width.

    Returns:
        The widths, or None when not even one unit a layer fits.
    """
    if options.width == "keep":
        return chain.hidden
    if isinstance(options.width, int):
        return tuple(options.width for _ in chain.hidden)
    if options.width == "paper":
        widths = tuple(_rounded(units // PAPER_PARALLEL_MATRICES, options.multiple) for units in chain.hidden)
        return widths if min(widths) > 0 and chain.fits(widths) else None
    widest = max(chain.hidden)
    low, high = 0, widest
    while low < high:
        middle = (low + high + 1) // 2
        if chain.fits([units * middle // widest for units in chain.hidden]):
            low = middle
        else:
            high = middle - 1
    widths = tuple(_rounded(units * low // widest, options.multiple) for units in chain.hidden)
    return widths if min(widths) > 0 else None


def _rounded(units: int, multiple: int) -> int:
    return units // multiple * multiple
