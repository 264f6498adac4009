"""Blender in the test process: imported once, emptied before every test that asks for it."""

from __future__ import annotations

import os

import pytest
from bound_splats import make_bound_avatar
from synthetic_avatar import make_reconstruction

from backend.export.bundle_writer import write_bundle
from blender_addon.bundle import read_bundle


@pytest.fixture(scope="session")
def _blender(tmp_path_factory):
    os.environ.setdefault("BLENDER_USER_RESOURCES", str(tmp_path_factory.mktemp("blender")))
    return pytest.importorskip("bpy", reason="needs Blender's module (extra `blend`)")


@pytest.fixture
def bpy(_blender):
    """The bpy module with an empty scene."""
    _blender.ops.wm.read_factory_settings(use_empty=True)
    return _blender


@pytest.fixture(scope="session")
def avatar(tmp_path_factory):
    """The synthetic egg as a bundle that has been read back."""
    return read_bundle(write_bundle(make_reconstruction(), tmp_path_factory.mktemp("avatar") / "portrait"))


@pytest.fixture(scope="session")
def bound_folder(tmp_path_factory):
    """The synthetic avatar with 400 splats on all of its parts, a tenth of them hair."""
    return make_bound_avatar(tmp_path_factory.mktemp("splats"))


@pytest.fixture
def bound_head(bpy, bound_folder):
    """The avatar in the scene with its splats: mesh of the file, objects, uuid, the splats' object."""
    from blender_addon.scene.identity import UUID_KEY
    from blender_addon.scene.scene import assemble_scene
    from blender_addon.scene.splat_binding import add_bound_splats

    avatar = read_bundle(bound_folder)
    objects = assemble_scene(avatar, bpy.context.scene)
    uuid = objects.collection[UUID_KEY]
    return avatar.mesh, objects, uuid, add_bound_splats(bound_folder, avatar.mesh, objects, uuid, "portrait")
