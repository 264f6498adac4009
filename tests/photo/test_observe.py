"""Landmarks, masks and the whole observation of known pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_pictures import as_photo

from backend.artifacts import Observation, Photo, Run
from backend.photo import face_regions as regions
from backend.photo.decode import load_photo
from backend.photo.landmarks import face_landmarks
from backend.photo.mesh_topology import IRIS_CENTRES, outward_normals, triangles, visibility
from backend.photo.observe import observe


def _outer_eyes(points: np.ndarray) -> float:
    return float(np.linalg.norm(points[33] - points[263]))


def test_shapes_and_ranges(astronaut: Photo, astronaut_seen: Observation) -> None:
    seen = astronaut_seen
    assert seen.landmarks_px.shape == (478, 2)
    assert seen.landmarks_depth.shape == (478,)
    assert seen.landmarks_visible.shape == (478,)
    for mask in (seen.skin_mask, seen.person_mask):
        assert mask.shape == (astronaut.height, astronaut.width)
        assert mask.dtype == np.float32
        assert 0.0 <= mask.min() < 0.01
        assert 0.99 < mask.max() <= 1.0
    assert seen.focal_source == "estimated"
    box = seen.face_box
    assert (seen.landmarks_px[:468] >= (box.x0 - 0.01, box.y0 - 0.01)).all()
    assert (seen.landmarks_px[:468] <= (box.x1 + 0.01, box.y1 + 0.01)).all()


def test_same_picture_same_answer(astronaut: Photo, astronaut_seen: Observation) -> None:
    again = observe(astronaut, Run(seed=7))
    for name in ("landmarks_px", "landmarks_depth", "landmarks_visible", "skin_mask", "person_mask"):
        assert np.array_equal(getattr(again, name), getattr(astronaut_seen, name)), name


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"),
    [(1.0, 0.0, (7.3, -4.6)), (2.0, 0.0, (0.0, 0.0)), (1.3, 20.0, (0.0, 0.0)), (1.0, -30.0, (10.0, 5.0))],
)
def test_landmarks_move_with_the_picture(
    astronaut_u8: np.ndarray,
    astronaut_seen: Observation,
    scale: float,
    degrees: float,
    shift: tuple[float, float],
) -> None:
    size = round(512 * scale)
    # in the frame with pixel centres at .5, about the picture's middle
    turn = cv2.getRotationMatrix2D((0, 0), degrees, scale)[:, :2]
    offset = np.array([size / 2, size / 2]) + shift - turn @ np.array([256, 256])
    to_index = offset + turn @ np.array([0.5, 0.5]) - 0.5
    moved = cv2.warpAffine(
        astronaut_u8,
        np.column_stack([turn, to_index]),
        (size, size),
        flags=cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    expected = astronaut_seen.landmarks_px @ turn.T + offset
    seen = observe(as_photo(moved), Run()).landmarks_px
    error = np.linalg.norm(seen - expected, axis=1) / _outer_eyes(expected)
    assert error.mean() < 0.012
    assert np.abs((seen - expected).mean(0)).max() / _outer_eyes(expected) < 0.008


def test_landmarks_of_the_mirror_image(astronaut_u8: np.ndarray, astronaut_seen: Observation) -> None:
    """The iris centres change sides; a half-pixel convention error would show twice over."""
    seen = observe(as_photo(astronaut_u8[:, ::-1]), Run()).landmarks_px
    span = _outer_eyes(seen)
    for a, b in (IRIS_CENTRES, IRIS_CENTRES[::-1], (33, 263), (61, 291), (1, 1)):
        expected = astronaut_seen.landmarks_px[b] * (-1, 1) + (512, 0)
        assert np.linalg.norm(seen[a] - expected) / span < 0.035, (a, b)


def test_iris_ring_lies_about_its_centre(astronaut_seen: Observation) -> None:
    for centre in IRIS_CENTRES:
        ring = astronaut_seen.landmarks_px[centre + 1 : centre + 5]
        radius = np.linalg.norm(ring - astronaut_seen.landmarks_px[centre], axis=1)
        # the iris is 11.7 mm wide, the outer eye corners are about 88 mm apart
        assert 0.04 < radius.mean() / _outer_eyes(astronaut_seen.landmarks_px) < 0.11
        assert radius.std() / radius.mean() < 0.3


def test_depth_puts_the_nose_in_front(astronaut_seen: Observation) -> None:
    depth = astronaut_seen.landmarks_depth
    assert depth[1] < depth[[33, 263]].min()
    assert depth[1] < depth[[234, 454]].min() - 0.3 * _outer_eyes(astronaut_seen.landmarks_px)


# ---- normals and visibility ---------------------------------------------------------------------------


def _turned(seen: Observation, degrees: float) -> np.ndarray:
    """The astronaut's own mesh turned about the vertical axis."""
    points = np.column_stack([seen.landmarks_px, seen.landmarks_depth]).astype(np.float64)
    middle = points[:468].mean(0)
    a = np.radians(degrees)
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    return (points - middle) @ turn.T + middle


