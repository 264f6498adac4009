"""A job of the server with the MARCUS engine on tiny random weights: options, stages, pictures on the way."""

from __future__ import annotations

from pathlib import Path

import pytest
from portraits import astronaut, save

from backend.errors import BadInput
from backend.server.job import marcus_options, run_job
from backend.server.refine import refine
from backend.server.worker_protocol import (
    JobDone,
    PartialReady,
    RunJob,
    StageFinished,
    StageProgress,
    StageStarted,
)
from blender_addon import bundle
from blender_addon.protocol import Options, Pin

STAGES = [
    *("photo", "observation", "description", "head fit", "partial UV", "complete UV", "even-lit UV"),
    *("materials", "delivered head", "maps", "preview"),
]


def test_the_options_are_the_command_lines() -> None:
    asked = marcus_options(
        Options(
            engine="marcus", caption="a man", turbo=True, fp8=True, compile=True, guidance_interval=(0.1, 0.9)
        )
    )
    assert (asked.caption, asked.turbo, asked.fp8, asked.compiled) == ("a man", True, True, True)
    assert asked.guided == (0.1, 0.9)
    assert marcus_options(Options(engine="embedded")).is_plain
    for given in ({"caption": "a man"}, {"turbo": True}, {"guidance_interval": (0.2, 0.8)}):
        with pytest.raises(BadInput, match="are the marcus engine's"):
            marcus_options(Options(engine="embedded", **given))
        marcus_options(Options(engine="auto", **given))


@pytest.mark.slow
def test_a_job_from_photo_to_avatar(release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(release))
    monkeypatch.setattr("backend.server.job._PREVIEW_SECONDS", 0.0)
    photo = save(astronaut(), tmp_path / "astronaut.png")
    options = Options(engine="marcus", maps=512, seed=3, caption="a woman of forty", turbo=True)
    order = RunJob(
        job="j",
        photo_path=str(photo),
        photo_name="astronaut",
        options=options,
        directory=str(tmp_path / "made"),
    )
    told: list[object] = []
    run_job(order, tmp_path / "cache", told.append, lambda: False)
    started = [message for message in told if isinstance(message, StageStarted)]
    assert [message.stage for message in started] == STAGES
    assert [message.index for message in started] == list(range(len(STAGES)))
    shown = [message for message in told if isinstance(message, StageProgress) and message.preview]
    assert {message.stage for message in shown} == {"complete UV", "even-lit UV", "materials"}
    assert all(message.preview[:2] == b"\xff\xd8" and len(message.preview) < 100_000 for message in shown)  # type: ignore[index]
    fractions = [message.job_fraction for message in told if isinstance(message, StageProgress)]
    assert fractions == sorted(fractions)
    pictures = {m.stage for m in told if isinstance(m, StageFinished) and m.preview is not None}
    assert {"observation", "head fit", "partial UV", "complete UV", "even-lit UV", "materials"} <= pictures
    meshes = [m for m in told if isinstance(m, PartialReady) and m.kind == "mesh"]
    assert len(meshes) == 1  # of the delivered head alone: the engine's own has another topology
    assert isinstance(told[-1], JobDone)
    made = bundle.read_bundle(tmp_path / "made")
    assert (made.manifest.engine, made.manifest.head, made.manifest.seed) == ("marcus", "open", 3)
    assert "a woman of forty" in made.manifest.stages[2].implementation

    with pytest.raises(BadInput, match="not for the marcus engine"):
        refine(tmp_path / "made", "open", (Pin(landmark=1, x_px=250.0, y_px=100.0),))
    again: list[object] = []
    run_job(order, tmp_path / "cache", again.append, lambda: False)
    cached = {m.stage for m in again if isinstance(m, StageFinished) and m.cached}
    assert {"complete UV", "even-lit UV", "materials"} <= cached
