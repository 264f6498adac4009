"""Making the set: what is missing, what is told, and that nothing half-made stays."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from cli_runs import run_failing
from PIL import Image

from backend.errors import BadInput
from backend.evaluation.case_schema import CASE_NAME, SCHEMA, CaseRecord, PhotoFile, Provenance
from synthdata.cases.case_set import plan_heads
from synthdata.cases.run import SetOptions, missing_cases, run_worker
from synthdata.cases.worker import SetJob, Told


def options(out: Path, heads: int = 2) -> SetOptions:
    return SetOptions(Path("nowhere"), out, (), heads, ("front", "close"), 96, 1, 20260)


def write_case(folder: Path, seed: int) -> None:
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "photo.png")
    record = CaseRecord(
        schema=SCHEMA,
        id=folder.name,
        group="front",
        photo=PhotoFile(file="photo.png", width_px=8, height_px=8),
        provenance=Provenance(made_by="a test", seed=seed),
    )
    (folder / CASE_NAME).write_bytes(msgspec.json.encode(record))
    (folder / "truth" / "novel").mkdir(parents=True)
    (folder / "truth" / "novel" / "novel.json").write_text("[]")


def test_only_what_is_missing_is_made(tmp_path: Path):
    assert [plan.id for plan in missing_cases(options(tmp_path))] == [
        "head01_front",
        "head01_close",
        "head02_front",
        "head02_close",
    ]
    write_case(tmp_path / "head01_close", plan_heads(1)[0].seed)
    assert "head01_close" not in [plan.id for plan in missing_cases(options(tmp_path))]


def test_a_case_that_lacks_its_novel_pictures_is_gone_on_with(tmp_path: Path):
    write_case(tmp_path / "head01_close", plan_heads(1)[0].seed)
    (tmp_path / "head01_close" / "truth" / "novel" / "novel.json").unlink()
    assert "head01_close" in [plan.id for plan in missing_cases(options(tmp_path))]


def test_cases_of_another_seed_are_not_taken_for_ours(tmp_path: Path):
    write_case(tmp_path / "head01_front", seed=1)
    with pytest.raises(BadInput, match="another seed"):
        missing_cases(options(tmp_path))


def test_what_is_in_the_way_is_not_deleted(tmp_path: Path):
    (tmp_path / "head02_front").mkdir()
    with pytest.raises(BadInput, match="in the way"):
        missing_cases(options(tmp_path))
    assert (tmp_path / "head02_front").is_dir()


def test_command_refuses_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    start: list[str | Path] = ["evaluate", "make-cases", "-o", tmp_path / "out", "--data", tmp_path]
    run_failing([*start, "--conditions", "front,upside_down"], 2, capfd, "condition 'upside_down'")
    run_failing(start, 3, capfd, "holds no .hdr or .exr panoramas")
    (tmp_path / "hdri").mkdir()
    (tmp_path / "hdri" / "a.hdr").write_bytes(b"x")
    run_failing(start, 3, capfd, "no folder ict-facekit/")
    assert not (tmp_path / "out").exists()  # made, and taken away again
    (tmp_path / "out").mkdir()
    write_case(tmp_path / "out" / "head01_front", plan_heads(1)[0].seed)
    run_failing(start, 2, capfd, "holds 1 of these cases already; add --resume")


def job_without_data(out: Path) -> SetJob:
    return SetJob(
        cases=((0, "front", ""),),
        seed=20260,
        out=str(out),
        material=str(out / "material.npz"),
        data=str(out / "nowhere"),
        hdris=(),
        size=96,
        samples=1,
    )


@pytest.mark.blend
def test_a_failing_case_is_told_in_one_line_and_leaves_nothing(tmp_path: Path):
    pytest.importorskip("bpy", reason="needs the bpy module (extra `blend`)")
    heard: list[Told] = []
    failures = run_worker(job_without_data(tmp_path), ("head01_front",), tmp_path, heard.append)
    assert len(failures) == 1
    assert failures[0].startswith("head01_front: ")
    assert "--data" in failures[0]
    assert [told.error != "" for told in heard] == [True]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.blend
def test_a_worker_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Blender may crash: the cases it was at are named, and their remains deleted."""
    (tmp_path / ".head01_front.part").mkdir()
    real = subprocess.Popen
    crash = f"import os; os.kill(os.getpid(), {int(signal.SIGKILL)})"
    monkeypatch.setattr(
        "synthdata.cases.run.subprocess.Popen",
        lambda command, **options: real([sys.executable, "-c", crash], **options),
    )
    failures = run_worker(job_without_data(tmp_path), ("head01_front",), tmp_path, lambda told: None)
    assert failures == [f"head01_front: Blender's process ended with {-int(signal.SIGKILL)} (no message)"]
    assert list(tmp_path.iterdir()) == []
