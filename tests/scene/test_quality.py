"""Stand-ins and full maps: which picture the material shows, on demand and around a render."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from blender_addon import bundle

pytestmark = pytest.mark.blend

UUID = "q"


@pytest.fixture
def folder(avatar, tmp_path):
    """A bundle with stand-ins of 16 texels."""
    from PIL import Image

    folder = shutil.copytree(avatar.directory, tmp_path / "portrait")
    (folder / "proxies").mkdir()
    for name in bundle.MAP_NAMES:
        full = Image.open(bundle.map_path(folder, name))
        small = np.asarray(full)[::4, ::4]
        Image.fromarray(small).save(bundle.proxy_path(folder, name))
    return folder


@pytest.fixture
def head(bpy, folder):
    from blender_addon.scene.importing import ImportOptions, import_steps

    list(import_steps(folder, ImportOptions(), collection_uuid=UUID))
    return folder


def _shown(bpy):
    from blender_addon.scene.maps import skin_material

    nodes = skin_material(UUID).node_tree.nodes
    return {name: nodes[name].image.size[0] for name in bundle.MAP_NAMES}


def test_stand_ins_first_full_on_demand_and_back(bpy, head):
    from blender_addon.scene.quality import has_full_maps, use_full_maps, use_proxies

    assert set(_shown(bpy).values()) == {16}
    assert has_full_maps(UUID)
    assert use_full_maps(UUID) == 6
    assert set(_shown(bpy).values()) == {64}
    assert not has_full_maps(UUID)
    assert use_full_maps(UUID) == 0
    full = [i for i in bpy.data.images if i.get("likeness_quality") == "full"]
    assert all(i.packed_file is not None for i in full)
    assert use_proxies(UUID) == 6
    assert set(_shown(bpy).values()) == {16}


def test_a_render_borrows_full_maps_and_packs_none(bpy, head):
    from blender_addon.scene.quality import full_maps_for_render, proxies_after_render

    full_maps_for_render(bpy.context.scene)
    assert set(_shown(bpy).values()) == {64}
    assert all(i.packed_file is None for i in bpy.data.images if i.get("likeness_quality") == "full")
    proxies_after_render(bpy.context.scene)
    assert set(_shown(bpy).values()) == {16}


def test_after_a_render_what_the_artist_chose_stays(bpy, head):
    from blender_addon.scene.quality import full_maps_for_render, proxies_after_render, use_full_maps

    use_full_maps(UUID)
    full_maps_for_render(bpy.context.scene)
    proxies_after_render(bpy.context.scene)
    assert set(_shown(bpy).values()) == {64}


@pytest.mark.slow
def test_handlers_around_a_real_render(bpy, head, tmp_path):
    from blender_addon.scene.quality import full_maps_for_render, proxies_after_render
    from blender_addon.scene.render import configure_cycles, render_to_file

    seen = []
    handlers = bpy.app.handlers
    handlers.render_init.append(full_maps_for_render)
    handlers.render_post.append(lambda *_: seen.append(_shown(bpy)["albedo"]))
    handlers.render_complete.append(proxies_after_render)
    try:
        bpy.context.scene.render.resolution_x = bpy.context.scene.render.resolution_y = 32
        configure_cycles(bpy.context.scene, 1)
        render_to_file(bpy.context.scene, tmp_path / "x.png")
    finally:
        for handler in (handlers.render_init, handlers.render_post, handlers.render_complete):
            handler.clear()
    assert seen == [64]
    assert _shown(bpy)["albedo"] == 16


def test_a_folder_that_is_gone(bpy, head, capsys):
    from blender_addon.scene.quality import has_full_maps, use_full_maps

    shutil.rmtree(head)
    assert not has_full_maps(UUID)
    with pytest.raises(RuntimeError, match="bring the avatar's folder back"):
        use_full_maps(UUID)
    assert set(_shown(bpy).values()) == {16}


def test_without_stand_ins_there_is_nothing_to_switch(bpy, folder):
    from blender_addon.scene.importing import ImportOptions, import_steps
    from blender_addon.scene.quality import has_full_maps, use_full_maps, use_proxies

    list(import_steps(folder, ImportOptions(proxies=False), collection_uuid=UUID))
    assert set(_shown(bpy).values()) == {64}
    assert not has_full_maps(UUID)
    assert use_full_maps(UUID) == 0
    shutil.rmtree(folder / "proxies")
    assert use_proxies(UUID) == 0
