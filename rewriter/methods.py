"""Methods: what a rewriting method is, and how it is found by name."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, JsonValue
from torch import nn

from rewriter.errors import UsageError
from rewriter.names import require_known
from rewriter.sites import Site
from rewriter.sites.site import Kind

ENTRY_POINT_GROUP = "rewriter.methods"


class MethodConfig(BaseModel):
    """The options of a method: subclass it with fields and defaults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Placement(BaseModel):
    """What a method puts at a site, as data.

    Attributes:
        function: the name shown to the user, such as ``gelu/4`` or ``g(relu)``.
        branches: number of parallel pre-activations it takes; 1 leaves the linears as they are.
        settings: what the method's ``build`` needs to make the module again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    function: str
    branches: int
    settings: dict[str, JsonValue]


Config = TypeVar("Config", bound=MethodConfig)


class Method(ABC, Generic[Config]):
    """A rewriting method: a config, which sites it wants and why it refuses one, and what it puts there.

    Attributes:
        name: the word users write.
        summary: one line for lists.
        config: the class of its options.
        kinds: the kinds of sites it wants.
        resizes: whether it needs a site whose layers may change their shape.
        observes: whether it looks at `Site.samples`, so that calibration inputs are run for it.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    config: ClassVar[type[MethodConfig]]
    kinds: ClassVar[frozenset[Kind]] = frozenset({"mlp", "linear", "conv", "embedding"})
    resizes: ClassVar[bool] = False
    observes: ClassVar[bool] = False

    def splits_lone(self, config: Config) -> bool:
        """Say whether it also wants lone activations, whose layer is split over a low-rank factor."""
        return False

    def warmed(self, config: Config) -> Config:
        """Give the config of a warm start, with the choices that the user left open made so that it keeps the most."""
        return config

    @abstractmethod
    def refuse(self, site: Site, config: Config) -> str | None:
        """Say why a site is not rewritten, or None to take it.

        Raises:
            UsageError: an option names something that does not exist.
        """

    @abstractmethod
    def place(self, site: Site, rank: int, config: Config) -> Placement:
        """Choose what goes to a site; ``rank`` is 0 at the deepest sites and grows towards the inputs."""

    @abstractmethod
    def build(self, settings: dict[str, JsonValue], channels_dim: int) -> nn.Module:
        """Make the module: ``branches × h`` channels along ``channels_dim`` in (branch after branch), ``h`` out."""


_registered: dict[str, type[Method[Any]]] = {}


def register(method: type[Method[Any]]) -> type[Method[Any]]:
    """Register a method class of user code under its name (a class decorator).

    Raises:
        UsageError: the class is abstract, or another class, registered or installed, has the name.
    """
    if inspect.isabstract(method):
        raise UsageError(
            expected="a method with refuse, place and build",
            found=f"{method.__name__} without some of them",
            remedy="define the missing ones",
        )
    known = _sources().get(method.name)
    if known is not None and known() is not method:
        raise UsageError(
            expected="a new method name", found=f"{method.name!r}, which is taken", remedy="choose another name"
        )
    _registered[method.name] = method
    return method


def method_names() -> list[str]:
    """List the names of all methods, installed and registered."""
    return sorted(set(_sources()))


def get_method(name: str) -> Method[Any]:
    """Give the method with a name.

    Raises:
        UsageError: there is none, with the nearest name.
    """
    sources = _sources()
    return sources[require_known(name, sources, "method")]()()


def _sources() -> dict[str, Callable[[], type[Method[Any]]]]:
    installed = {point.name: point.load for point in entry_points(group=ENTRY_POINT_GROUP)}
    return installed | {name: lambda method=method: method for name, method in _registered.items()}
