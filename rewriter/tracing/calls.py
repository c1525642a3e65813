"""Who made a call: the run of a module's code, and the place in that code."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from types import CodeType, FrameType

import torch.overrides
from torch import fx, nn


@dataclass(frozen=True)
class Place:
    """A place that a call was made from: an instruction of code, in one activation of it.

    Attributes:
        code: the code that ran.
        instruction: offset of the instruction in bytes.
        activation: tells one run of the code from every other.
    """

    code: CodeType
    instruction: int
    activation: int


@dataclass(eq=False)
class Run:
    """One run of a module's own code.

    Attributes:
        path: absolute path of the module.
        module: whose code it is.
        call: the call that started it; None for the outermost run of a graph.
        entered: the values that came in.
        left: the value that it returned; None until it did, and where it is not one value.
        calls: how many calls it made so far, those of modules counting as one.
        graph_node: for a GraphModule, the name of the node that is computed now.
    """

    path: str
    module: nn.Module
    call: Call | None = None
    entered: tuple[fx.Node, ...] = ()
    left: fx.Node | None = None
    calls: int = 0
    graph_node: str | None = None

    def within(self, other: Run) -> bool:
        """Say whether this is the other run or was started, at whatever depth, by it."""
        run: Run | None = self
        while run is not None and run is not other:
            run = run.call.run if run.call is not None else None
        return run is other


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a function, a tensor's method or a module.

    Attributes:
        run: the run of the code that made it.
        index: position of the call among the calls that this run made.
        places: where it was made, the innermost first, up to the module's own code.
        module: the module called, or None for a function or tensor method.
        path: the absolute path under which the caller reaches ``module`` (None for functions).
        alone: False when the caller reaches ``module`` under more than one name.
        plain: whether ``module`` was given one value by its position, as every activation can be called.
        graph_node: for the code of a GraphModule, the name of the node that is the call.
    """

    run: Run
    index: int
    places: tuple[Place, ...] = ()
    module: nn.Module | None = None
    path: str | None = None
    alone: bool = True
    plain: bool = True
    graph_node: str | None = None

    @property
    def owner(self) -> str:
        """Absolute path of the module whose own code made the call."""
        return self.run.path


_ENGINE = frozenset(
    code.co_filename
    for code in (
        fx.Tracer.trace.__code__,
        fx.Proxy.__torch_function__.__code__,
        fx.Interpreter.run_node.__code__,
        torch.overrides.handle_torch_function.__code__,
    )
)
_CALLS = nn.Module._call_impl.__code__.co_filename


@dataclass
class Places:
    """Notes the places of calls.

    A frame that was seen is kept, so that no other takes its identity.

    Args:
        engine: the file of the code that follows a model.
    """

    engine: str
    _frames: dict[int, FrameType] = field(default_factory=dict)

    def here(self) -> tuple[Place, ...]:
        """Give the places of a model's code that lead here, the innermost first, up to a module's own code."""
        found: list[Place] = []
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            code = frame.f_code
            if code.co_filename == _CALLS:  # of a module that is no part of the model, or of one that the engine calls
                frame = frame.f_back
                continue
            if code.co_filename not in _ENGINE and code.co_filename != self.engine:
                self._frames[id(frame)] = frame
                found.append(Place(code, frame.f_lasti, id(frame)))
            elif found:
                break
            frame = frame.f_back
        return tuple(found)
