"""Reading the report of a rewritten model."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from rewriter.errors import UsageError
from rewriter.report import Report
from rewriter.storage.folder import REPORT


def read_report(directory: Path) -> Report:
    """Read the report in a folder.

    Raises:
        UsageError: it is missing or is no report.
    """
    try:
        return Report.model_validate_json((directory / REPORT).read_bytes())
    except OSError as error:
        found = error.strerror or str(error)
    except ValidationError as error:
        first = error.errors()[0]
        found = f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}"
    raise UsageError(expected=f"a report in {directory / REPORT}", found=found, remedy="apply the recipe again")
