"""Portraits from photographs, against people whose points are known, and heads that learn their landmarks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from portraits import DATA, astronaut, cat, save
from synthetic_set import make_here
from tiny_release import write_topology

from backend.cli import main
from backend.errors import BadInput
from backend.head.correspondences import MOUTH_OF_IBUG, points68, points88
from backend.head.hifi3dpp import load_hifi3dpp
from backend.head.registry import load_head
from backend.marcus.training.landmarked import landmarked, standard_five
from backend.marcus.training.photographs import LIST, PhotoPortraits, hybrid_points, prepare
from backend.training.diary import read_metrics

slow = pytest.mark.slow


def test_points_off_the_mouth_are_found_among_face_meshs() -> None:
    """On people whom the means were not read off."""
    head, rng = load_head("open"), np.random.default_rng(0)
    for _ in range(5):
        vertices = head.shape(rng.standard_normal(len(head.identity_basis)))
        mesh = head.mediapipe.positions(vertices, head.triangles)
        made, weight = hybrid_points(mesh, np.ones(478, np.float32))
        wanted = points88(head).positions(vertices, head.triangles)
        off = np.linalg.norm(made - wanted, axis=1)
        assert np.median(off[:MOUTH_OF_IBUG]) < 0.002
        assert off[MOUTH_OF_IBUG:].max() < 1e-6  # the lips are Face Mesh's own
        np.testing.assert_allclose(weight, 1, atol=1e-5)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    for name in ("portrait_front.jpg", "portrait_turned.jpg"):
        shutil.copy(DATA / name, folder / "more" / name)
    save(astronaut(), folder / "astronaut.png")
    save(cat(), folder / "cat.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not a photograph")
    return folder


@pytest.fixture(scope="module")
def prepared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "portraits"
    assert main(["train", "portraits", str(photos), "-o", str(out)]) == 0
    return out


@slow
def test_photographs_become_portraits_or_say_why_not(photos: Path, prepared: Path) -> None:
    lines = [json.loads(line) for line in (prepared / LIST).read_text().splitlines()]
    by_name = {line["photo"]: line for line in lines[1:]}
    assert set(by_name) == {
        *("astronaut.png", "broken.jpg", "cat.png"),
        *("more/portrait_front.jpg", "more/portrait_turned.jpg"),
    }
    assert "no human face" in by_name["cat.png"]["left_out"]
    assert "broken" in by_name["broken.jpg"]["left_out"]
    standard = standard_five(load_head("open"), "open")
    data = PhotoPortraits(prepared, 224, standard, shown=4)
    assert len(data) == 3
    truth = np.load(DATA / "portrait_front_truth.npz", allow_pickle=False)
    camera = truth["points_head"] @ truth["world_to_camera"][:, :3].T + truth["world_to_camera"][:, 3]
    px = truth["focal_px"] * camera[:, :2] / camera[:, 2:] + truth["principal_px"]
    places, _ = hybrid_points(px, np.ones(478, np.float32))
    # The crop is a similarity: the true points, laid over the found ones by one, lie near them.
    found = data.read(1)
    assert found.rgb_srgb.shape == (3, 224, 224)
    a = np.concatenate([places, np.ones((88, 1))], 1)
    seen = found.landmarks.numpy()
    gap = np.linalg.norm(a @ np.linalg.lstsq(a, seen, rcond=None)[0] - seen, axis=1)
    assert np.median(gap) < 3
    rows, columns = seen.astype(int).T[::-1]
    inner = slice(17, 36)  # brows and nose: on the face's skin
    assert float((found.attention[0, rows[inner], columns[inner]] > 0.5).float().mean()) > 0.7
    assert 0.1 < float(found.attention.mean()) < 0.6
    smaller = PhotoPortraits(prepared, 112, standard, shown=4).read(1)
    torch.testing.assert_close(smaller.landmarks * 2, found.landmarks)


@slow
def test_a_stopped_preparation_goes_on(photos: Path, prepared: Path, tmp_path: Path) -> None:
    standard = standard_five(load_head("open"), "open")
    out = tmp_path / "portraits"
    shutil.copytree(prepared, out)
    whole = (out / LIST).read_text()
    cut = whole.splitlines(keepends=True)
    (out / LIST).write_text("".join(cut[:-1]) + cut[-1][:40])  # killed while the last line was written
    asked: list[int] = []
    made = prepare(photos, out, standard, told=lambda done, of: asked.append(done))
    assert (out / LIST).read_text() == whole
    assert asked == [5]
    assert (made.portraits, made.left_out) == (3, 2)
    with pytest.raises(BadInput, match="aligned for another head"):
        prepare(photos, out, standard * 1.01)
    with pytest.raises(BadInput, match="aligned for another head"):
        PhotoPortraits(out, 96, standard * 1.01, 4)
    (out / json.loads(cut[1])["picture"]).write_bytes(b"cut")
    with pytest.raises(BadInput, match="prepare it again"):
        PhotoPortraits(out, 96, standard, 4).read(0)
    with pytest.raises(BadInput, match="no photographs"):
        prepare(tmp_path / "portraits" / "none", out, standard)


@pytest.fixture(scope="module")
def hifi(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of HiFi3D++'s layout in the shape of the open head, the release's template beside it."""
    folder = tmp_path_factory.mktemp("topology")
    write_topology(folder, grid=64)
    return folder / "assets" / "topo" / "hifi3dpp_model_info.mat"


