"""The folder that a command writes into: made, refused, taken away again."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import BadInput
from backend.evaluation.output_folder import output_folder


def test_a_folder_that_nothing_was_written_into_goes_again(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such scan"), output_folder(tmp_path / "new"):
        raise BadInput("no such scan")
    assert not (tmp_path / "new").exists()
    (tmp_path / "own").mkdir()
    with output_folder(tmp_path / "own"):
        pass
    assert (tmp_path / "own").is_dir()  # it was there before


def test_what_was_written_stays(tmp_path: Path) -> None:
    def one_of_two() -> None:
        with output_folder(tmp_path / "new") as folder:
            (folder / "first").mkdir()
            raise BadInput("the second scan is broken")

    with pytest.raises(BadInput, match="second"):
        one_of_two()
    assert (tmp_path / "new" / "first").is_dir()


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, source, says in (
        (tmp_path / "file", None, "is a file"),
        (tmp_path / "no" / "where", None, "does not exist"),
        (tmp_path, tmp_path, "where the cases come from"),
    ):
        with pytest.raises(BadInput, match=says), output_folder(out, source):
            pytest.fail("it was let in")
