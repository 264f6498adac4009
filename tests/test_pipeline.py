"""The path from photograph to maps: order of stages, determinism, cancel, warnings, bad options."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from portraits import MAPS, astronaut, astronaut_reconstructed, recording_run, save

import backend
from backend import engines, pipeline
from backend.artifacts import Run
from backend.errors import BadInput, Cancelled, Missing
from backend.export.avatar import write_avatar
from backend.export.blender_process import BlenderProcess
from backend.photo.decode import load_photo
from backend.photo.observe import observe

STAGES = (
    "photo",
    "observation",
    "head fit",
    "partial UV",
    "complete UV",
    "even-lit UV",
    "materials",
)
FIVE_MAPS = ("albedo_linear", "normal_tangent", "roughness", "specular", "displacement_m")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(astronaut(), tmp_path / "astronaut.png")


def stages_begun(events) -> list[str]:
    """The stages in the order in which they reported their start, each once per run of reports."""
    begun: list[str] = []
    for stage, _ in events:
        if not begun or begun[-1] != stage:
            begun.append(stage)
    return begun


@pytest.mark.slow
def test_every_stage_is_reported_and_recorded_in_order() -> None:
    made, events = astronaut_reconstructed()
    assert tuple(s.name for s in made.stages) == STAGES
    assert stages_begun(events) == list(STAGES)
    for name in STAGES:
        own = [fraction for stage, fraction in events if stage == name]
        assert own[0] == 0.0
        assert own[-1] == 1.0
        assert own == sorted(own), f"{name} went backwards: {own}"
    assert all(s.implementation and s.seconds >= 0 for s in made.stages)
    assert made.engine == "embedded"


@pytest.mark.slow
def test_what_comes_out_is_whole_and_in_range() -> None:
    made, _ = astronaut_reconstructed()
    maps = made.materials
    assert maps.albedo_linear.shape == (MAPS, MAPS, 3)
    for name in FIVE_MAPS:
        values = getattr(maps, name)
        assert values.dtype == np.float32, name
        assert np.isfinite(values).all(), name
    for name in ("albedo_linear", "roughness", "specular"):
        values = getattr(maps, name)
        assert values.min() >= 0, name
        assert values.max() <= 1, name
    length = np.linalg.norm(maps.normal_tangent[made.partial.chart.inside], axis=-1)
    assert np.abs(length - 1).max() < 1e-3
    assert np.abs(maps.displacement_m).max() < 3e-3
    assert 0.1 < made.fit.camera.project(made.fit.vertices_head)[1].mean() < 10  # metres from the camera
    assert made.partial.texels_per_pixel > 0


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes(photo: Path) -> None:
    first, _ = astronaut_reconstructed()
    again = backend.reconstruct(photo, maps=MAPS, run=Run(seed=0))
    for name in FIVE_MAPS:
        assert getattr(again.materials, name).tobytes() == getattr(first.materials, name).tobytes(), name
    assert again.fit.vertices_head.tobytes() == first.fit.vertices_head.tobytes()
    assert again.partial.confidence.tobytes() == first.partial.confidence.tobytes()
    assert again.warnings == first.warnings


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_cancel_stops_within_the_stage(
    stage: str, photo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag goes up as soon as ``stage`` first reports; nothing later may begin, no file may stay."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.chdir(scratch)
    before = sorted(tmp_path.rglob("*"))
    seen: list[str] = []
    run = Run(on_progress=lambda name, _: seen.append(name), is_cancelled=lambda: stage in seen)
    with pytest.raises(Cancelled):
        pipeline.reconstruct(photo, maps=MAPS, run=run)
    assert stages_begun([(name, 0.0) for name in seen]) == list(STAGES[: STAGES.index(stage) + 1])
    assert seen.count(stage) == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["preview", pytest.param("blender", marks=pytest.mark.blend)])
def test_cancel_while_writing_leaves_nothing(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir(), scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    made, _ = astronaut_reconstructed()
    seen: list[str] = []
    run = Run(on_progress=lambda name, _: seen.append(name), is_cancelled=lambda: stage in seen)
    with BlenderProcess() as blender, pytest.raises(Cancelled):
        write_avatar(
            made,
            out / "astronaut",
            blender=blender if stage == "blender" else None,
            overwrite=False,
            run=run,
        )
    assert seen[-1] == stage
    assert list(out.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_a_run_that_is_cancelled_from_the_start_reads_nothing(tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        pipeline.reconstruct(tmp_path / "never opened.png", run=Run(is_cancelled=lambda: True))


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(BadInput, match=r"engine 'bogus' is unknown.*embedded"):
        engines.choose("bogus")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"engine": "bogus"}, "bogus"),
        ({"maps": 500}, "500"),
        ({"head": "bogus"}, "bogus"),
        ({"face": 5}, "no face 5"),
    ],
)
def test_bad_options_are_one_clear_line(photo: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises((BadInput, Missing)) as caught:
        pipeline.reconstruct(photo, **options)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_several_faces_warn_and_name_the_choice(tmp_path: Path) -> None:
    picture = astronaut()[:300, 80:380]
    two = save(np.concatenate([picture, picture[:, ::-1]], 1), tmp_path / "two.png")
    run, _ = recording_run()
    seen = observe(load_photo(two, run), run)
    assert len(seen.faces) == 2
    assert seen.face_index == 0
    assert any("2 faces" in w and "--face" in w for w in run.warnings), run.warnings
    quiet = Run()
    other = observe(load_photo(two, quiet), quiet, 1)
    assert not any("faces found" in w for w in quiet.warnings)  # a choice was made
    assert abs(other.face_box.x0 - seen.face_box.x0) > 100


@pytest.mark.slow
def test_warnings_of_every_stage_reach_the_result(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stages are stood in for by the cached run's results; each says one sentence on its way."""
    made, _ = astronaut_reconstructed()
    chosen = engines.choose("embedded")

    def saying(name: str, result: object) -> object:
        def stage(*arguments: object) -> object:
            run = arguments[-1]
            assert isinstance(run, Run)
            run.warn(f"{name} has something to say")
            return result

        return replace(getattr(chosen, name), function=stage)

    results = {
        "fit": made.fit,
        "unwrap": made.partial,
        "complete": made.complete,
        "homogenise": made.even,
        "materials": made.materials,
    }
    talking = replace(chosen, **{name: saying(name, result) for name, result in results.items()})
    monkeypatch.setattr(engines, "choose", lambda name: talking)
    run = Run()
    run.warn("said before")
    told = pipeline.reconstruct(photo, maps=MAPS, run=run)
    assert told.warnings[0] == "said before"
    assert told.warnings[-5:] == tuple(f"{name} has something to say" for name in results)
