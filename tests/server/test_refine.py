"""Pins and poses of a finished avatar: the pinned landmark moves, the rest of the head hardly does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic_avatar import make_reconstruction

from backend.artifacts import Camera, Reconstruction, Run
from backend.corrections import Corrections, Pin
from backend.errors import BadInput
from backend.export.bundle_writer import write_bundle
from backend.geometry.pins import follow_pins
from backend.head.lid_motion import fitted_lids, person_vertices, rested_eyes
from backend.head.registry import load_head
from backend.server.drive import MOST_BYTES, drive, weights_of
from backend.server.refine import Refined, refine
from blender_addon import bundle
from blender_addon.landmarks import read_landmarks

MOUTH_CORNER, NOSE_TIP, CHIN, LID, CHEEK_OUTLINE = 61, 4, 152, 159, 234


def camera() -> Camera:
    """A portrait lens a metre before the face; the eye corners lie about 180 pixels apart."""
    pose = np.c_[np.diag([1.0, -1.0, -1.0]), [0.0, 0.02, 1.1]]
    return Camera(2000.0, (400.0, 500.0), 800, 1000, pose)


@pytest.fixture(scope="module")
def fitted() -> Reconstruction:
    """Somebody on the shipped head, smiling, with landmarks about where the head has them."""
    head = load_head("open")
    chance = np.random.default_rng(3)
    identity = chance.normal(0, 0.7, len(head.identity_basis)).astype(np.float32)
    expression = np.zeros(len(head.expression_names), np.float32)
    for name in ("mouthSmileLeft", "mouthSmileRight", "jawOpen"):
        expression[head.expression_names.index(name)] = 0.4 if "Smile" in name else 0.1
    made = make_reconstruction(head, camera=camera())
    neutral, vertices = person_vertices(head, identity, expression)
    points, _ = camera().project(head.mediapipe.positions(vertices, head.triangles))
    seen = (points + chance.normal(0, 1.0, points.shape)).astype(np.float32)
    fit = replace(
        made.fit,
        identity=identity,
        expression=expression,
        albedo_coefficients=np.zeros(len(head.albedo_basis), np.float32),
        vertices_head=vertices,
        neutral_head=neutral,
    )
    return replace(made, fit=fit, observation=replace(made.observation, landmarks_px=seen))


@pytest.fixture(scope="module")
def avatar(fitted: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(fitted, tmp_path_factory.mktemp("refine") / "somebody")


def pin(avatar: Path, landmark: int, dx: float, dy: float) -> Pin:
    """The landmark dragged from where the head has it."""
    x, y = read_landmarks(avatar).solved_px[landmark]
    return Pin(landmark, float(x) + dx, float(y) + dy)


def distances_m(fitted: Reconstruction, landmarks: list[int]) -> np.ndarray:
    """Of every vertex to the nearest of ``landmarks``."""
    head = fitted.fit.head
    at = head.mediapipe.positions(fitted.fit.vertices_head, head.triangles)[landmarks]
    return np.linalg.norm(fitted.fit.vertices_head[:, None] - at[None], axis=2).min(1)


def test_the_bundle_tells_where_the_head_has_its_landmarks(fitted: Reconstruction, avatar: Path) -> None:
    seen, head = read_landmarks(avatar), fitted.fit.head
    points, _ = camera().project(head.mediapipe.positions(fitted.fit.vertices_head, head.triangles))
    np.testing.assert_allclose(seen.solved_px, points, atol=1e-3)
    assert seen.observed_px.tobytes() == fitted.observation.landmarks_px.tobytes()
    np.testing.assert_allclose(seen.trust, head.mediapipe.trust, atol=1e-6)


@pytest.mark.parametrize("moved", [False, True])
def test_without_a_pull_nothing_moves(fitted: Reconstruction, avatar: Path, moved: bool) -> None:
    pins = (pin(avatar, NOSE_TIP, 0, 0), pin(avatar, CHIN, 0, 0)) if moved else ()
    made = refine(avatar, "open", pins)
    assert np.abs(made.expressed - fitted.fit.vertices_head).max() < 2e-6
    assert np.abs(made.neutral - fitted.fit.neutral_head).max() < 2e-6
    np.testing.assert_allclose(made.landmarks_px, read_landmarks(avatar).solved_px, atol=1e-2)


@pytest.mark.parametrize(
    ("landmark", "by"),
    [
        (MOUTH_CORNER, (-8, 5)),
        (MOUTH_CORNER, (6, -6)),
        (NOSE_TIP, (7, 0)),
        (NOSE_TIP, (0, 9)),
        (CHIN, (0, 14)),
        (LID, (0, -5)),
        (CHEEK_OUTLINE, (-9, 0)),
    ],
)
def test_a_pinned_landmark_follows_and_the_rest_stays(
    fitted: Reconstruction, avatar: Path, landmark: int, by: tuple[float, float]
) -> None:
    wanted = pin(avatar, landmark, *by)
    made = refine(avatar, "open", (wanted,))
    off = made.landmarks_px[landmark] - np.array(wanted[1:])
    assert np.linalg.norm(off) < 1.5
    move = np.linalg.norm(made.expressed - fitted.fit.vertices_head, axis=1)
    distance = distances_m(fitted, [landmark])
    drag_m = np.hypot(*by) * 1.0 / 2000.0
    assert move[distance < 0.01].max() > 0.5 * drag_m
    far = move[distance > 0.08]
    assert np.median(far) < 0.2 * drag_m
    assert far.max() < drag_m


def test_landmarks_of_the_answer_are_those_of_its_vertices(avatar: Path) -> None:
    """Small drags leave the camera all but where it was, so its projection must agree."""
    made = refine(avatar, "open", (pin(avatar, LID, 0, -3),))
    head = load_head("open")
    points, _ = camera().project(head.mediapipe.positions(made.expressed, head.triangles))
    assert np.abs(points - made.landmarks_px).max() < 1.0


def test_many_pins_are_held_together(fitted: Reconstruction, avatar: Path) -> None:
    drags = {61: (-5, 3), 291: (5, 3), 13: (0, -2), 14: (0, 5), 159: (0, -3), 386: (0, -3), 152: (0, 6)}
    pins = tuple(pin(avatar, k, *by) for k, by in drags.items())
    made = refine(avatar, "open", pins)
    off = [np.hypot(*(made.landmarks_px[p.landmark] - p[1:])) for p in pins]
    assert max(off) < 2.0
    assert np.isfinite(made.expressed).all()
    assert made.landmark_error_px < 4.0


def test_of_two_pins_of_one_landmark_the_last_counts(avatar: Path) -> None:
    first, last = pin(avatar, NOSE_TIP, 20, 20), pin(avatar, NOSE_TIP, -4, 1)
    both, one = refine(avatar, "open", (first, last)), refine(avatar, "open", (last,))
    assert both.expressed.tobytes() == one.expressed.tobytes()


def test_the_same_pins_give_the_same_bytes_whatever_was_asked_before(avatar: Path) -> None:
    pins = (pin(avatar, CHIN, 2, 5),)
    first = refine(avatar, "open", pins)
    refine(avatar, "open", (pin(avatar, NOSE_TIP, 9, 9),))
    again = refine(avatar, "open", pins)
    assert first.expressed.tobytes() == again.expressed.tobytes()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Pin(478, 1.0, 1.0), "478"),
        (Pin(-1, 1.0, 1.0), "-1"),
        (Pin(4, float("nan"), 1.0), "outside"),
        (Pin(4, 1e7, 1.0), "outside"),
    ],
)
def test_a_pin_that_is_none_is_refused(avatar: Path, bad: Pin, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        refine(avatar, "open", (bad,))


def test_an_avatar_without_coefficients_says_so(fitted: Reconstruction, tmp_path: Path) -> None:
    folder = write_bundle(fitted, tmp_path / "old")
    bundle.write_manifest(folder, msgspec.structs.replace(bundle.read_manifest(folder), identity=None))
    with pytest.raises(BadInput, match="reconstruct it again"):
        refine(folder, "open", ())
    (folder / "landmarks.npz").unlink()
    with pytest.raises(bundle.BundleError, match="older"):
        refine(folder, "open", ())


def test_a_replaced_avatar_is_read_again(fitted: Reconstruction, tmp_path: Path) -> None:
    folder = write_bundle(fitted, tmp_path / "changing")
    refine(folder, "open", ())
    head = fitted.fit.head
    other = replace(
        fitted.fit,
        identity=fitted.fit.identity * np.float32(0.5),
        neutral_head=rested_eyes(head, head.shape(fitted.fit.identity * np.float32(0.5))),
    )
    write_bundle(replace(fitted, fit=other), folder, overwrite=True)
    assert np.abs(refine(folder, "open", ()).neutral - other.neutral_head).max() < 2e-6


def test_the_job_gives_what_the_drag_showed(fitted: Reconstruction, avatar: Path) -> None:
    """``refine`` from the bundle and the job's ``pins`` stage are one solve."""
    pins = (pin(avatar, MOUTH_CORNER, -6, 4), pin(avatar, CHIN, 0, 5))
    shown: Refined = refine(avatar, "open", pins)
    made = follow_pins(fitted.fit, fitted.observation, pins, Run())
    assert np.abs(made.vertices_head - shown.expressed).max() < 1e-5
    assert np.abs(made.neutral_head - shown.neutral).max() < 1e-5
    points = made.head.mediapipe.positions(made.vertices_head, made.head.triangles)
    np.testing.assert_allclose(made.camera.project(points)[0], shown.landmarks_px, atol=0.02)
    assert made.landmark_error_px == fitted.fit.landmark_error_px
    assert Corrections(pins=pins).exclude is None


