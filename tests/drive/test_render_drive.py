"""``likeness render --splats --drive``: films of a moved avatar, and one line for what cannot be shown."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from bound_splats import make_bound_avatar
from PIL import Image

from backend.artifacts import Run
from backend.cli import main
from backend.errors import Cancelled
from backend.gaussians.driven import puppet_of, render_driven
from backend.gaussians.frames import decoder_of
from backend.gaussians.turntable import draw, orbit_camera
from blender_addon.bundle import read_bundle
from blender_addon.drive_file import DriveFile, Frame, VideoRecord, from_angles, matrix_of, write_drive
from blender_addon.splats import Splats

SIZE, COUNT = 64, 4


@pytest.fixture(scope="module")
def avatar(tmp_path_factory) -> Path:
    """The synthetic avatar with 400 splats."""
    return make_bound_avatar(tmp_path_factory.mktemp("driven"))


@pytest.fixture
def take(avatar, tmp_path) -> tuple[DriveFile, Path]:
    """Its first expression comes while the head turns."""
    names = read_bundle(avatar).mesh.expression_names
    frames = tuple(
        Frame(
            time_s=0.1 * k,
            weights=(k / (COUNT - 1), *(0.0 for _ in names[1:])),
            rotation=from_angles(np.radians(12.0 * k), 0.0, 0.0),
            translation_m=(0.0, 0.0, -0.8),
            gaze_deg=((0.0, 0.0), (0.0, 0.0)),
        )
        for k in range(COUNT)
    )
    made = DriveFile(
        created_by="test",
        video=VideoRecord(name="a"),
        frames_per_second=10.0,
        expression_names=names,
        frames=frames,
    )
    write_drive(tmp_path / "take.json", made)
    return made, tmp_path / "take.json"


def render(avatar: Path, keyframes: Path, output: Path, *more: str) -> int:
    options = ["--splats", "--drive", str(keyframes), "--size", str(SIZE), "-o", str(output), *more]
    return main(["render", str(avatar), *options])


def pictures(avatar: Path, drive: DriveFile, shown: Callable[[np.ndarray], Splats]) -> list[np.ndarray]:
    """Every keyframe of ``drive`` as the film's camera sees the splats that ``shown`` makes of the mesh."""
    puppet = puppet_of(avatar)
    camera = orbit_camera(puppet.mesh.eye_centres_head, 0.0, 0.0, SIZE)
    poses = [puppet.vertices(np.array(f.weights), matrix_of(f.rotation)) for f in drive.frames]
    return [draw(shown(pose), camera).astype(float) for pose in poses]


@pytest.mark.parametrize("live", [False, True])
def test_the_film_shows_every_keyframe(avatar, take, tmp_path, live: bool) -> None:
    """Each frame is the puppet's in that pose, decoded or live; the first and last are far apart."""
    drive, keyframes = take
    assert render(avatar, keyframes, tmp_path / "film.webp", *(["--live"] if live else [])) == 0
    truth = pictures(avatar, drive, puppet_of(avatar).live if live else decoder_of(avatar).decode)
    with Image.open(tmp_path / "film.webp") as film:
        assert (film.size, film.n_frames) == ((SIZE, SIZE), COUNT)
        for k, wanted in enumerate(truth):
            film.seek(k)
            got = np.asarray(film.convert("RGB"), float)
            others = [np.abs(got - other).mean() for other in truth]
            assert int(np.argmin(others)) == k
            assert others[k] < 0.7 * np.abs(truth[0] - truth[-1]).mean()
            assert wanted.shape == got.shape


def test_films_are_shaded_for_each_pose(avatar, take, tmp_path) -> None:
    """A frame with the head turned is nearer to the decoder's picture than to the live one's; MP4 is exact
    enough to tell."""
    drive, keyframes = take
    decoded, live = (
        pictures(avatar, drive, shown)[-1] for shown in (decoder_of(avatar).decode, puppet_of(avatar).live)
    )
    assert np.abs(decoded - live).mean() > 0.2, "the light makes no difference in this pose"
    for more, wanted, other in (((), decoded, live), (("--live",), live, decoded)):
        assert render(avatar, keyframes, tmp_path / "film.mp4", *more) == 0
        film = cv2.VideoCapture(str(tmp_path / "film.mp4"))
        got = [film.read()[1] for _ in range(COUNT)][-1][..., ::-1].astype(float)
        film.release()
        assert np.abs(got - wanted).mean() < np.abs(got - other).mean()


