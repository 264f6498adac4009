"""Scans as cases: readers, axes, units, and one clear line for what cannot be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cli_runs import run_failing
from made_material import sphere
from PIL import Image

bpy = pytest.importorskip("bpy", reason="needs the bpy module (extra `blend`)")

from backend.cli import main  # noqa: E402
from backend.errors import BadInput  # noqa: E402
from synthdata.cases.scan import read_scan  # noqa: E402
from synthdata.cases.scan_names import scan_case_id  # noqa: E402

pytestmark = pytest.mark.blend
FACING = np.array([0.0, 0.0, 0.03])  # a nose, so that front and back differ


def write_obj(path: Path, scale: float = 1.0, z_up: bool = False, uvs: bool = True) -> None:
    ball = sphere(np.zeros((4, 4, 3), np.float32), rows=12)
    points = ball.vertices_head.astype(np.float64).copy()
    points[np.argmax(points[:, 2])] += FACING
    if z_up:
        points = points[:, [0, 2, 1]] * [1, -1, 1]
    lines = [f"v {x} {y} {z}" for x, y, z in points * scale]
    lines += [f"vt {u} {v}" for u, v in ball.uvs]
    corner = (lambda k: f"{k + 1}/{k + 1}") if uvs else (lambda k: f"{k + 1}")
    lines += ["f " + " ".join(corner(k) for k in t) for t in ball.triangles.tolist()]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture
def albedo(tmp_path: Path) -> Path:
    path = tmp_path / "albedo.png"
    Image.new("RGB", (16, 16), (200, 150, 120)).save(path)
    return path


@pytest.mark.parametrize(("units", "scale"), [("m", 1.0), ("cm", 100.0), ("mm", 1000.0)])
def test_units_become_metres_and_the_face_looks_to_z(tmp_path: Path, albedo: Path, units: str, scale: float):
    write_obj(tmp_path / "scan.obj", scale)
    subject = read_scan(tmp_path / "scan.obj", albedo, None, units)
    assert np.ptp(subject.vertices_head, axis=0) == pytest.approx([0.2, 0.2, 0.23], abs=2e-3)
    tip = subject.vertices_head[np.argmax(subject.vertices_head[:, 2])]
    assert tip == pytest.approx([0, 0, 0.115], abs=2e-3)
    assert np.ptp(subject.uvs, axis=0) == pytest.approx([1, 1], abs=1e-6)


def test_z_up_and_turned_scans_face_us_alike(tmp_path: Path, albedo: Path):
    write_obj(tmp_path / "y.obj")
    write_obj(tmp_path / "z.obj", z_up=True)
    upright = read_scan(tmp_path / "y.obj", albedo, None).vertices_head
    lying = read_scan(tmp_path / "z.obj", albedo, None, up="z").vertices_head
    np.testing.assert_allclose(lying, upright, atol=1e-5)
    turned = read_scan(tmp_path / "y.obj", albedo, None, turn_degrees=90.0).vertices_head
    assert turned[:, 0].max() == pytest.approx(0.115, abs=2e-3)  # towards the subject's left


@pytest.mark.parametrize("suffix", [".ply", ".glb"])
def test_ply_and_glb_read_as_obj_does(tmp_path: Path, albedo: Path, suffix: str):
    import trimesh

    write_obj(tmp_path / "scan.obj")
    mesh = trimesh.load(tmp_path / "scan.obj", process=False)
    if suffix == ".ply":
        bpy.ops.wm.read_factory_settings(use_empty=True)
        bpy.ops.wm.obj_import(filepath=str(tmp_path / "scan.obj"))
        bpy.ops.wm.ply_export(
            filepath=str(tmp_path / "scan.ply"), forward_axis="NEGATIVE_Z", up_axis="Y", export_uv=True
        )
    else:
        mesh.export(tmp_path / "scan.glb")
    expected = read_scan(tmp_path / "scan.obj", albedo, None)
    found = read_scan(tmp_path / f"scan{suffix}", albedo, None)
    np.testing.assert_allclose(np.ptp(found.vertices_head, 0), np.ptp(expected.vertices_head, 0), atol=1e-4)
    tips = [s.vertices_head[np.argmax(s.vertices_head[:, 2])] for s in (found, expected)]
    np.testing.assert_allclose(tips[0], tips[1], atol=1e-4)


def test_a_flat_normal_map_is_the_smooth_normal(tmp_path: Path, albedo: Path):
    write_obj(tmp_path / "scan.obj")
    Image.new("RGB", (64, 64), (128, 128, 255)).save(tmp_path / "normal.png")
    subject = read_scan(tmp_path / "scan.obj", albedo, tmp_path / "normal.png")
    assert subject.normal_map_head is not None
    middle = subject.normal_map_head[32]  # the ball's equator
    assert np.median(np.abs(middle[:, 1])) < 0.03  # all but the nose
    assert np.linalg.norm(middle, axis=1) == pytest.approx(np.ones(64), abs=1e-3)


def broken(path: Path, kind: str) -> None:
    write_obj(path, uvs=kind != "uvs")
    lines = path.read_text().splitlines()
    if kind == "nan":
        lines[5] = "v nan 0 0"
    elif kind == "empty":
        lines = []
    elif kind == "points":
        lines = [line for line in lines if line[0] != "f"]
    elif kind == "fan":
        lines += [f"f 1/1 2/2 {k}/{k}" for k in range(20, 120)]
        lines += [f"f 200/200 201/201 {k}/{k}" for k in range(20, 120)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nan", "NaN"),
        ("empty", "no faces"),
        ("points", "no faces"),
        ("uvs", "no UVs"),
        ("fan", "not a manifold"),
    ],
)
def test_broken_scans_get_one_clear_line(tmp_path: Path, albedo: Path, kind: str, says: str):
    broken(tmp_path / "scan.obj", kind)
    with pytest.raises(BadInput, match=says) as error:
        read_scan(tmp_path / "scan.obj", albedo, None)
    assert "\n" not in str(error.value)
    assert "scan.obj" in str(error.value)


def test_wrong_units_and_maps_are_told(tmp_path: Path, albedo: Path):
    write_obj(tmp_path / "scan.obj", 1000.0)
    with pytest.raises(BadInput, match=r"millimetres.*--units"):
        read_scan(tmp_path / "scan.obj", albedo, None)
    with pytest.raises(BadInput, match=r"no map .*absent.png"):
        read_scan(tmp_path / "scan.obj", tmp_path / "absent.png", None, "mm")
    Image.new("RGB", (16, 8)).save(tmp_path / "flat.png")
    with pytest.raises(BadInput, match="16×8; maps must be square"):
        read_scan(tmp_path / "scan.obj", tmp_path / "flat.png", None, "mm")
    (tmp_path / "scan.fbx").write_text("x")
    with pytest.raises(BadInput, match=r"not an \.obj"):
        read_scan(tmp_path / "scan.fbx", albedo, None)


def test_names_of_cases_name_files():
    assert scan_case_id(Path("my scan-1.obj"), 0.0) == "my_scan-1_front"
    assert scan_case_id(Path("a.glb"), -30.0) == "a_right30"
    assert scan_case_id(Path("a.glb"), 45.0) == "a_left45"
    assert scan_case_id(Path("_.glb"), 0.0) == "scan_front"  # ids may not begin with an underscore


def test_command_refuses_at_once(tmp_path: Path, albedo: Path, capfd: pytest.CaptureFixture[str]):
    write_obj(tmp_path / "scan.obj")
    hdri = tmp_path / "light.hdr"
    hdri.write_bytes(b"x")
    start: list[str | Path] = [
        "evaluate",
        "make-case",
        str(tmp_path / "scan.obj"),
        "--albedo",
        str(albedo),
        "--hdri",
        str(hdri),
    ]
    for more, says in (
        (["--units", "inch"], "units 'inch'"),
        (["--up", "x"], "up axis 'x'"),
        (["--normal", "absent.png"], "no file 'absent.png'"),
        (["--relit-hdri", str(hdri)], "relight the truth with another"),
    ):
        run_failing([*start, "-o", tmp_path / "out", *more], 2, capfd, says)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_command_makes_a_case_of_a_scan(tmp_path: Path, albedo: Path, capfd: pytest.CaptureFixture[str]):
    from backend.evaluation.cases import read_case

    write_obj(tmp_path / "scan.obj", 100.0)
    worlds = Path(bpy.utils.system_resource("DATAFILES")) / "studiolights" / "world"
    command: list[str | Path] = [
        "evaluate",
        "make-case",
        str(tmp_path / "scan.obj"),
        "--albedo",
        str(albedo),
        "--units",
        "cm",
    ]
    command += ["--hdri", str(worlds / "city.exr"), "--relit-hdri", str(worlds / "night.exr")]
    command += ["--view", "0", "--view", "30", "--size", "96", "--samples", "2", "-o", str(tmp_path / "out")]
    assert main([str(word) for word in command]) == 0
    capfd.readouterr()
    cases = [read_case(tmp_path / "out" / name) for name in ("scan_front", "scan_left30")]
    for case in cases:
        assert set(case.missing) == {
            "neutral mesh",
            "landmarks",
            *(f"map {name}" for name in ("normal", "roughness", "specular", "displacement")),
        }
        assert "roughness" not in case.view("photo").buffers
    run_failing(command, 2, capfd, "is there already")
