"""Frames of an avatar whose splats networks made, baked by the add-on through the real server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bound_splats import deformed, drawn

from blender_addon.bundle import read_bundle
from blender_addon.splat_binding import read_bound_splats

pytestmark = [pytest.mark.blend, pytest.mark.slow]


@pytest.fixture(scope="module")
def avatar(tmp_path_factory) -> Path:
    """The open head by random networks, whose answers are larger than a trained one's."""
    pytest.importorskip("diffusers")
    pytest.importorskip("transformers")
    from packed_networks import portrayed, write_trainings

    from backend.artifacts import Run
    from backend.export.bundle_writer import write_bundle
    from backend.fica.networks import pack
    from backend.fica.splats import FicaSplats
    from backend.head.registry import load_head
    from backend.pipeline import with_splats

    parent, head = tmp_path_factory.mktemp("fica"), load_head("open")
    trainings = write_trainings(parent / "trainings", head)
    pack(replace(trainings, conditioning=None), parent / "networks")
    made = with_splats(portrayed(head), Run(seed=4), by=FicaSplats(parent / "networks"))
    return write_bundle(made, parent / "portrait")


def test_blender_shows_what_the_prior_decodes(bpy, backend, avatar, tmp_path) -> None:
    """Places, turns and colours of every drawn splat, for a nod with an opening mouth."""
    from backend.gaussians.frames import decoder_of
    from blender_addon import heads
    from blender_addon.scene.identity import find, first

    bpy.ops.likeness.import_avatar(directory=str(avatar))
    (uuid,) = heads.uuids()
    assert bpy.ops.likeness.show_splats(shown=True) == {"FINISHED"}
    bone = first("objects", uuid, "rig").pose.bones["head"]
    bone.rotation_mode = "XYZ"
    key = heads.skin(uuid).data.shape_keys.key_blocks["jawOpen"]
    for frame, angle, value in ((1, 0.0, 0.0), (3, -0.3, 0.8)):
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
        key.value = value
        key.keyframe_insert("value", frame=frame)
    assert bpy.ops.likeness.bake_splats(first=1, last=3, directory=str(tmp_path)) == {"FINISHED"}

    mesh, decoder = read_bundle(avatar).mesh, decoder_of(avatar)
    live = read_bound_splats(avatar, len(mesh.vertices_neutral_head))[0]
    thing, scene = first("objects", uuid, "splats"), bpy.context.scene
    for frame in (1, 3):
        scene.frame_set(frame)
        truth = decoder.decode(deformed(bpy, mesh, find(uuid)).astype(np.float32))
        got = drawn(bpy, thing)
        assert np.abs(got["position"] - truth.positions).max() < 1e-4
        colours = np.stack([got[f"splat_sh_{channel}0"] for channel in "rgb"], 2)
        error = np.abs(colours - truth.sh).max()
        assert error < 1e-3
        assert np.abs(live.sh - truth.sh).max() > 5 * error
