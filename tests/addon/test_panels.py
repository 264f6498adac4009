"""Every panel draws in every state: known icons, operators and properties, a reason where a button is off."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest
from fake_layout import FakeLayout

from blender_addon.checks import Check
from blender_addon.protocol import Options, Problem
from blender_addon.view import JobView, Notice

pytestmark = pytest.mark.blend

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000"
    "000301010018dd8db00000000049454e44ae426082"
)


def _state(view, name):
    backend = view.backend
    backend.state = name
    if name == "installing":
        backend.step, backend.step_fraction, backend.log_line = "Installing PyTorch", 0.4, "Collecting numpy"
    if name in ("failed", "lost"):
        backend.message, backend.remedy = "The backend ran out of memory", "restart"
    if name == "ready":
        backend.server, backend.device, backend.worker = "likeness 0.1.0", "cpu", "busy"
        backend.memory_mb, backend.cache_bytes, backend.cache_cap_bytes = 1234.0, 3_000_000, 20_000_000_000


def _jobs(view):
    for number, state in enumerate(
        ("running", "queued", "queued", "done", "failed", "cancelled", "interrupted")
    ):
        job = JobView(f"job{number}", f"portrait {number}", state, Options(maps=2048, seed=number))
        job.submitted_s, job.position = float(number), number
        if state == "running":
            job.stage, job.fraction, job.preview, job.preview_number = "head fit", 0.3, PNG, 1
        if state == "failed":
            job.problem = Problem(code="out_of_resources", message="memory ran out; use smaller maps")
        if state == "done":
            job.directory, job.warnings = Path("/nowhere"), ("the face is small: 60 px",)
        view.jobs[job.job] = job


def _draw_all(bpy):
    """Draw every panel whose poll holds; the layouts by panel class."""
    from blender_addon import registration

    layouts = {}
    for cls in registration.classes():
        if not issubclass(cls, bpy.types.Panel) or not getattr(cls, "poll", lambda _: True)(bpy.context):
            continue
        layout = FakeLayout(bpy)
        cls.draw(SimpleNamespace(layout=layout), bpy.context)
        if hasattr(cls, "draw_header_preset"):
            cls.draw_header_preset(SimpleNamespace(layout=layout), bpy.context)
        layouts[cls.__name__] = layout
    from blender_addon.panels.preferences import draw_preferences
    from blender_addon.preferences import preferences

    layouts["preferences"] = FakeLayout(bpy)
    draw_preferences(layouts["preferences"], preferences(), bpy.context)
    return layouts


@pytest.mark.parametrize(
    "state",
    ["absent", "installing", "removing", "stopped", "starting", "ready", "stopping", "lost", "failed"],
)
@pytest.mark.parametrize("with_head", [False, True])
def test_all_panels_draw(bpy, addon, avatar_folder, state, with_head):
    if with_head:
        bpy.ops.likeness.import_avatar(directory=str(avatar_folder))
    _state(addon.view, state)
    _jobs(addon.view)
    addon.view.backend.checks = [
        Check("Disk", "good", "40 GB are free"),
        Check("Python", "bad", "no Python 3.11 or 3.12", "install"),
    ]
    addon.view.notice = Notice("The photo shows no face; choose another photo", "photo")
    layouts = _draw_all(bpy)
    assert "portrait 0" in layouts["LIKENESS_PT_photo"].texts()
    assert "no Python 3.11" in layouts["LIKENESS_PT_doctor"].texts()
    assert "The photo shows no face" in layouts["LIKENESS_PT_photo"].texts()


def test_every_disabled_button_has_its_reason_in_the_panel(bpy, addon):
    _state(addon.view, "ready")
    layout = _draw_all(bpy)["LIKENESS_PT_photo"]
    assert "likeness.reconstruct" in layout.buttons(enabled=False)
    assert "Choose a photo first" in layout.texts()
    layout = _draw_all(bpy)["LIKENESS_PT_correct"]
    assert "There is no head in this file yet" in layout.texts()


def test_reconstruct_can_be_pressed_once_there_is_a_photo(bpy, addon, tmp_path):
    photo = tmp_path / "anna.png"
    photo.write_bytes(PNG)
    bpy.ops.likeness.choose_photo(filepath=str(photo))
    _state(addon.view, "ready")
    layout = _draw_all(bpy)["LIKENESS_PT_photo"]
    assert "likeness.reconstruct" in layout.buttons(enabled=True)
    assert "anna.png" in layout.texts()
    _state(addon.view, "absent")
    layout = _draw_all(bpy)["LIKENESS_PT_photo"]
    assert "likeness.reconstruct" in layout.buttons(enabled=False)
    assert "likeness.install_backend" in layout.buttons(enabled=True)


def test_what_only_marcus_has_is_shown_where_it_is_chosen(bpy, addon):
    settings = bpy.context.window_manager.likeness
    shown = {}
    for engine in ("auto", "embedded", "marcus"):
        settings.engine = engine
        drawn = _draw_all(bpy)["LIKENESS_PT_options"].drawn
        shown[engine] = {entry[1] for entry in drawn if entry[0] == "prop"} & {"caption", "turbo"}
    assert shown == {"auto": set(), "embedded": set(), "marcus": {"caption", "turbo"}}


@pytest.mark.parametrize(
    ("code", "button"),
    [
        ("bad_input", "likeness.choose_photo"),
        ("out_of_resources", "likeness.rerun_smaller"),
        ("worker_died", "likeness.rerun"),
        ("missing", "likeness.doctor"),
        ("protocol", "likeness.install_backend"),
    ],
)
def test_a_failed_job_draws_its_sentence_and_remedy(bpy, addon, code, button):
    _state(addon.view, "ready")
    job = addon.view.jobs["x"] = JobView("x", "anna", "failed")
    job.problem = Problem(code=code, message="something was wrong; do this")
    addon.heads["x"] = "x"
    layout = _draw_all(bpy)["LIKENESS_PT_photo"]
    assert "Something was wrong; do this" in layout.texts()
    assert button in layout.buttons(enabled=True)


def test_privacy_badge(bpy, addon):
    _state(addon.view, "ready")
    assert "Nothing left this machine" in _draw_all(bpy)["LIKENESS_PT_backend"].texts()
    addon.view.backend.networked = True
    assert "Nothing left this machine" not in _draw_all(bpy)["LIKENESS_PT_backend"].texts()
    from blender_addon.preferences import preferences

    preferences().location = "REMOTE"
    assert "sent to another machine" in _draw_all(bpy)["LIKENESS_PT_backend"].texts()
    preferences().location = "LOCAL"


def test_long_sentences_are_wrapped(bpy):
    from blender_addon.panels.widgets import wrap

    text = "the face is too small to reconstruct; choose a photo in which it is larger"
    lines = wrap(text, 120.0, 1.0)
    assert len(lines) > 2
    assert " ".join(lines) == text
    assert wrap("", 120.0, 1.0) == []


def test_stage_pictures_are_deleted_with_their_jobs(bpy, addon):
    from blender_addon import pictures
    from blender_addon.paths import session_folder

    _jobs(addon.view)
    job = addon.view.jobs["job0"]
    folder = session_folder(pictures.STAGES)
    pictures.icon_of_job(job)  # icons have no numbers without a window
    (first,) = folder.iterdir()
    assert first.read_bytes() == PNG
    job.preview_number = 2
    pictures.icon_of_job(job)  # icons have no numbers without a window
    pictures.drop_stages(addon.view.jobs.values())
    assert len(list(folder.iterdir())) == 1
    del addon.view.jobs["job0"]
    pictures.drop_stages(addon.view.jobs.values())
    assert list(folder.iterdir()) == []


def test_a_full_disk_costs_the_stages_picture_not_the_panel(bpy, addon, monkeypatch):
    from blender_addon import pictures

    def full(_name):
        raise OSError(errno.ENOSPC, "No space left on device")

    _jobs(addon.view)
    monkeypatch.setattr(pictures, "session_folder", full)
    assert pictures.icon_of_job(addon.view.jobs["job0"]) == 0
    _draw_all(bpy)
    assert not any(key.startswith(pictures.STAGES) for key in pictures._pictures.previews)


def test_a_full_disk_does_not_end_the_timer_when_a_report_is_due(bpy, addon, monkeypatch, capsys):
    from blender_addon import ticker
    from blender_addon.operators import base

    def full(_what, _error):
        raise OSError(errno.ENOSPC, "No space left on device")

    def slip(_self, _deadline):
        raise ValueError("our mistake")

    monkeypatch.setattr(base, "write_report", full)
    monkeypatch.setattr(type(addon), "drain", slip)
    assert ticker._tick() > 0
    assert "No space left on device" in addon.view.notice.text
    assert "\n" not in addon.view.notice.text
    assert "our mistake" in capsys.readouterr().err


def test_a_remedy_for_a_job_is_not_offered_without_one(bpy, addon):
    from blender_addon.panels.widgets import draw_remedy

    layout = FakeLayout(bpy)
    draw_remedy(layout, "smaller")
    draw_remedy(layout, "doctor")
    assert layout.buttons(enabled=True) == {"likeness.doctor"}
