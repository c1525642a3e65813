"""The ways to replace an activation, and the choice among them: no replacement serves the activations of two layers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Set
from dataclasses import dataclass, replace

from rewriter.sites.call_in_code import CallInCode
from rewriter.sites.region import Region
from rewriter.sites.site import ActivationAddress
from rewriter.tracing.calls import Run


@dataclass(frozen=True)
class Candidate:
    """One way to replace an activation.

    Attributes:
        address: where.
        loop: for a call in code, which activation of the code made it; calls of one may be told by their turn.
    """

    address: ActivationAddress
    loop: tuple[Run, int] | None = None


class Ways:
    """The ways to replace one activation, the best one first; those in code are looked for when they are asked for.

    Args:
        owner: path of the module whose code calls it.
        modules: those that replace a module.
        in_code: finds those in code, and why there are no more.
    """

    def __init__(self, owner: str, modules: list[Candidate], in_code: Callable[[], list[Candidate | str]]) -> None:
        self.owner, self.modules = owner, modules
        self._in_code = in_code
        self._found: list[Candidate | str] | None = None

    @property
    def candidates(self) -> list[Candidate]:
        """All of them."""
        return [*self.modules, *(found for found in self.look() if isinstance(found, Candidate))]

    @property
    def known(self) -> list[Candidate]:
        """Those that were looked for so far."""
        return self.candidates if self._found is not None else self.modules

    @property
    def path(self) -> str | None:
        """A path to show; None where there is no way."""
        found = self.modules or self.candidates
        return found[0].address.path if found else None

    @property
    def shared(self) -> str:
        """A path to show where several layers share all ways: in code, if there is one there."""
        found = sorted(self.known, key=lambda candidate: candidate.address.code is None)
        return found[0].address.path if found else ""

    @property
    def obstacle(self) -> str:
        """Why there is no way in code."""
        return next((found for found in self.look() if isinstance(found, str)), "")

    def look(self) -> list[Candidate | str]:
        """Give those in code, and why there are no more; looked for once."""
        if self._found is None:
            self._found = self._in_code()
        return self._found


def settled(
    ways: dict[Region, Ways], producers: dict[Region, str], refused: Set[Region]
) -> dict[Region, ActivationAddress | str]:
    """Choose an address for every activation, so that no replacement serves the activations of several layers.

    Args:
        ways: the ways to replace each, refused activations included.
        producers: what feeds each; a refused one is fed by nothing that another is fed by.
        refused: the activations that cannot be replaced; a loop with one of them stays as it is.

    Returns:
        The addresses, or why there is none.
    """
    sharing = _sharing(ways)
    chosen = {region: _alone(found.modules, sharing, producers) for region, found in ways.items()}
    owners = {ways[region].owner for region, address in chosen.items() if address is None}
    for found in ways.values():
        if found.owner in owners:
            found.look()  # the code of one owner is looked at as a whole
    sharing = _sharing(ways)
    result: dict[Region, ActivationAddress | str] = {}
    for region, found in ways.items():
        address = chosen[region] or _alone(found.known, sharing, producers)
        whole = (c for c in found.known if refused.isdisjoint(sharing[_key(c.address)]))
        turns = (_in_turn(region, c, sharing[_key(c.address)], ways, producers) for c in whole)
        address = address or next((one for one in turns if one is not None), None)
        result[region] = address or f"{found.shared} serves several layers, which one replacement would tie together"
    return result


def _sharing(ways: dict[Region, Ways]) -> dict[ActivationAddress, list[Region]]:
    sharing: dict[ActivationAddress, list[Region]] = defaultdict(list)
    for region, found in ways.items():
        for candidate in found.known:
            sharing[_key(candidate.address)].append(region)
    return sharing


def _alone(
    candidates: list[Candidate], sharing: dict[ActivationAddress, list[Region]], producers: dict[Region, str]
) -> ActivationAddress | None:
    own = (c.address for c in candidates if len({producers[one] for one in sharing[_key(c.address)]}) == 1)
    return next(own, None)


def _in_turn(
    region: Region,
    candidate: Candidate,
    sharing: list[Region],
    ways: dict[Region, Ways],
    producers: dict[Region, str],
) -> ActivationAddress | None:
    """Tell the calls at one place in a loop by their order, where it is the same in every run of the code."""
    code = candidate.address.code
    loops: dict[tuple[Run, int], list[Region]] = defaultdict(list)
    for one in sharing:
        own = next(c for c in ways[one].known if _key(c.address) == _key(candidate.address))
        if own.loop is None:
            return None
        loops[own.loop].append(one)
    orders = [[producers[one] for one in sorted(found, key=lambda r: r.exit)] for found in loops.values()]
    if (
        not isinstance(code, CallInCode)
        or any(order != orders[0] for order in orders)
        or len(set(orders[0])) != len(orders[0])
    ):
        return None
    turn = orders[0].index(producers[region])
    return replace(candidate.address, code=code.model_copy(update={"turn": turn}))


def _key(address: ActivationAddress) -> ActivationAddress:
    return replace(address, call=0)
