"""Operators without a window on a real server: photo to head, re-solve, corrections, forgetting."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.blend, pytest.mark.slow]

PORTRAIT = Path(__file__).resolve().parents[1] / "data" / "portrait_front.jpg"


def test_a_photo_becomes_a_head_that_can_be_corrected_and_forgotten(bpy, backend, tmp_path):
    from blender_addon import exclude_mask, heads, waiting
    from blender_addon.operators import correct
    from blender_addon.scene.reshape import remember_shape, reshape, solve_weights

    assert bpy.ops.likeness.reconstruct(filepath=str(PORTRAIT), maps=512, seed=3) == {"FINISHED"}
    (uuid,) = heads.uuids()
    job = heads.job_of(uuid)
    assert backend.view.jobs[job].options.seed == 3
    assert heads.folder_of(uuid) == backend.view.jobs[job].directory

    edit = backend.edit = correct.begin_edit(bpy.context)
    before = remember_shape(uuid, edit.photo.parent)
    corner = 61  # of the mouth
    x, y = edit.board.place(corner)
    edit.board.grab(corner, x, y)
    edit.board.drag(x - 6.0, y, time.monotonic())
    edit.board.release()
    _until_solved(backend, edit)
    assert edit.problem is None
    solution = edit.solution
    moved = np.linalg.norm(solution.neutral - before.mesh.vertices_neutral_head, axis=1)
    assert 1e-4 < moved.max() < 0.05
    weights = solve_weights(before, solution.neutral, solution.photographed)
    reshape(before, solution.neutral, weights)
    shown = solution.neutral.astype(np.float64)
    for number, name in enumerate(before.mesh.expression_names):
        rows, offsets = before.mesh.expressions.rows(number)
        shown[rows] += weights[name] * offsets
    values = np.array([weights[name] for name in before.mesh.expression_names])
    shown += before.mesh.correctives.moved(values, len(shown))
    # What the shape keys add up to. Round the eyes they hold the person's own lids, the solve the model's;
    # there a person's lids and whites give way by up to 0.8 mm.
    apart = np.abs(shown - solution.photographed).max(1)
    from_eyes = np.linalg.norm(shown[:, None] - before.mesh.eye_centres_head, axis=2).min(1)
    assert apart[from_eyes > 0.045].max() < 5e-5
    assert apart.max() < 8e-4
    backend.corrected[uuid], backend.edit = edit.board.pins(), None

    image = exclude_mask.create(uuid, "portrait", edit.photo)
    width, height = image.size
    pixels = np.array(image.pixels[:]).reshape(height, width, 4)
    pixels[height // 2 : height // 2 + 8, width // 2 : width // 2 + 8, :3] = (1.0, 0.0, 1.0)
    image.pixels[:] = pixels.ravel()
    assert bpy.ops.likeness.rerun_corrected() == {"FINISHED"}
    waiting.until(backend, lambda: len(backend.heads) == 2)
    (corrected,) = set(backend.heads) - {job}
    jobs = backend.view.jobs
    waiting.until(backend, lambda: corrected in jobs and not jobs[corrected].is_active)
    assert jobs[corrected].state == "done", jobs[corrected].problem
    assert jobs[corrected].parent == job
    waiting.import_all(backend)
    assert heads.uuids() == [uuid]
    assert heads.job_of(uuid) == corrected

    assert bpy.ops.likeness.forget_photo(job=job) == {"FINISHED"}
    waiting.until(backend, lambda: not backend.view.jobs)
    assert heads.folder_of(uuid) is None
    assert heads.uuids() == [uuid]


def test_a_photo_without_a_face_is_one_sentence(bpy, backend, tmp_path):
    from PIL import Image

    from blender_addon import heads

    wall = tmp_path / "wall.png"
    Image.new("RGB", (256, 256), (120, 130, 140)).save(wall)
    with pytest.raises(RuntimeError, match=r"wall: .*face") as told:
        bpy.ops.likeness.reconstruct(filepath=str(wall), maps=512)
    assert "Traceback" not in str(told.value)
    assert heads.uuids() == []


def _until_solved(backend, edit, limit_s=120.0):
    end = time.monotonic() + limit_s
    while edit.solution is None and edit.problem is None and time.monotonic() < end:
        backend.refine(time.monotonic())
        backend.drain(time.perf_counter() + 0.05)
        time.sleep(0.02)
    assert edit.solution is not None, edit.problem or "no answer in time"
