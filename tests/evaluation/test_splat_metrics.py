"""Figures of what is shown as captured: pictures handed in, and avatars before the truth's cameras."""

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from avatar_cases import camera_at, make_prediction, plain_materials, uv_map, write_truth
from PIL import Image
from scipy.spatial.transform import Rotation
from synthetic_avatar import make_reconstruction

from backend.artifacts import Camera
from backend.colour import linear_to_srgb
from backend.errors import BadInput
from backend.evaluation.align import Similarity
from backend.evaluation.case_schema import NovelPicture
from backend.evaluation.cases import Case, read_case
from backend.evaluation.prediction import read_prediction
from backend.evaluation.registration import moved_camera, record_of
from backend.evaluation.splat_metrics import GROUPS, Frame, compare_frames, head_mask, novel_pictures
from backend.export.bundle_writer import write_bundle
from backend.gaussians.decoder import decode
from backend.head.registry import load_head
from backend.uvspace.rasterise import rasterise_camera


def test_face_and_head_are_told_apart_and_frames_averaged():
    truth = np.full((40, 40, 3), 0.5)
    head = np.zeros((40, 40))
    head[5:35, 5:35] = 1
    face = np.zeros((40, 40))
    face[10:30, 10:30] = 1
    near, far = truth + 0.01, truth + 0.1
    hair_off = (
        np.where((head > 0) & (face == 0), 0.6, 0.5)[..., None] * np.ones(3)
        + np.where(face > 0, 0.01, 0)[..., None]
    )
    found = compare_frames([Frame(near, truth, face, head), Frame(far, truth, face, head)])
    assert found["face_psnr_db"] == pytest.approx(30.0)  # the mean of 40 and 20 dB, frame by frame
    assert found["head_psnr_db"] == pytest.approx(30.0)
    found = compare_frames([Frame(hair_off, truth, face, head)])
    assert found["face_psnr_db"] == pytest.approx(40.0)
    assert found["head_psnr_db"] == pytest.approx(-10 * np.log10((400 * 0.01**2 + 500 * 0.1**2) / 900))
    assert found["head_ssim"] < found["face_ssim"] < 1


def test_frames_without_a_face_do_not_count():
    truth = np.full((20, 20, 3), 0.5)
    empty, full = np.zeros((20, 20)), np.ones((20, 20))
    found = compare_frames([Frame(truth + 0.1, truth, empty, full), Frame(truth + 0.01, truth, full, full)])
    assert found["face_psnr_db"] == pytest.approx(40.0)
    assert set(compare_frames([]).values()) == {None}


MOVE = Similarity(
    0.93, Rotation.from_euler("xyz", [6, 20, -4], degrees=True).as_matrix(), np.array([0.03, 0.01, -0.04])
)
SMILE = {"mouthSmileLeft": 1.0, "jawOpen": 0.5}


def colours(uv: np.ndarray) -> np.ndarray:
    """Linear, by place on the chart: bands that tell places apart, which 200 texels still hold."""
    u, v = uv[..., 0], uv[..., 1]
    return np.stack([0.3 + 0.2 * np.sin(20 * u), 0.3 + 0.2 * np.cos(25 * v), 0.2 + 0 * u], -1)


