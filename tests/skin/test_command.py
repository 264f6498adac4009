"""``likeness synth skin``: folders of maps, a sheet, and one line where it cannot."""

import cv2
import msgspec
import pytest
import typer
from typer.testing import CliRunner

from backend.errors import BadInput, Missing
from synthdata.skin.command import skin
from synthdata.skin.maps import MAP_NAMES
from synthdata.skin.parameters import SkinParameters, sample_parameters


@pytest.fixture(scope="module")
def run():
    app = typer.Typer()
    app.command()(skin)

    def invoke(*arguments):
        return CliRunner().invoke(app, [str(a) for a in arguments])

    return invoke


def test_a_skin_its_parameters_and_a_sheet_are_written(run, tmp_path):
    result = run("-o", tmp_path / "out", "--seed", 3, "--size", 64, "--sheet")
    assert result.exit_code == 0, result.output
    folder = tmp_path / "out" / "skin_3"
    assert {path.stem for path in folder.glob("*.png")} == set(MAP_NAMES)
    stored = msgspec.json.decode((folder / "parameters.json").read_bytes(), type=SkinParameters)
    assert stored == sample_parameters(3)
    assert cv2.imread(str(tmp_path / "out" / "sheet.png")).shape == (256, 1280, 3)
    assert isinstance(run("-o", tmp_path / "out", "--seed", 3, "--size", 64).exception, BadInput)


def test_a_folder_that_cannot_be_or_scans_that_are_not_there_are_one_line(run, tmp_path):
    assert isinstance(run("-o", tmp_path / "no" / "where").exception, BadInput)
    assert isinstance(run("-o", tmp_path / "out", "--scans", tmp_path / "no").exception, Missing)
    assert not (tmp_path / "out").exists()
