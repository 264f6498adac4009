"""Blender in the test process: imported once, emptied before every test that asks for it."""

from __future__ import annotations

import os

import pytest
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