def test_films_are_mp4_too_and_captures_drive_as_well(avatar, take, tmp_path) -> None:
    csv = "Timecode,BlendShapeCount,JawOpen,HeadYaw,HeadPitch,HeadRoll\n"
    csv += "".join(f"00:00:00:{k:02d},4,0.{k},0.{k},0,0\n" for k in range(3))
    (tmp_path / "capture.csv").write_text(csv)
    assert render(avatar, tmp_path / "capture.csv", tmp_path / "film.mp4") == 0
    film = cv2.VideoCapture(str(tmp_path / "film.mp4"))
    assert int(film.get(cv2.CAP_PROP_FRAME_COUNT)) == 3
    assert (film.get(cv2.CAP_PROP_FRAME_WIDTH), film.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (SIZE, SIZE)
    film.release()


def without_splats(avatar: Path) -> None:
    (avatar / "splats.ply").unlink()


def of_another_version(avatar: Path) -> None:
    manifest = json.loads((avatar / "avatar.json").read_text())
    (avatar / "avatar.json").write_text(json.dumps(manifest | {"schema": 99}))


def with_splats_of_another_mesh(avatar: Path) -> None:
    with np.load(avatar / "splats.npz") as found:
        arrays = dict(found)
    arrays["corners"] = arrays["corners"] + 10_000_000
    np.savez(avatar / "splats.npz", **arrays)


def cut_short(avatar: Path) -> None:
    whole = (avatar / "splats.ply").read_bytes()
    (avatar / "splats.ply").write_bytes(whole[: len(whole) // 2])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_splats, "reconstruct it with --splats"),
        (of_another_version, "newer Likeness"),
        (with_splats_of_another_mesh, "another mesh"),
        (cut_short, "cut short"),
        (shutil.rmtree, "avatar"),
    ],
)
def test_avatars_that_cannot_be_shown_are_told_in_one_line(
    avatar, take, tmp_path, capsys, spoil, said: str
) -> None:
    copy = tmp_path / "avatar"
    shutil.copytree(avatar, copy)
    spoil(copy)
    refused(render(copy, take[1], tmp_path / "film.mp4"), capsys, said, tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("take.txt", "", "keyframes"),
        ("take.json", "{}", "holds no keyframes"),
        ("take.json", '{"format": "likeness-drive", "schema": 99}', "newer Likeness"),
        ("take.csv", "a,b\n1,2\n", "columns of a face capture"),
    ],
)
def test_keyframes_that_are_none_are_told_in_one_line(
    avatar, tmp_path, capsys, name: str, content: str, said: str
) -> None:
    (tmp_path / name).write_text(content)
    refused(render(avatar, tmp_path / name, tmp_path / "film.mp4"), capsys, said, tmp_path)


@pytest.mark.parametrize(("name", "said"), [("film.png", "must end in"), ("no/film.mp4", "does not exist")])
def test_places_that_cannot_be_written_are_told_in_one_line(
    avatar, take, tmp_path, capsys, name: str, said: str
) -> None:
    refused(render(avatar, take[1], tmp_path / name), capsys, said, tmp_path)


def test_keyframes_need_splats_and_exclude_a_turntable(avatar, take, tmp_path, capsys) -> None:
    film = ["--drive", str(take[1])]
    out = ["-o", str(tmp_path / "film.mp4")]
    refused(main(["render", str(avatar), *film, *out]), capsys, "give --splats as well", tmp_path)
    still = ["--splats", "--live", *out]
    refused(main(["render", str(avatar), *still]), capsys, "give --drive as well", tmp_path)
    both = ["--splats", "--turntable", str(tmp_path / "film.mp4"), *film]
    refused(main(["render", str(avatar), *both]), capsys, "exclude each other", tmp_path)


def test_a_film_that_is_stopped_leaves_nothing(avatar, take, tmp_path) -> None:
    asked = iter([False, True, True, True])
    run = Run(is_cancelled=lambda: next(asked))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(Cancelled):
        render_driven(avatar, take[1], tmp_path / "film.mp4", SIZE, run)
    assert sorted(tmp_path.iterdir()) == before


def refused(code: int, capsys, said: str, folder: Path) -> None:
    """Bad input, one line that says ``said``, no film and nothing half-written."""
    told = capsys.readouterr().err.strip()
    assert code == 2
    assert said in told
    assert "\n" not in told
    left = [
        path.name for path in folder.rglob("*") if "film" in path.name or path.name.startswith(".likeness")
    ]
    assert left == []
