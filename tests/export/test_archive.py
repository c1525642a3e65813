from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from export.archive import archive_metadata
from export.program import export_program
from export.torchscript import export_torchscript


@pytest.mark.parametrize("export", [export_program, export_torchscript])
@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_metadata_is_read_without_loading_the_model(export, small, tmp_path: Path) -> None:
    model, specs = small
    export(model, specs, tmp_path / "model", metadata={"method": "sa"})
    assert archive_metadata(tmp_path / "model") == {"method": "sa"}


def test_an_archive_without_metadata_has_none_and_another_file_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "empty", "w") as archive:
        archive.writestr("model/version", "3")
    assert archive_metadata(tmp_path / "empty") == {}
    (tmp_path / "text").write_text("no archive")
    with pytest.raises(zipfile.BadZipFile):
        archive_metadata(tmp_path / "text")