def test_drive_is_the_dense_formula(avatar: Path) -> None:
    mesh = bundle.read_mesh(avatar)
    head = fitted_lids(load_head("open"), mesh.vertices_neutral_head)
    weights = np.random.default_rng(0).random((5, len(head.expression_names))).astype(np.float32)
    posed = drive(avatar, weights)
    dense = mesh.vertices_neutral_head + np.einsum("fe,evc->fvc", weights, head.expression_basis)
    for c, factors in enumerate(head.correctives.factors):
        known = [weights[:, f] if f >= 0 else 1 - weights[:, -2 - f] for f in factors if f != -1]
        product = np.prod(known, axis=0)
        rows, offset = head.correctives.offsets.rows(c)
        dense[:, rows] += product[:, None, None] * offset
    assert posed.dtype == np.float32
    assert posed.shape == (5, len(mesh.vertices_neutral_head), 3)
    assert np.abs(posed - dense).max() < 1e-4  # offsets under a micrometre are not stored
    assert np.abs(drive(avatar, mesh.expression_weights[None])[0] - mesh.expressed()).max() < 1e-6


def test_drive_refuses_what_the_wire_cannot_carry(avatar: Path) -> None:
    vertices = len(bundle.read_mesh(avatar).vertices_neutral_head)
    most = MOST_BYTES // (12 * vertices)
    with pytest.raises(BadInput, match=f"at most {most} frames"):
        drive(avatar, np.zeros((most + 1, 52), np.float32))
    with pytest.raises(BadInput, match="52 expressions"):
        drive(avatar, np.zeros((1, 51), np.float32))
    with pytest.raises(BadInput, match="no float32 weights"):
        weights_of(b"\0" * 7, 1)
