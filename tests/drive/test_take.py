"""A driving clip with truth from start to end: drawn with known expressions, covered and empty in between."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from portraits import DATA, astronaut, fixture_reconstructed
from test_video import write_video

from backend.artifacts import Camera
from backend.cli import main
from backend.drive.calibrate import DISTANCE_M, FRAME_M
from backend.drive.mirror import mirror_of
from backend.drive.solve import actor_of
from backend.export.bundle_writer import write_bundle
from backend.gaussians.turntable import orbit_camera
from backend.geometry.state import rotation_exp
from backend.head.registry import load_head
from backend.server.take_job import run_take
from backend.server.worker_protocol import JobDone, RunJob, StageFinished, StageStarted
from blender_addon import bundle
from blender_addon.drive_file import DriveFile, matrix_of, read_drive
from blender_addon.protocol import Options

pytestmark = pytest.mark.slow

SIZE, RATE, COUNT = 320, 20.0, 40
GONE, COVERED = range(30, 34), range(20, 25)
PLAN = {  # peak, first and last frame
    "jawOpen": (0.6, 1, 12),
    "mouthSmileLeft": (0.8, 10, 30),
    "mouthSmileRight": (0.8, 10, 30),
    "eyeBlinkLeft": (1.0, 14, 20),
    "eyeBlinkRight": (1.0, 14, 20),
}


def truth(names: tuple[str, ...]) -> np.ndarray:
    out = np.zeros((COUNT, len(names)))
    for name, (peak, start, end) in PLAN.items():
        share = np.clip((np.arange(COUNT) - start) / (end - start), 0, 1)
        out[:, names.index(name)] = peak * np.sin(np.pi * share) ** 2
    return out


@pytest.fixture(scope="module")
def avatar(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("avatar")
    return write_bundle(fixture_reconstructed("portrait_front"), folder / "portrait")


@pytest.fixture(scope="module")
def clip(avatar, tmp_path_factory) -> tuple[Path, np.ndarray, np.ndarray]:
    """The film, its weights ``(F, 52)`` and its head rotations ``(F, 3, 3)`` in head axes."""
    actor = actor_of(bundle.read_mesh(avatar), load_head("open"))
    draw = mirror_of(avatar, actor.head)
    weights = truth(actor.names)
    eyes = actor.head.eye_centres.astype(np.float64).mean(0) + np.array([0.0, -0.02, -0.06])
    rng = np.random.default_rng(0)
    pictures, turns = [], []
    for k in range(COUNT):
        angles = np.radians([6 * np.sin(k / 6), 15 * np.sin(k / 9), 0.0])
        turn = rotation_exp(angles)
        rotation = np.diag([1.0, -1.0, -1.0]) @ turn
        pose = np.column_stack([rotation, np.array([0, 0, DISTANCE_M]) - rotation @ eyes])
        camera = Camera(SIZE * DISTANCE_M / FRAME_M, (SIZE / 2, SIZE / 2), SIZE, SIZE, pose)
        picture = draw(actor.head.shape(np.zeros(0), weights[k]), camera)
        picture = np.clip(picture + rng.normal(0, 2, picture.shape), 0, 255).astype(np.uint8)
        if k in GONE:
            picture[:] = 90
        if k in COVERED:  # a cloth over mouth and chin
            picture[int(0.52 * SIZE) : int(0.8 * SIZE), int(0.2 * SIZE) : int(0.8 * SIZE)] = (60, 90, 140)
        pictures.append(picture)
        turns.append(turn)
    path = write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", pictures, RATE)
    return path, weights, np.array(turns)


@pytest.fixture(scope="module")
def take(avatar, clip, tmp_path_factory) -> tuple[DriveFile, Path]:
    output = tmp_path_factory.mktemp("take") / "take.json"
    assert main(["drive", str(clip[0]), "--avatar", str(avatar), "-o", str(output)]) == 0
    return read_drive(output), output


def test_the_expressions_of_the_clip_are_found(take, clip) -> None:
    drive, output = take
    _, weights, _ = clip
    assert len(drive.frames) == COUNT
    assert drive.frames_per_second == pytest.approx(RATE, rel=1e-3)
    assert read_drive(output.with_suffix(".csv")).expression_names[0] == "eyeBlinkLeft"
    seen = [k for k in range(COUNT) if k not in GONE and k not in COVERED]
    for name in PLAN:
        column = drive.expression_names.index(name)
        got, true = drive.weights()[seen, column], weights[seen, column]
        assert np.corrcoef(got, true)[0, 1] > 0.8, name
        assert np.abs(got - true).mean() < 0.15, name
        assert got[true < 0.02].mean() < 0.15, name


def test_the_pose_of_the_clip_is_found(take, clip) -> None:
    drive, _ = take
    angles = [
        np.degrees(np.arccos(np.clip((np.trace(matrix_of(f.rotation) @ turn.T) - 1) / 2, -1, 1)))
        for k, (f, turn) in enumerate(zip(drive.frames, clip[2], strict=True))
        if k not in GONE
    ]
    assert np.mean(angles) < 4.0
    assert abs(np.linalg.norm(drive.frames[0].translation_m) / DISTANCE_M - 1) < 0.3


def test_what_is_covered_or_gone_is_held_and_marked(take) -> None:
    drive, _ = take
    held = [frame.held for frame in drive.frames]
    assert all(held[k] == ("face",) for k in GONE)
    assert sum("mouth" in held[k] for k in COVERED) >= 4
    assert not any(held[k] for k in range(COUNT) if k not in GONE and k not in COVERED)
    jaw = drive.weights()[:, drive.expression_names.index("jawOpen")]
    assert jaw[list(COVERED)].max() < 0.25


def test_a_worker_makes_the_same_take(take, avatar, clip, tmp_path) -> None:
    order = RunJob(
        job="j",
        photo_path=str(clip[0]),
        photo_name="clip",
        options=Options(),
        directory=str(tmp_path / "j"),
        avatar=str(avatar),
    )
    said: list = []
    run_take(order, avatar, said.append, lambda: False)
    assert isinstance(said[-1], JobDone)
    assert {name for name, _ in said[-1].files} == {"take.json", "take.csv"}
    assert [m.stage for m in said if isinstance(m, StageStarted)] == ["faces", "calibration", "expression"]
    assert [m.stage for m in said if isinstance(m, StageFinished)] == ["faces", "calibration", "expression"]
    made = read_drive(tmp_path / "j" / "take.json")
    assert np.array_equal(made.weights(), take[0].weights())
    assert made.video.name == "clip"
    with pytest.raises(Exception, match="cancelled"):
        run_take(order, avatar, said.append, lambda: True)
    assert not list(tmp_path.glob("*.partial"))


def test_avatars_of_another_version_are_refused_in_one_line(avatar, clip, tmp_path, capsys) -> None:
    import shutil

    old = tmp_path / "old"
    shutil.copytree(avatar, old)
    manifest = json.loads((old / "avatar.json").read_text())
    (old / "avatar.json").write_text(json.dumps(manifest | {"schema": 99}))
    code = main(["drive", str(clip[0]), "--avatar", str(old), "-o", str(tmp_path / "t.json")])
    told = capsys.readouterr().err.strip()
    assert code == 2
    assert "newer Likeness" in told
    assert "\n" not in told
    assert not (tmp_path / "t.json").exists()


def grey(_avatar: Path) -> list[np.ndarray]:
    return [np.full((200, 200, 3), 90, np.uint8)] * 4


def two_people(_avatar: Path) -> list[np.ndarray]:
    one = cv2.imread(str(DATA / "portrait_front.jpg"))[..., ::-1]
    one = cv2.resize(np.ascontiguousarray(one), (300, 300), interpolation=cv2.INTER_AREA)
    return [np.concatenate([cv2.resize(astronaut()[0:300, 60:380], (300, 300)), one], 1)] * 2


def profile(avatar: Path) -> list[np.ndarray]:
    """The avatar from 95° aside."""
    actor = actor_of(bundle.read_mesh(avatar), load_head("open"))
    camera = orbit_camera(actor.head.eye_centres, 95.0, 0.0, SIZE)
    neutral = actor.head.shape(np.zeros(0), np.zeros(len(actor.names)))
    picture = mirror_of(avatar, actor.head)(neutral, camera)
    return [np.clip(picture, 0, 255).astype(np.uint8)] * 4


@pytest.mark.parametrize(
    ("pictures", "said"),
    [
        (None, "convert it to MP4"),
        (grey, "no face is seen in any frame"),
        (two_people, "choose one with --face"),
        (profile, "no face is seen in any frame"),
    ],
)
def test_videos_that_cannot_drive_are_told_in_one_line(avatar, tmp_path, capfd, pictures, said: str) -> None:
    video = tmp_path / "clip.avi"
    if pictures is None:  # of a codec that nobody knows
        write_video(video, grey(avatar), RATE)
        video.write_bytes(video.read_bytes().replace(b"mp4v", b"zzzz"))
    else:
        write_video(video, pictures(avatar), RATE)
    capfd.readouterr()
    code = main(["drive", str(video), "--avatar", str(avatar), "-o", str(tmp_path / "take.json")])
    told = capfd.readouterr().err.strip()
    assert code == 2
    assert said in told
    assert "\n" not in told
    assert [path.name for path in tmp_path.iterdir()] == ["clip.avi"]