@slow
def test_hifi3dpp_is_told_its_landmarks(hifi: Path) -> None:
    head, ours = load_hifi3dpp(hifi), load_head("open")
    told = landmarked(head)
    assert told.triangles is head.triangles
    here = told.mediapipe.positions(told.mean_vertices, told.triangles)[:468]
    there = ours.mediapipe.positions(ours.mean_vertices, ours.triangles)[:468]
    # The file's head is the open head's skin, sampled on a grid and moved to its own middle.
    move = points68(head).positions(head.mean_vertices, head.triangles).mean(0)
    move -= points68(ours).positions(ours.mean_vertices, ours.triangles).mean(0)
    assert np.median(np.linalg.norm(here - there - move, axis=1)) < 0.004
    assert 0.1 < float((told.regions["face"] > 0.5).mean()) < 0.9
    assert landmarked(ours) is ours
    np.testing.assert_array_equal(
        standard_five(head, f"hifi3dpp:{hifi}").shape,
        (5, 3),
    )


@slow
@pytest.mark.parametrize("network", ["resnet", "mssf"])
@pytest.mark.parametrize("source", ["set", "photographs"])
def test_hifi3dpps_encoder_trains(
    network: str, source: str, hifi: Path, photos: Path, tmp_path: Path
) -> None:
    """A few steps from the command line; its loss can be taken and what it writes has HiFi3D++'s widths."""
    import yaml
    from safetensors.torch import load_file
    from test_trainers import short_recipe

    head = f"hifi3dpp:{hifi}"
    data = tmp_path / "data"
    if source == "set":
        make_here(data)
    else:
        assert main(["train", "portraits", str(photos), "-o", str(data), "--head", head]) == 0
    recipe = short_recipe("geometry", tmp_path / "r.yaml")
    content = yaml.safe_load(recipe.read_text()) | {"identity": None}
    if network == "mssf":
        content |= {"network": {"kind": "mssf", "size": "tiny"}, "pixels": 64}
        content["optimisation"]["microbatch"] = 2
    recipe.write_text(yaml.safe_dump(content))
    arguments = ["geometry", "--set", data, "-o", tmp_path / "out", "--recipe", recipe, "--head", head]
    assert main(["train", *map(str, arguments), "--cpu"]) == 0
    told = read_metrics(tmp_path / "out")
    assert all(np.isfinite(list(line.values())).all() for line in told)
    state = load_file(tmp_path / "out" / "result" / "net_recon.safetensors")
    last = "weight" if network == "resnet" else "4.weight"
    sizes = [
        len(next(t for k, t in state.items() if k.startswith(f"final_layers.{n}.") and k.endswith(last)))
        for n in range(3)
    ]
    assert sizes == [532, 45, 439]


def test_a_folder_without_photographs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["train", "portraits", str(tmp_path / "empty"), "-o", str(tmp_path / "out")]) == 2
    assert "holds no photographs" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main(["train", "portraits", str(tmp_path / "none"), "-o", str(tmp_path / "out")]) == 2
