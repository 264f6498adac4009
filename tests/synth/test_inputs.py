"""What users give a run: scans, photographs, panoramas; and a disk that is full."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from synthetic_set import TEXELS, make, materials, person, recipe

from backend.artifacts import ChartMaps
from backend.cli import main
from backend.errors import BadInput, Missing, OutOfResources
from backend.head.registry import load_head
from backend.shading.environment import write_hdr
from backend.training.schema import SHARD_FOLDER, Licence
from backend.training.verify import verify
from synthdata.light.panoramas import survey
from synthdata.run import faces
from synthdata.run.cluster import RayCrew
from synthdata.run.command import progress_line
from synthdata.run.faces import fitted_faces
from synthdata.run.inputs import Asked, gather
from synthdata.run.people import Person, person_skin
from synthdata.run.plan import PRESETS
from synthdata.run.scanned import survey_scans, with_scan
from synthdata.run.sources import Job, Sources
from synthdata.run.store import full_disk
from synthdata.skin.scans import find_scans, read_scan

SIZE = 256
SCAN_SRGB = (140, 90, 60)


def _scan(folder: Path, size: int = SIZE, without: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("Colour", "Normal", "Displacement", "Roughness", "Specular"):
        picture = np.full((size, size, 3), 128, np.uint8)
        if name == "Colour":
            picture[:] = SCAN_SRGB[::-1]
        if name == "Normal":
            picture[..., 0] = 255
        if name != without:
            assert cv2.imwrite(str(folder / f"Head_{name}.png"), picture)
    return folder


def _person() -> Person:
    inside = np.ones((TEXELS, TEXELS), bool)
    nowhere = np.zeros((TEXELS, TEXELS, 3), np.float32)
    chart = ChartMaps(np.zeros_like(inside, np.int32), nowhere, inside, nowhere, nowhere, nowhere)
    maps = replace(materials(1), displacement_m=np.zeros((TEXELS, TEXELS), np.float32))
    straight = np.dstack([nowhere[..., :2], inside]).astype(np.float32)
    return Person(person(0), nowhere[0], chart, maps, straight, inside.astype(np.float32), (0.3, 0.2, 0.1))


def test_scans_that_cannot_be_used_are_skipped_with_a_line_each(tmp_path: Path) -> None:
    _scan(tmp_path / "good")
    _scan(tmp_path / "half", without="Roughness")
    _scan(tmp_path / "small", size=100)
    _scan(tmp_path / "broken")
    (tmp_path / "broken" / "Head_Specular.png").write_bytes(b"no picture")
    (tmp_path / "LICENCE.txt").write_text("bought, not to be passed on\n")
    found = survey_scans(tmp_path)
    assert [path.name for path in found.folders] == ["good"]
    assert found.licences[0].licence == "bought, not to be passed on"
    assert len(found.licences[0].sha256) == 64
    lines = "\n".join(found.skipped)
    assert len(found.skipped) == 3
    assert "scan 'half' was skipped: scan 'half' lacks its roughness map" in lines
    assert "100×100" in lines
    assert "'Head_Specular.png' is not a picture" in lines
    shutil.rmtree(tmp_path / "good")
    with pytest.raises(BadInput, match="no scan in"):
        survey_scans(tmp_path)
    with pytest.raises(Missing, match="there is no folder"):
        survey_scans(tmp_path / "nowhere")


def test_a_scan_is_taken_instead_or_mixed_in(tmp_path: Path) -> None:
    scan = read_scan(find_scans(_scan(tmp_path / "one"))[0], TEXELS)
    drawn = _person()
    taken = with_scan(drawn, scan, "one", 1.0)
    wanted = (np.array(SCAN_SRGB) / 255) ** 2.2
    np.testing.assert_allclose(taken.materials.albedo_linear.mean((0, 1)), wanted, atol=0.02)
    np.testing.assert_allclose(taken.meta.mean_albedo_linear, wanted, atol=0.02)
    assert taken.meta.skin == "scan one"
    assert taken.meta.tone_ita_degrees != drawn.meta.tone_ita_degrees
    half = with_scan(drawn, scan, "one", 0.5)
    # Half of each pigment: the geometric mean of the two colours.
    between = np.sqrt(drawn.materials.albedo_linear * taken.materials.albedo_linear)
    np.testing.assert_allclose(half.materials.albedo_linear, between, atol=0.02)
    assert "0.5 of scan one" in half.meta.skin


def test_a_run_gives_its_people_the_scans_it_was_given(tmp_path: Path) -> None:
    _scan(tmp_path / "scans" / "one")
    _scan(tmp_path / "scans" / "half", without="Normal")
    sizes = replace(PRESETS["smoke"], texels=64)
    inputs = gather(
        Asked("smoke", count=1, scans=tmp_path / "scans", renderer="transfer"), sizes, tmp_path / "set"
    )
    assert len(inputs.skipped) == 1
    assert inputs.recipe.scan_share == 1.0
    assert any(licence.what == "scan one" for licence in inputs.licences)
    sitter = Sources(inputs.job).person(0, 64, person_skin(0, 0))
    assert sitter.meta.skin == "scan one"
    wanted = (np.array(SCAN_SRGB) / 255) ** 2.2
    np.testing.assert_allclose(sitter.meta.mean_albedo_linear, wanted, atol=0.02)
    (tmp_path / "scans" / "one" / "Head_Colour.png").write_bytes(b"other")
    with pytest.raises(BadInput, match="scan 'one' on this machine is not the one"):
        Sources(inputs.job).person(0, 64, person_skin(0, 0))


def test_workers_refuse_inputs_that_are_not_those_the_set_was_begun_with(tmp_path: Path) -> None:
    write_hdr(tmp_path / "one.hdr", np.ones((8, 16, 3), np.float32))
    folder = survey(tmp_path)
    own = load_head("open").weights_sha256 or ""
    told = msgspec.structs.replace(recipe(), panoramas=folder.licences, head_sha256=own)
    job = Job(msgspec.json.encode(told), folder.paths)
    assert Sources(job).panorama(0).radiance.shape == (8, 16, 3)
    write_hdr(tmp_path / "one.hdr", np.full((8, 16, 3), 2, np.float32))
    with pytest.raises(BadInput, match=r"one\.hdr' on .* is not the file"):
        Sources(job).panorama(0)
    (tmp_path / "one.hdr").unlink()
    with pytest.raises(Missing, match="at the same place"):
        Sources(job).panorama(0)
    other = msgspec.structs.replace(told, versions={"numpy": "0.1"})
    with pytest.raises(BadInput, match=r"has numpy .*, the set is made with 0\.1"):
        Sources(Job(msgspec.json.encode(other)))
    head = msgspec.structs.replace(told, head_sha256="other")
    with pytest.raises(BadInput, match="head 'open' on this machine"):
        Sources(Job(msgspec.json.encode(head)))


def test_photographs_without_faces_are_skipped_and_fits_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head, photos, kept = load_head("open"), tmp_path / "photos", tmp_path / "kept"
    with pytest.raises(Missing, match="no folder"):
        fitted_faces(photos, head, kept)
    photos.mkdir()
    with pytest.raises(Missing, match="holds no photographs"):
        fitted_faces(photos, head, kept)
    (photos / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(
        BadInput, match=r"no photograph in .* can be used; photograph 'broken\.jpg' was skipped"
    ):
        fitted_faces(photos, head, kept)
    made = []

    def fit(path: Path, head: object) -> faces._Fit:
        made.append(path.name)
        return faces._Fit(load_head("open").weights_sha256 or "", (0.5, -1.0))

    monkeypatch.setattr(faces, "_fitted", fit)
    for name in ("a.png", "b.png"):
        (photos / name).write_bytes(name.encode())
    found = fitted_faces(photos, head, kept)
    assert found.modes == ((0.5, -1.0), (0.5, -1.0))
    assert len(found.skipped) == 1
    assert made == ["a.png", "b.png"]
    assert fitted_faces(photos, head, kept) == found
    assert made == ["a.png", "b.png"]
    (photos / "broken.jpg").unlink()
    asked = Asked("smoke", count=9, photographs=photos, renderer="transfer")
    with pytest.raises(BadInput, match="2 faces give 8 instances"):
        gather(asked, PRESETS["smoke"], tmp_path / "set")


@pytest.mark.slow
def test_a_photographs_face_is_a_persons(tmp_path: Path) -> None:
    """The face that the fit finds is that of the person; the skin is drawn."""
    from portraits import astronaut, save

    photos = tmp_path / "photos"
    photos.mkdir()
    save(astronaut(), photos / "astronaut.png")
    inputs = gather(
        Asked("smoke", count=4, photographs=photos, renderer="transfer"), PRESETS["smoke"], tmp_path / "set"
    )
    (modes,) = inputs.job.faces
    assert np.abs(modes).max() > 0.1
    assert inputs.recipe.photographs == (
        Licence(
            what="photograph astronaut.png", licence="not stated", sha256=inputs.recipe.photographs[0].sha256
        ),
    )
    sitter = Sources(inputs.job).person(0, 64, person_skin(0, 0))
    np.testing.assert_allclose(sitter.meta.identity_coefficients, modes)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="tmpfs is Linux's")
def test_a_disk_that_fills_up_loses_nothing(tmp_path: Path) -> None:
    """A small disk of its own; then a larger one takes the folder over and the run goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("only root may mount")
    try:
        with pytest.raises(OSError, match="No space left") as full:
            make(disk / "set", count=40)
        line = full_disk(full.value, disk / "set")
        assert isinstance(line, OutOfResources)
        assert not list((disk / "set").rglob("*.new"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        make(disk / "set", count=40, resume=True)
        make(tmp_path / "whole", count=40)
        for path in (tmp_path / "whole" / SHARD_FOLDER).iterdir():
            assert (disk / "set" / SHARD_FOLDER / path.name).read_bytes() == path.read_bytes()
        assert verify(disk / "set").problems == ()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none was, where one has ended, and where nobody listens."""
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    with pytest.raises(Missing, match="no Ray cluster at 'auto'"):
        RayCrew(Job(b""), "auto")
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:9")
    with pytest.raises(Missing, match="no Ray cluster at 'auto'"):
        RayCrew(Job(b""), "auto")
    for address in ("127.0.0.1:9", "ray://127.0.0.1:9", "nonsense"):
        with pytest.raises(Missing, match=f"no Ray cluster at '{address}'"):
            RayCrew(Job(b""), address)


def test_progress_states_rate_and_time_left() -> None:
    assert progress_line(30, 100, 20, 40.0) == "30 of 100 instances, 0.5 a second, 0:02:20 left"
    assert progress_line(10, 100_000, 10, 10.0).endswith("27:46:30 left")


def test_bad_options_of_a_run_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "set")
    for options, says in (
        (["--preset", "huge"], "preset 'huge' is not offered; take one of smoke, marcus, fica"),
        (["--preset", "marcus"], "preset 'marcus' has no size of its own; say how many with --count"),
        (["--hdris", str(tmp_path / "no")], "no folder"),
        (["--scans", str(tmp_path / "no")], "no folder"),
        (["--identities", str(tmp_path / "no")], "no folder"),
        (["--head", "other"], "unknown head 'other'"),
    ):
        count = [] if "marcus" in options else ["--count", "1"]
        assert main(["synth", "run", *count, "-o", out, *options]) > 0
        lines = capfd.readouterr().err.strip().splitlines()
        assert len(lines) == 1
        assert says in lines[0]
        assert not (tmp_path / "set").exists()