def drawn_truth(vertices: np.ndarray, camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """RGBA and face by the bare rasteriser, one sample a pixel; only skin."""
    head = load_head("open")
    seen = rasterise_camera(vertices, head.triangles[head.triangle_part == 0], camera)
    uv = seen.interpolate(head.uvs, head.triangle_uvs[head.triangle_part == 0])
    rgb = linear_to_srgb(np.where(seen.covered[..., None], colours(uv), 0))
    face = seen.interpolate(
        head.regions["face"][:, None].astype(np.float32), head.triangles[head.triangle_part == 0]
    )
    rgba = np.rint(255 * np.dstack([rgb, seen.covered])).astype(np.uint8)
    return rgba, np.asarray(255 * (face[..., 0] > 0.5), np.uint8)


def add_novel(case: Case, vertices: np.ndarray, camera: Camera, **told: object) -> Case:
    """``vertices`` as ``camera`` sees them as the one novel picture of ``case``."""
    folder = case.directory / "truth" / "novel"
    folder.mkdir(parents=True, exist_ok=True)
    rgba, face = drawn_truth(vertices, camera)
    Image.fromarray(rgba).save(folder / "a.png")
    Image.fromarray(face).save(folder / "a_face.png")
    listed = [NovelPicture(file="a.png", face_file="a_face.png", camera=record_of(camera), **told)]
    (folder / "novel.json").write_bytes(msgspec.json.encode(listed))
    return read_case(case.directory)


@pytest.fixture(scope="module")
def textured(tmp_path_factory: pytest.TempPathFactory):
    """The mean head with ``colours``, as the method that leaves the photo's light in."""
    folder = tmp_path_factory.mktemp("made") / "a"
    return replace(
        make_prediction(folder, plain_materials(albedo_linear=uv_map(colours))), method="no-delight"
    )


@pytest.fixture
def case(tmp_path: Path) -> Case:
    """A truth that is the mean head where MOVE puts it."""
    (tmp_path / "case").mkdir()
    there = {"photo": moved_camera(camera_at(0.0), MOVE.inverse())}
    mean = load_head("open").mean_vertices.astype(np.float64)
    return write_truth(tmp_path / "case", MOVE.apply(mean), there, albedo=colours)


def test_the_same_head_elsewhere_and_larger_is_the_truth(case: Case, textured, tmp_path: Path):
    mean = load_head("open").mean_vertices.astype(np.float64)
    aside = moved_camera(camera_at(30.0), MOVE.inverse())
    case = add_novel(case, MOVE.apply(mean), aside, turn_degrees=30.0)
    values = novel_pictures(case, textured, tmp_path)
    assert values["novel30_face_psnr_db"] > 30  # edges apart, which the truth does not smooth
    assert set(values) == {f"novel30_{w}_{m}" for w in ("face", "head") for m in ("psnr_db", "ssim")}
    assert (tmp_path / "novel_a.png").is_file()
    # The same picture said to be taken from the other side.
    record = NovelPicture(
        file="a.png",
        face_file="a_face.png",
        camera=record_of(moved_camera(camera_at(-30.0), MOVE.inverse())),
        turn_degrees=-30.0,
    )
    (case.directory / "truth" / "novel" / "novel.json").write_bytes(msgspec.json.encode([record]))
    wrong = novel_pictures(read_case(case.directory), textured, tmp_path)
    assert wrong["novel30_head_psnr_db"] < values["novel30_head_psnr_db"] - 8


def test_the_truths_expression_is_put_on(case: Case, textured, tmp_path: Path):
    head = load_head("open")
    weights = np.array([SMILE.get(name, 0.0) for name in head.expression_names], np.float32)
    smiling = MOVE.apply(head.shape(np.zeros(0, np.float32), weights).astype(np.float64))
    front = moved_camera(camera_at(0.0), MOVE.inverse())
    moved = novel_pictures(
        add_novel(case, smiling, front, turn_degrees=0.0, expression=SMILE), textured, tmp_path
    )
    still = novel_pictures(
        add_novel(case, smiling, front, turn_degrees=0.0, expression={"jawOpen": 0.0}), textured, tmp_path
    )
    assert moved["novel_expression_face_psnr_db"] > still["novel_expression_face_psnr_db"] + 4


def test_splats_are_shown_where_an_avatar_has_them(case: Case, tmp_path: Path):
    """Flat splats over the mean head's skin, of one colour: found in the view and, mostly, on the outline."""
    head = load_head("open")
    made = make_reconstruction(
        head, size=200, camera=camera_at(0.0), materials=plain_materials(), expression={}
    )
    grey = np.full((200, 200, 3), 0.25, np.float32)
    made = replace(made, complete=replace(made.complete, rgb_linear=grey))
    bound = decode(made)
    folder = write_bundle(replace(made, splats=bound.chosen(bound.part == 0)), tmp_path / "splats")
    prediction = read_prediction("engine:embedded", folder)
    mean = head.mean_vertices.astype(np.float64)
    case = add_novel(case, MOVE.apply(mean), moved_camera(camera_at(30.0), MOVE.inverse()), turn_degrees=30.0)
    rgba = np.asarray(Image.open(case.directory / "truth" / "novel" / "a.png")).copy()
    rgba[..., :3] = round(255 * float(linear_to_srgb(np.float32(0.25))))
    Image.fromarray(rgba).save(case.directory / "truth" / "novel" / "a.png")
    values = novel_pictures(case, prediction, tmp_path)
    assert values["novel30_face_psnr_db"] > 28
    assert values["novel30_head_psnr_db"] > 22


def test_what_shows_nothing_as_captured_has_no_figures(case: Case, textured, tmp_path: Path):
    mean = load_head("open").mean_vertices.astype(np.float64)
    case = add_novel(case, mean, camera_at(30.0), turn_degrees=30.0)
    assert novel_pictures(case, replace(textured, method="engine:embedded"), tmp_path) == {}


def test_pictures_that_do_not_fit_are_named(case: Case, textured, tmp_path: Path):
    mean = load_head("open").mean_vertices.astype(np.float64)
    case = add_novel(case, mean, camera_at(30.0), turn_degrees=30.0)
    picture = case.directory / "truth" / "novel" / "a.png"
    Image.fromarray(np.zeros((20, 30, 4), np.uint8)).save(picture)
    with pytest.raises(BadInput, match="30×20, its camera's picture 150×200"):
        novel_pictures(case, textured, tmp_path)
    picture.unlink()
    with pytest.raises(BadInput, match=r"a\.png is listed but not there"):
        novel_pictures(case, textured, tmp_path)


def test_the_head_ends_a_little_below_the_chin():
    cover = np.zeros((160, 160), np.float32)
    cover[40:160, 50:110] = 1
    camera = Camera(1000.0, (80.0, 80.0), 160, 160, np.c_[np.diag([1.0, -1.0, -1.0]), [0, 0, 1.0]])
    mask = head_mask(cover, camera, (0.0, 0.0, 0.0))  # the chin is at row 80; 3 cm are 30 pixels
    assert mask[:110, 50:110].sum() == 60 * (110 - 38)  # and the rim of two pixels above
    assert not mask[110:].any()
    assert mask[60, 48]
    assert not mask[60, 47]
    assert head_mask(cover, camera, None)[159, 80]


def test_engines_are_asked_for_splats():
    (group,) = GROUPS
    assert group.wants_splats
    assert group.needs == ("landmarks", "novel pictures")
    assert {f"novel30_{name}" for name in compare_frames([])} < set(group.metrics)
