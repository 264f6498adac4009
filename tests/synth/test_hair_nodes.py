"""Blender's own hair nodes on strands made here: that they are there, and do what the names say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

bpy = pytest.importorskip("bpy", reason="needs the bpy module (extra `blend`)")

from synthdata.cycles.hair_nodes import Grooming, groom  # noqa: E402
from synthdata.scene.pieces import strand_curves  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.blend]
COUNT, POINTS, LENGTH_M = 60, 12, 0.1


def _groomed(grooming: Grooming, seed: int = 3) -> NDArray[np.float32]:
    """Straight strands a millimetre apart in a row, groomed: ``(N, points, 3)``."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    strands = np.zeros((COUNT, POINTS, 3), np.float32)
    strands[..., 0] = 0.001 * np.arange(COUNT)[:, None]
    strands[..., 1] = np.linspace(0, LENGTH_M, POINTS)
    obj = bpy.data.objects.new("hair", strand_curves("hair", strands, 5e-5))
    bpy.context.scene.collection.objects.link(obj)
    groom(obj, grooming, seed)
    bpy.context.view_layer.update()
    made = obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
    flat = np.empty(3 * len(made.points), np.float32)
    made.position_data.foreach_get("vector", flat)
    return flat.reshape(len(made.curves), -1, 3)


def test_doubles_stand_beside_their_strands() -> None:
    made = _groomed(Grooming(doubles=1, lock=0.0, stray_m=0.0))
    assert made.shape == (2 * COUNT, POINTS, 3)
    own, double = made[:COUNT, 0], made[COUNT:, 0]
    gap = np.linalg.norm(own[:, None] - double[None], axis=-1).min(0)
    assert 0 < gap.mean() < 0.002


def test_locks_draw_tips_together_and_leave_roots() -> None:
    made = _groomed(Grooming(doubles=0, lock=0.8, lock_m=0.006, stray_m=0.0))
    gaps = np.abs(np.diff(made[..., 0], axis=0))
    np.testing.assert_allclose(gaps[:, 0], 0.001, atol=1e-5)
    assert np.median(gaps[:, -1]) < 0.0006


def test_hairs_stray_by_no_more_than_is_said_and_the_same_each_time() -> None:
    grooming = Grooming(doubles=0, lock=0.0, stray_m=0.002)
    first, again = _groomed(grooming), _groomed(grooming)
    aside = np.abs(first[..., 1])  # scene space: (x, −z, y)
    assert 0.0002 < aside[:, -1].max() < 0.004
    assert aside[:, 0].max() < 1e-6
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != _groomed(grooming, seed=4).tobytes()
