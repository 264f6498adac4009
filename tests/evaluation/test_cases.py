"""Case folders: what is read, what is missing, what is refused and how that is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_cases import somebody, write_case

from backend.errors import BadInput
from backend.evaluation.cases import read_case, read_cases
from backend.head.registry import load_head

CAMERA = {
    "focal_px": 90.0,
    "principal_px": [32.0, 24.0],
    "width_px": 64,
    "height_px": 48,
    "world_to_camera": [[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0.8]],
}


def test_a_bare_case_names_everything_it_lacks(tmp_path: Path) -> None:
    case = read_case(write_case(tmp_path, "bare"))
    assert case.id == case.subject == "bare"
    assert {"camera", "light", "mesh", "neutral mesh", "landmarks", "map albedo", "relit pictures"} <= set(
        case.missing
    )
    assert case.mesh is None
    assert case.landmarks == {}


def test_parts_that_are_listed_but_lost(tmp_path: Path) -> None:
    case = read_case(
        write_case(tmp_path, "half", vertices=somebody(), parts=["mesh", "map albedo", "camera"])
    )
    assert case.lost == ("map albedo", "camera")


def test_a_full_case(tmp_path: Path) -> None:
    neutral = load_head("open").mean_vertices
    folder = write_case(
        tmp_path,
        "full",
        vertices=somebody(),
        neutral=neutral,
        subject="head 1",
        camera=CAMERA,
        light={"kind": "hdri", "name": "courtyard"},
        skin_tone_ita_degrees=12.5,
    )
    maps = folder / "truth" / "maps"
    maps.mkdir()
    Image.new("RGB", (4, 4)).save(maps / "albedo.png")
    view = folder / "truth" / "views" / "photo"
    view.mkdir(parents=True)
    (view / "camera.json").write_text(json.dumps(CAMERA))
    np.savez(view / "buffers.npz", face_mask=np.ones((48, 64), np.uint8))
    relit = folder / "truth" / "relit"
    relit.mkdir()
    Image.new("RGB", (4, 4)).save(relit / "a_photo.png")
    (relit / "relit.json").write_text(json.dumps([{"file": "a_photo.png", "view": "photo", "hdri": "a"}]))

    case = read_case(folder)
    assert case.subject == "head 1"
    assert case.record.camera.focal_px == 90
    assert set(case.missing) == {
        "map normal",
        "map roughness",
        "map specular",
        "map displacement",
        "view left45",
        "view right45",
        "novel pictures",
    }
    np.testing.assert_allclose(case.mesh.vertices_neutral_head, neutral)
    assert 0 < case.mesh.is_skin.sum() < len(case.mesh.triangles)
    assert case.landmarks["points478_head"].shape == (478, 3)
    assert case.view("photo").buffers["face_mask"].shape == (48, 64)
    assert [picture.hdri for picture, path in case.relit() if path.is_file()] == ["a"]


def _mesh(folder: Path, **changes: object) -> Path:
    """The case with arrays of its truth mesh changed (None removes)."""
    path = folder / "truth" / "mesh.npz"
    with np.load(path) as archive:
        arrays = dict(archive) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return folder


def _nan() -> np.ndarray:
    vertices = somebody().copy()
    vertices[[3, 8]] = np.nan
    return vertices


def _fan() -> np.ndarray:
    """Every edge of the first 300 triangles carries a third triangle."""
    triangles = load_head("open").triangles
    extra = triangles[:300].copy()
    extra[:, 2] = np.arange(300) + 10000
    return np.concatenate([triangles, extra])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"vertices_head": _nan()}, "2 vertices that are NaN"),
        ({"vertices_neutral_head": np.zeros((7, 3))}, "must be the same vertices"),
        ({"vertices_head": somebody()[:100]}, "name vertices beyond its 100"),
        ({"vertices_head": somebody() * 1000}, "millimetres? Scale it to metres"),
        ({"vertices_head": somebody() * 100}, "centimetres"),
        ({"vertices_head": None}, "neither vertices_head nor"),
        ({"triangle_is_skin": np.ones(5)}, "triangle_is_skin of length 5"),
        ({"triangle_is_skin": None, "triangles": _fan()}, "not a manifold"),
        ({"triangle_is_skin": None, "triangles": np.zeros((0, 3), int)}, "no triangles"),
        ({"uvs": np.zeros((4, 2))}, "uvs without triangle_uvs"),
        ({"region_nose": np.ones(3)}, "region_nose of length 3"),
    ],
)
def test_a_broken_mesh_is_one_line(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    folder = _mesh(write_case(tmp_path, "broken", vertices=somebody()), **changes)
    with pytest.raises(BadInput) as error:
        read_case(folder)
    line = str(error.value)
    assert says in line
    assert "'broken'" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"units": "mm"}, "scale its truth to metres"),
        ({"id": "a/b"}, "cannot name a file"),
        ({"id": "_set"}, "cannot name a file"),
        ({"photo": {"file": "no.png", "width_px": 64, "height_px": 48}}, "no.png is not there"),
        ({"photo": {"file": "photo.png", "width_px": 65, "height_px": 48}}, "64×48, case.json says 65×48"),
        ({"photo": {"file": "case.json", "width_px": 64, "height_px": 48}}, "cannot be read"),
        ({"camera": CAMERA | {"width_px": 63}}, "differ in size"),
        ({"group": 3}, "Expected `str`"),
        ({"parts": ["map colour"]}, "does not know: map colour"),
    ],
)
def test_a_broken_record_is_one_line(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as error:
        read_case(write_case(tmp_path, "broken", **changes))
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_landmarks_of_another_form_are_refused(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "odd", vertices=somebody())
    np.savez(folder / "truth" / "landmarks.npz", points68_head=np.zeros((67, 3)))
    with pytest.raises(BadInput, match=r"points68_head .* has shape"):
        read_case(folder)
    (folder / "truth" / "landmarks.npz").write_bytes(b"PK no archive")
    with pytest.raises(BadInput, match=r"landmarks\.npz is damaged"):
        read_case(folder)


def test_views_and_relit_pictures_that_do_not_fit(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "odd")
    view = folder / "truth" / "views" / "photo"
    view.mkdir(parents=True)
    (view / "camera.json").write_text(json.dumps(CAMERA))
    np.savez(view / "buffers.npz", normal_head=np.zeros((48, 63, 3)))
    with pytest.raises(BadInput, match="normal_head of view 'photo'"):
        read_case(folder).view("photo")
    (folder / "truth" / "relit").mkdir()
    (folder / "truth" / "relit" / "relit.json").write_text(
        '[{"file": "x.png", "view": "photo", "hdri": "a"}]'
    )
    with pytest.raises(BadInput, match=r"x\.png is listed but not there"):
        read_case(folder).relit()


def test_a_folder_of_cases(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_case(tmp_path, name)
    write_case(tmp_path, "c", units="mm")
    cases, unusable = read_cases(tmp_path)
    assert [case.id for case in cases] == ["a", "b"]
    assert len(unusable) == 1
    assert "'c' is in 'mm'" in unusable[0]
    assert [case.id for case in read_cases(tmp_path / "a")[0]] == ["a"]


def test_folders_without_a_usable_case(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is not a folder"):
        read_cases(tmp_path / "none")
    with pytest.raises(BadInput, match="holds no cases"):
        read_cases(tmp_path)
    write_case(tmp_path, "one", units="mm")
    write_case(tmp_path, "two", units="mm")
    with pytest.raises(BadInput, match=r"none of the cases .* \(and 1 more like it\)"):
        read_cases(tmp_path)


def test_two_cases_of_one_name_are_refused(tmp_path: Path) -> None:
    write_case(tmp_path, "a")
    write_case(tmp_path, "b", id="a")
    with pytest.raises(BadInput, match="same id 'a'"):
        read_cases(tmp_path)


def test_the_digest_sees_every_file(tmp_path: Path) -> None:
    folder = write_case(tmp_path, "a")
    before = read_case(folder).digest
    assert read_case(folder).digest == before
    Image.new("RGB", (64, 48), "red").save(folder / "photo.png")
    assert read_case(folder).digest != before
