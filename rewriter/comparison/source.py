"""The source that a rewrite edited: lines of methods that call activations, and nodes of graphs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from pydantic import BaseModel, ConfigDict
from torch import fx, nn

from rewriter.recipe import Recipe
from rewriter.surgery.calls import EditedCalls, edited_calls
from rewriter.surgery.edits import edited_lines
from rewriter.surgery.placed import with_code
from rewriter.tracing.names import ModuleNames


class SourceChange(BaseModel):
    """What a rewrite changed in the code of one method, or in the graph of a `torch.fx.GraphModule`.

    Attributes:
        class_name: qualified name of the class that defines the method.
        module: dotted name of the Python module with the class; None for a graph.
        method: name of the method.
        first_line: line of the file in which the method begins, decorators included; None for a graph.
        paths: of the modules of the model whose code it is, ``""`` for the model itself.
        removed: lines that are gone, as they stood; of a graph, the nodes.
        added: lines in their place.
        diff: both as a unified diff with a line of context; its numbers are those of the lines in the file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    class_name: str
    module: str | None
    method: str
    first_line: int | None
    paths: tuple[str, ...]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    diff: tuple[str, ...]


def source_changes(original: nn.Module, rewritten: nn.Module, recipe: Recipe) -> tuple[SourceChange, ...]:
    """Show what became of the modules whose own code calls activations; changes that are alike are given once.

    Args:
        original: the model before, with weights or without.
        rewritten: the model after.
        recipe: the recipe.

    Raises:
        UsageError: the code of the original is not what the recipe was made for.
    """
    names = ModuleNames(original)
    # Which functions are called does not matter to the source.
    functions = {site.address: nn.Identity() for site in with_code(original, recipe.sites)}
    found: dict[SourceChange, list[str]] = defaultdict(list)
    for calls in edited_calls(names, functions):
        path = names.paths(calls.owner)[0]
        for change in (*_of_methods(calls), *_of_graph(calls, rewritten.get_submodule(path))):
            found[change].append(path)
    return tuple(change.model_copy(update={"paths": tuple(paths)}) for change, paths in found.items())


def _of_methods(calls: EditedCalls) -> Iterator[SourceChange]:
    for method, edits in calls.methods.items():
        kind = method.holder if method.holder is not None else type(calls.owner)
        before, after = ([line.rstrip("\n") for line in lines] for lines in (method.lines, edited_lines(method, edits)))
        first = method.function.__code__.co_firstlineno
        yield _change(kind.__qualname__, method.function.__module__, method.attribute, first, before, after)


def _of_graph(calls: EditedCalls, rewritten: nn.Module) -> Iterator[SourceChange]:
    if calls.graph and isinstance(calls.owner, fx.GraphModule) and isinstance(rewritten, fx.GraphModule):
        before, after = (str(one.graph).splitlines() for one in (calls.owner, rewritten))
        yield _change(type(calls.owner).__name__, None, "forward", None, before, after)


def _change(
    class_name: str, module: str | None, method: str, first: int | None, before: Sequence[str], after: Sequence[str]
) -> SourceChange:
    diff = tuple(_unified(before, after, 1 if first is None else first))
    return SourceChange(
        class_name=class_name,
        module=module,
        method=method,
        first_line=first,
        paths=(),
        removed=tuple(line[1:] for line in diff if line.startswith("-")),
        added=tuple(line[1:] for line in diff if line.startswith("+")),
        diff=diff,
    )


def _unified(before: Sequence[str], after: Sequence[str], first: int) -> Iterator[str]:
    for group in SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(1):
        (_, i, _, j, _), (_, _, i_end, _, j_end) = group[0], group[-1]
        yield f"@@ -{first + i},{i_end - i} +{first + j},{j_end - j} @@"
        for tag, i, i_end, j, j_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in before[i:i_end])
            else:
                yield from (f"-{line}" for line in before[i:i_end])
                yield from (f"+{line}" for line in after[j:j_end])