def test_mesh_has_the_triangles_of_a_disc() -> None:
    # A disc with holes for eyes and mouth has somewhat under two triangles a vertex.
    assert 820 < len(triangles()) < 930
    assert set(np.unique(triangles())) == set(range(468))


def test_normals_point_outward(astronaut_seen: Observation) -> None:
    points = _turned(astronaut_seen, 0)
    normals = outward_normals(points)
    assert normals[4, 2] < -0.6  # tip of the nose, towards the camera
    assert normals[234, 0] < -0.3  # the ears' sides
    assert normals[454, 0] > 0.3
    assert normals[152, 1] > 0.3  # chin


def test_visibility_follows_the_turn(astronaut_seen: Observation) -> None:
    frontal = visibility(_turned(astronaut_seen, 0), 512, 512)
    assert frontal[[50, 280, 4, 9, 468, 473]].min() > 0.9
    for degrees, near, far in ((50, 280, 50), (-50, 50, 280)):
        points = _turned(astronaut_seen, degrees)
        if points[280, 2] > points[50, 2]:
            near, far = 50, 280
        turned = visibility(points, 512, 512)
        assert turned[near] > 0.9
        assert turned[far] < 0.35


def test_points_outside_the_frame_are_not_visible(astronaut_seen: Observation) -> None:
    points = _turned(astronaut_seen, 0)
    points[:, 0] -= points[4, 0]  # the nose on the left border
    seen = visibility(points, 512, 512)
    assert seen[points[:, 0] < 0].max() == 0
    assert seen[280] > 0.9


# ---- masks --------------------------------------------------------------------------------------------


def _mean(mask: np.ndarray, seen: Observation, contour: tuple[int, ...], shrink: int = 0) -> float:
    area = regions.dilate(regions.fill(mask.shape, seen.landmarks_px, contour), -shrink) > 0
    assert area.any()
    return float(mask[area].mean())


def test_astronaut_masks(astronaut_seen: Observation) -> None:
    skin, person = astronaut_seen.skin_mask, astronaut_seen.person_mask
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK, regions.RIGHT_NOSE, regions.LEFT_NOSE):
        assert _mean(skin, astronaut_seen, patch) > 0.97
    for brow in (regions.RIGHT_BROW, regions.LEFT_BROW):
        assert _mean(skin, astronaut_seen, brow) > 0.85
    for opening in (regions.RIGHT_EYE, regions.LEFT_EYE, regions.INNER_LIPS):
        assert _mean(skin, astronaut_seen, opening) < 0.12
    assert skin[20:50, 180:270].mean() < 0.05  # hair
    assert skin[230:, :].mean() < 0.02  # suit
    assert skin[176:185, 215:245].mean() > 0.8  # neck
    assert skin[:100, :120].max() < 0.05  # flag and shuttle
    assert person[250:400, 150:300].mean() > 0.9
    assert person[:60, :80].mean() < 0.1


def test_light_does_not_change_the_mask_much(astronaut_u8: np.ndarray, astronaut_seen: Observation) -> None:
    """Half of the face in a hard shadow: it is still skin."""
    gain = np.ones((512, 512, 1))
    gain[:, 226:] = 0.35
    seen = observe(as_photo((astronaut_u8 * gain).astype(np.uint8)), Run())
    assert _mean(seen.skin_mask, seen, regions.LEFT_CHEEK) > 0.9
    assert _mean(seen.skin_mask, seen, regions.RIGHT_CHEEK) > 0.9
    a, b = seen.skin_mask > 0.5, astronaut_seen.skin_mask > 0.5
    assert (a & b).sum() / (a | b).sum() > 0.8


