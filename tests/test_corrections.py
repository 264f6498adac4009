"""Painted masks and pins: what they change in a reconstruction, and what they must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from portraits import DATA, fixture_reconstructed
from synthetic_avatar import make_reconstruction

from backend import pipeline
from backend.artifacts import Run
from backend.corrections import Corrections, Pin, excluding, read_mask
from backend.errors import BadInput
from backend.uvspace.unwrap import unwrap


def test_a_mask_takes_skin_away_in_part(tmp_path: Path) -> None:
    painted = np.zeros((240, 320), np.uint8)
    painted[10, 20], painted[30, 40] = 255, 51
    Image.fromarray(painted).save(tmp_path / "mask.png")
    seen = replace(make_reconstruction().observation, skin_mask=np.full((240, 320), 0.5, np.float32))
    after = excluding(seen, read_mask(tmp_path / "mask.png"), Run())
    assert after.skin_mask[10, 20] == 0
    assert after.skin_mask[30, 40] == pytest.approx(0.4, abs=1e-6)
    assert after.skin_mask[0, 0] == 0.5
    assert after.landmarks_px is seen.landmarks_px
    assert after.skin_mask.dtype == np.float32


def test_a_mask_of_another_picture_is_refused() -> None:
    with pytest.raises(BadInput, match="100×50 pixels and the photo 320×240"):
        excluding(make_reconstruction().observation, np.zeros((50, 100), np.float32), Run())


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"no picture at all"])
def test_a_damaged_mask_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mask.png").write_bytes(data)
    with pytest.raises(BadInput, match="paint it again") as caught:
        read_mask(tmp_path / "mask.png")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_painting_hides_texels_and_never_moves_the_head() -> None:
    made = fixture_reconstructed("portrait_front")
    photo = made.observation.photo
    box = made.observation.face_box
    mask = np.zeros((photo.height, photo.width), np.float32)
    middle = round((box.x0 + box.x1) / 2)
    mask[:, middle:] = 1  # half of the face
    hidden = unwrap(excluding(made.observation, mask, Run()), made.fit, 512, Run())
    x, _ = made.fit.camera.project(made.partial.chart.position_head)
    right = made.partial.chart.inside & (x[..., 0] > middle + 4) & (x[..., 1] > 0)
    left = made.partial.chart.inside & (x[..., 0] < middle - 40)
    assert made.partial.confidence[right].max() > 0.9
    assert hidden.confidence[right].max() == 0
    assert hidden.confidence[left].tobytes() == made.partial.confidence[left].tobytes()
    whole = pipeline.reconstruct(DATA / "portrait_front.jpg", maps=512, corrections=Corrections(exclude=mask))
    assert whole.fit.vertices_head.tobytes() == made.fit.vertices_head.tobytes()
    assert whole.fit.camera.focal_px == made.fit.camera.focal_px
    assert whole.fit.camera.world_to_camera.tobytes() == made.fit.camera.world_to_camera.tobytes()
    assert [s.name for s in whole.stages][3] == "mask"


@pytest.mark.slow
def test_pins_hold_in_a_whole_reconstruction() -> None:
    made = fixture_reconstructed("portrait_front")
    head = made.fit.head

    def solved(fit):
        return fit.camera.project(head.mediapipe.positions(fit.vertices_head, head.triangles))[0]

    x, y = solved(made.fit)[61]
    pins = (Pin(61, float(x) - 4, float(y) + 3),)
    corrected = pipeline.reconstruct(
        DATA / "portrait_front.jpg", maps=512, corrections=Corrections(pins=pins)
    )
    assert np.hypot(*(solved(corrected.fit)[61] - pins[0][1:])) < 1.5
    assert corrected.fit.landmark_error_px == made.fit.landmark_error_px
    assert abs(corrected.fit.photometric_psnr_db - made.fit.photometric_psnr_db) < 1.5
    assert [s.name for s in corrected.stages][3] == "pins"
