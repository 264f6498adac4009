"""Sheets of photographs that have no truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_failing
from PIL import Image
from synthetic_avatar import make_camera, make_reconstruction

from backend import pipeline
from backend.artifacts import PartialUV, Reconstruction
from backend.errors import BadInput
from backend.evaluation.gallery import panoramas, photographs, sheet, sheets
from backend.export import sheet as layout
from backend.shading import studio
from backend.shading.environment import write_hdr
from backend.uvspace.chart import chart_maps


@pytest.fixture(scope="module")
def made() -> Reconstruction:
    """The egg before a photo that is red where its face lies."""
    made = make_reconstruction(size=96, camera=make_camera(640, 480), expression={})
    landmarks, _ = made.fit.camera.project(made.fit.vertices_head[:478])
    low, high = landmarks[:468].min(0), landmarks[:468].max(0)
    x, y = np.meshgrid(np.arange(640) + 0.5, np.arange(480) + 0.5)
    face = (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])
    photo = np.where(face[..., None], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9]).astype(np.float32)
    observation = dataclasses.replace(
        made.observation,
        photo=dataclasses.replace(made.observation.photo, rgb_srgb=photo),
        landmarks_px=landmarks.astype(np.float32),
    )
    chart = chart_maps(made.fit.head, made.fit.vertices_head, 96)
    partial = PartialUV(chart, made.partial.rgb_linear, np.float32(0.5) * chart.inside, 2.5)
    return dataclasses.replace(made, observation=observation, partial=partial)


def test_a_sheet_shows_the_face_and_every_light_from_three_sides(made: Reconstruction) -> None:
    lamp, row = studio.hard_side(), 700
    page = sheet(made, [lamp.rotated(22), lamp.rotated(-158)], row).astype(float)  # from its left, its right
    side, width = layout.tile_width(row, 7), layout.tile_width(row, 5)
    photo = page[layout.HEADER : layout.HEADER + side, layout.MARGIN : layout.MARGIN + side]
    middle = photo[side // 2, side // 2]
    assert middle[0] > 200 > 60 > middle[2]
    assert photo[3, 3, 2] > photo[3, 3, 0]  # around the face lies what is not face
    height = round(1.2 * width)
    first = layout.HEADER + side + layout.CAPTION + layout.GAP
    assert page.shape[0] == first + 3 * (height + layout.CAPTION) + 2 * layout.GAP + layout.FOOTER
    front = page[first : first + height]
    for start, brighter in ((layout.MARGIN, 1), (layout.MARGIN + width + layout.GAP, 0)):
        tile = front[:, start : start + width]
        halves = tile[:, : width // 2].mean(), tile[:, width // 2 :].mean()
        assert halves[brighter] > 1.1 * halves[1 - brighter]


def test_one_photo_that_fails_does_not_stop_the_others(
    made: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reconstruct(photo: Path, **_: object) -> Reconstruction:
        if photo.stem == "sky":
            raise BadInput("no human face found")
        return made

    monkeypatch.setattr(pipeline, "reconstruct", reconstruct)
    write_hdr(tmp_path / "lamp.hdr", studio.hard_side().radiance)
    lights = panoramas(tmp_path)
    photos = [Path("sky.jpg"), Path("face.jpg")]
    found = dict(sheets(photos, lights, tmp_path, head="open", maps=512, seed=0, on_progress=lambda *_: None))
    assert isinstance(found[photos[0]], BadInput)
    assert found[photos[1]] == made.warnings
    assert sorted(p.name for p in tmp_path.glob("*.jpg")) == ["face.jpg"]
    assert Image.open(tmp_path / "face.jpg").width > 2000


def test_photographs_are_found_by_name(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "notes.md"):
        (tmp_path / name).touch()
    assert [p.name for p in photographs(tmp_path)] == ["a.jpg", "b.PNG"]
    assert photographs(tmp_path / "a.jpg") == [tmp_path / "a.jpg"]


def test_what_is_missing_is_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = ["-o", tmp_path / "out"]
    (tmp_path / "one.jpg").touch()
    run_failing(["evaluate", "gallery", tmp_path / "no", "--hdri", tmp_path, *out], 2, capfd, "photograph")
    run_failing(["evaluate", "gallery", tmp_path, "--hdri", tmp_path, *out], 2, capfd, "no .hdr panoramas")
