"""The benchmarks' layouts, in miniature, read as cases."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from synthetic_avatar import make_reconstruction
from synthetic_cases import open_shape, somebody

from backend.errors import BadInput
from backend.evaluation.benchmarks import import_now, import_realy
from backend.evaluation.cases import read_cases
from backend.evaluation.geometry_metrics import measure_now, measure_realy
from backend.evaluation.keypoints import SEVEN
from backend.evaluation.meshes import read_obj
from backend.evaluation.prediction import Prediction, read_prediction
from backend.evaluation.realy import Shape
from backend.evaluation.regions import REGIONS, label_regions
from backend.export.bundle_writer import write_bundle
from backend.head.registry import load_head

UNIT_MM = 9.25  # REALY's scans are in a unit of their own


def _write_obj(path: Path, vertices: np.ndarray, triangles: np.ndarray | None = None) -> None:
    lines = [f"v {x:.7f} {y:.7f} {z:.7f}" for x, y, z in vertices]
    lines += [f"f {a}/{a} {b}/{b} {c}/{c}" for a, b, c in ([] if triangles is None else triangles + 1)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def person() -> Shape:
    return open_shape(somebody())


def realy_folder(root: Path, person: Shape) -> Path:
    per_metre = 1e3 / UNIT_MM
    masks = label_regions(person.vertices, person.key_points)
    for name in REGIONS:
        rows, flat = np.unique(person.triangles[masks[name][person.triangles].all(1)], return_inverse=True)
        path = root / "REALY_scan_region" / "2" / f"{name}.obj"
        _write_obj(path, person.vertices[rows] * per_metre, flat.reshape(-1, 3))
    _write_obj(root / "REALY_HIFI3D_keypoints" / "2.obj", person.key_points * per_metre)
    (root / "metrical_scale.txt").write_text(f"8.5\n{UNIT_MM}\n")
    (root / "REALY_image").mkdir()
    for name in ("2", "2_3"):
        Image.new("RGB", (16, 12)).save(root / "REALY_image" / f"{name}.jpg")
    return root


def test_realy(tmp_path: Path, person: Shape) -> None:
    out = tmp_path / "cases"
    out.mkdir()
    assert import_realy(realy_folder(tmp_path / "realy", person), out) == 2
    (first, second), unusable = read_cases(out)
    assert not unusable
    assert (first.id, first.record.group) == ("realy-2", "front")
    assert (second.id, second.record.group) == ("realy-2_3", "view 3")
    assert first.subject == second.subject == "realy-2"
    np.testing.assert_allclose(first.landmarks["points85_head"], person.key_points, atol=1e-6)
    nose = first.mesh.vertices_head[first.mesh.regions["nose"]]
    expected = person.vertices[label_regions(person.vertices, person.key_points)["nose"]]
    np.testing.assert_allclose(nose.mean(0), expected.mean(0), atol=5e-4)  # metres, in its place
    assert all(first.mesh.regions[name].any() for name in REGIONS)


def test_realy_without_a_part_is_one_line(tmp_path: Path, person: Shape) -> None:
    root = realy_folder(tmp_path / "realy", person)
    (root / "REALY_scan_region" / "2" / "mouth.obj").unlink()
    with pytest.raises(BadInput, match=r"mouth\.obj' cannot be read"):
        import_realy(root, tmp_path)
    (root / "metrical_scale.txt").write_text("8.5\n")
    with pytest.raises(BadInput, match="not named after one of REALY's 1 subjects"):
        import_realy(root, tmp_path)
    (root / "metrical_scale.txt").unlink()
    with pytest.raises(BadInput, match="missing or not a list"):
        import_realy(root, tmp_path)
    with pytest.raises(BadInput, match="REALY_scan_region' is not there"):
        import_realy(tmp_path / "nothing", tmp_path)


def now_folder(root: Path, person: Shape) -> Path:
    inner = root / "final_release_version"
    _write_obj(inner / "scans" / "FaMoS_1_TA" / "natural.obj", person.vertices * 1e3, person.triangles)
    points = "".join(
        f'<point x="{x}" y="{y}" z="{z}" active="1" name="{i}"/>'
        for i, (x, y, z) in enumerate(person.key_points[list(SEVEN)] * 1e3)
    )
    marks = inner / "scans_lmks_onlypp" / "FaMoS_1_TA" / "natural_picked_points.pp"
    marks.parent.mkdir(parents=True)
    marks.write_text(f"<!DOCTYPE PickedPoints>\n<PickedPoints><DocumentData/>{points}</PickedPoints>\n")
    listed = ["FaMoS_1_TA/multiview_neutral/IMG_1.jpg", "FaMoS_1_TA/selfie/IMG_2.jpg"]
    for line in listed:
        path = inner / "iphone_pictures" / line
        path.parent.mkdir(parents=True)
        Image.new("RGB", (16, 12)).save(path)
    (root / "imagepathsvalidation.txt").write_text("\n".join(listed) + "\n")
    return root


def test_now(tmp_path: Path, person: Shape) -> None:
    out = tmp_path / "cases"
    out.mkdir()
    assert import_now(now_folder(tmp_path / "now", person), out) == 2
    cases, _ = read_cases(out)
    assert {case.record.group for case in cases} == {"multiview_neutral", "selfie"}
    assert {case.subject for case in cases} == {"now-FaMoS_1_TA"}
    for case in cases:
        assert case.has("neutral mesh")
        assert not case.has("mesh")  # the photographed expression is not known
        np.testing.assert_allclose(case.mesh.vertices_neutral_head, person.vertices, atol=1e-6)
        marks = case.landmarks["points68_neutral_head"]
        np.testing.assert_allclose(marks[list(SEVEN)], person.key_points[list(SEVEN)], atol=1e-9)
        assert np.isfinite(marks).all(1).sum() == 7


def test_now_without_a_part_is_one_line(tmp_path: Path, person: Shape) -> None:
    root = now_folder(tmp_path / "now", person)
    scan = root / "final_release_version" / "scans" / "FaMoS_1_TA" / "natural.obj"
    scan.rename(scan.with_suffix(".txt"))
    with pytest.raises(BadInput, match=r"should hold one \.obj file and holds 0"):
        import_now(root, tmp_path)
    (root / "imagepathsvalidation.txt").write_text("FaMoS_1_TA/selfie/IMG_9.jpg\n")
    with pytest.raises(BadInput, match=r"IMG_9\.jpg' is listed but not there"):
        import_now(root, tmp_path)
    (root / "imagepathsvalidation.txt").unlink()
    with pytest.raises(BadInput, match=r"no imagepathsvalidation\.txt"):
        import_now(root, tmp_path)


@pytest.fixture(scope="module")
def prediction(tmp_path_factory: pytest.TempPathFactory) -> Prediction:
    """The same person, without an expression, as a reconstruction."""
    head = load_head("open")
    made = make_reconstruction(head, size=64, expression={})
    same = replace(made, fit=replace(made.fit, neutral_head=somebody()))
    folder = write_bundle(same, tmp_path_factory.mktemp("avatar") / "avatar")
    return read_prediction("same", folder)


def test_imported_cases_can_be_measured(tmp_path: Path, person: Shape, prediction: Prediction) -> None:
    """The same shape as scan and as reconstruction is at no distance, through files, units and regions."""
    out = tmp_path / "cases"
    out.mkdir()
    import_realy(realy_folder(tmp_path / "realy", person), out)
    import_now(now_folder(tmp_path / "now", person), out)
    now, *_, realy = read_cases(out)[0]
    values = measure_realy(realy, prediction, tmp_path)
    assert values["realy_noscale_all_mm"] < 0.05
    assert None not in values.values()
    assert measure_now(now, prediction, tmp_path)["now_noscale_mean_mm"] < 0.01
    assert not realy.has("neutral mesh")  # each benchmark tells what it knows
    assert not now.has("mesh")


def test_a_case_does_not_replace_something_else(tmp_path: Path, person: Shape) -> None:
    out = tmp_path / "cases"
    (out / "realy-2").mkdir(parents=True)
    (out / "realy-2" / "thesis.txt").write_text("mine")
    root = realy_folder(tmp_path / "realy", person)
    with pytest.raises(BadInput, match="is not a case"):
        import_realy(root, out)
    assert (out / "realy-2" / "thesis.txt").read_text() == "mine"
    (out / "realy-2" / "thesis.txt").unlink()
    (out / "realy-2").rmdir()
    assert import_realy(root, out) == import_realy(root, out) == 2  # a case of the same name is replaced
    assert not [path for path in out.iterdir() if path.name.startswith(".")]


def test_obj_with_polygons_and_negative_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0 1 1 1\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nf 1/1/1 2//1 3 4\nf -4 -3 -2\n")
    vertices, triangles = read_obj(path)
    np.testing.assert_array_equal(vertices, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 2]])


@pytest.mark.parametrize("text", ["v 0 0 zero\n", "v 0 0 0\nf 1 2 3\n", "f 1 2 3\n", "v 0 0\n", ""])
def test_obj_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.obj"
    path.write_text(text)
    with pytest.raises(BadInput):
        read_obj(path)
