"""Where a call of an activation stands: in the source of a method, or in the graph of a GraphModule."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

Span = tuple[int, int, int, int]
_NAME: Any = Field(pattern=r"^[A-Za-z_]\w*$")


class CallInCode(BaseModel):
    """An expression in the source of a method, whose value is an activation's.

    Lines are counted from the method's first one, columns as Python does, in bytes.

    Attributes:
        method: the name of the method.
        digest: SHA-256 of its source, so that no other version of the code is taken for this one.
        expression: line and column where the expression begins and ends.
        operand: the same for the source of its input.
        assigned: where the expression is a statement such as ``x *= …``: the variable that gets the value.
        name: the attribute that is called in its place.
        turn: where the expression is computed for several layers one after the other, in a loop: for which.
        text: the expression as it is written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    expression: Span
    operand: Span
    assigned: str = ""
    name: str = _NAME
    turn: int | None = Field(default=None, ge=0, lt=2**16)
    text: str


class CallInGraph(BaseModel):
    """Nodes of a GraphModule's graph that compute an activation.

    Attributes:
        node: the name of the one whose value it is.
        operand: the name of its input.
        name: the attribute that is called in their place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    node: str
    operand: str
    name: str = _NAME
