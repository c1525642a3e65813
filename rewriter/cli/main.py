"""The command ``rewrite-model``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from rewriter.cli.apply import apply_command
from rewriter.cli.bench import bench_command
from rewriter.cli.demo import demo_command
from rewriter.cli.diff import diff_command
from rewriter.cli.export import export_command
from rewriter.cli.finetune import finetune_command
from rewriter.cli.listing import listing
from rewriter.cli.plan import plan_command
from rewriter.cli.verify import verify_command
from rewriter.errors import RewriterError

app = typer.Typer(
    name="rewrite-model",
    help="Rewrite the MLPs and activations of a PyTorch model into parameter-matched parallel sub-graphs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_COMMANDS: dict[str, Callable[..., None]] = {
    "plan": plan_command,
    "apply": apply_command,
    "finetune": finetune_command,
    "export": export_command,
    "verify": verify_command,
    "diff": diff_command,
    "bench": bench_command,
    "demo": demo_command,
}
for _name, _command in _COMMANDS.items():
    app.command(_name)(_command)
app.add_typer(listing, name="list")


@app.callback()
def _options(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show the traceback of an error")] = False,
) -> None:
    context.obj = debug


def main() -> None:
    """Run the command line and exit with its code (0 done, 2 usage, 3 to 7 as the errors say)."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(args=["--debug", *arguments] if debug else arguments)
    except RewriterError as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except Exception as error:  # the last door: whatever it is, the user gets one line and not a traceback
        if debug:
            raise
        text = " ".join(str(error).split())[:300]
        print(f"error: unexpected {type(error).__name__}: {text}; run again with --debug", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