def test_spectacle_frames_are_cut_out(astronaut_u8: np.ndarray, astronaut_seen: Observation) -> None:
    p = astronaut_seen.landmarks_px.astype(float)
    picture, drawn = astronaut_u8.copy(), np.zeros((512, 512), np.uint8)
    centres = [p[list(eye)].mean(0) for eye in (regions.RIGHT_EYE, regions.LEFT_EYE)]
    for canvas, colour in ((picture, (25, 20, 20)), (drawn, 1)):
        for c in centres:
            cv2.ellipse(canvas, tuple(int(v) for v in c), (17, 12), 0, 0, 360, colour, 2, cv2.LINE_AA)
        cv2.line(
            canvas,
            tuple(int(v) for v in centres[0] + (17, 0)),
            tuple(int(v) for v in centres[1] - (17, 0)),
            colour,
            2,
        )
    seen = observe(as_photo(picture), Run())
    brows = np.maximum(
        regions.fill((512, 512), p, regions.RIGHT_BROW), regions.fill((512, 512), p, regions.LEFT_BROW)
    )
    frame = (drawn > 0) & (regions.dilate(brows, 2) == 0)
    assert seen.skin_mask[frame].mean() < 0.3 * astronaut_seen.skin_mask[frame].mean()
    assert _mean(seen.skin_mask, seen, regions.RIGHT_CHEEK) > 0.7  # the rims cross it


PORTRAITS = (
    "p01_frontal_studio_smile",
    "p02_older_bald_glasses",
    "p04_dark_skin_smile",
    "p07_yaw35_backlit",
    "p09_side_soft_long_hair",
    "p24_beanie_half_shadow",
)


@pytest.mark.parametrize("name", PORTRAITS)
def test_portraits(shared_data: Path, name: str) -> None:
    run = Run()
    photo = load_photo(shared_data / "photos" / f"{name}.jpg", run)
    seen = observe(photo, run)
    assert run.warnings == []
    assert len(seen.faces) == 1
    skin, visible = seen.skin_mask, seen.landmarks_visible
    for patch in (regions.RIGHT_CHEEK, regions.LEFT_CHEEK, regions.RIGHT_NOSE, regions.LEFT_NOSE):
        if visible[list(patch)].mean() > 0.6:
            # p02's spectacles cross nose and cheeks
            assert _mean(skin, seen, patch) > (0.6 if name.startswith("p02") else 0.9)
    for eye in (regions.RIGHT_EYE, regions.LEFT_EYE):
        assert _mean(skin, seen, eye) < 0.1
    top, chin = seen.landmarks_px[10], seen.landmarks_px[152]
    x, y = (top + 0.22 * (top - chin)).astype(int)  # above the hairline; p02 is bald there
    crown = float(skin[max(y - 15, 0) : y + 15, x - 15 : x + 15].mean())
    assert crown > 0.9 if name.startswith("p02") else crown < 0.1
    if name[:3] in ("p01", "p04"):
        assert _mean(skin, seen, regions.INNER_LIPS) < 0.1  # teeth
    if name.startswith("p02"):  # the bridge of the spectacles
        x, y = seen.landmarks_px[6].astype(int)
        assert skin[y - 45 : y + 25, x - 5 : x + 5].min(0).max() < 0.15
    assert seen.person_mask[tuple(seen.landmarks_px[4].astype(int)[::-1])] > 0.9


def test_face_landmarks_needs_only_a_rough_box(astronaut: Photo, astronaut_seen: Observation) -> None:
    from dataclasses import replace

    box = astronaut_seen.face_box
    rough = replace(box, x0=box.x0 - 15, y1=box.y1 + 12)
    found = face_landmarks(astronaut, rough)
    error = np.linalg.norm(found.points_px - astronaut_seen.landmarks_px, axis=1)
    assert error.mean() / _outer_eyes(found.points_px) < 0.006


def test_nothing_is_written_to_stderr() -> None:
    pytest.importorskip("skimage.data", reason="the portrait comes with scikit-image (extra `demo`)")
    code = (
        "import numpy as np; from skimage.data import astronaut\n"
        "from backend.artifacts import Photo, Run\n"
        "from backend.photo.observe import observe\n"
        "rgb = astronaut().astype(np.float32) / 255\n"
        "observe(Photo('a', '', rgb, None, (512, 512)), Run())\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "done\n"
    assert done.stderr == ""


def test_a_face_that_leaves_the_picture_is_told(
    astronaut_u8: np.ndarray, astronaut_seen: Observation
) -> None:
    chin = int(astronaut_seen.landmarks_px[14, 1])  # below it nothing is left
    run = Run()
    observe(as_photo(np.ascontiguousarray(astronaut_u8[:chin]), "upper"), run)
    assert any("outside upper" in line for line in run.warnings), run.warnings


def test_a_small_face_is_told(astronaut_u8: np.ndarray) -> None:
    run = Run()
    observe(as_photo(cv2.resize(astronaut_u8, None, fx=0.68, fy=0.68, interpolation=cv2.INTER_AREA)), run)
    assert any("larger picture" in line for line in run.warnings)
