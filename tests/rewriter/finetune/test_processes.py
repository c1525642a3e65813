"""Several processes are refused rather than left to train each for itself."""

from __future__ import annotations

from pathlib import Path

from tests.rewriter.finetune.rewritten import content, start, write_folders


def test_several_processes_are_refused_and_the_folder_stays(tmp_path: Path) -> None:
    (folder,) = write_folders(tmp_path, "out")
    before = content(folder)
    process = start(folder, "--data", "data/train.npz", processes=2)
    _, err = process.communicate()
    assert process.returncode != 0
    assert "error: expected one process; found 2" in err
    assert content(folder) == before
