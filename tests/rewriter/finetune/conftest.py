"""The command line for the tests of fine-tuning."""

from tests.rewriter.cli.conftest import run

__all__ = ["run"]
