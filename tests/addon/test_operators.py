"""Operators: registered cleanly, described, with a reason when they are off, one line when they fail."""

from __future__ import annotations

import threading

import pytest

pytestmark = pytest.mark.blend


def _ours(bpy):
    """What Blender knows of us: classes, settings, timers, handlers."""
    kinds = (bpy.types.Operator, bpy.types.Panel, bpy.types.PropertyGroup, bpy.types.FileHandler)
    classes = {
        c.__name__ for kind in kinds for c in kind.__subclasses__() if "likeness" in c.__name__.lower()
    }
    registered = {name for name in classes if getattr(bpy.types, name, None) is not None}
    operators = set(dir(bpy.ops.likeness))
    handlers = {
        function.__name__
        for name in dir(bpy.app.handlers)
        if isinstance(functions := getattr(bpy.app.handlers, name), list)
        for function in functions
        if function.__module__.startswith("blender_addon")
    }
    settings = {
        name
        for owner in (bpy.types.WindowManager, bpy.types.Scene)
        for name in dir(owner)
        if name.startswith("likeness")
    }
    threads = {t.name for t in threading.enumerate() if t.name.startswith("likeness")}
    return registered, operators, handlers, settings, threads


def test_switching_on_and_off_twice_leaves_nothing(bpy, addon):
    import addon_utils

    from blender_addon import ticker

    on = _ours(bpy)
    assert on[1]
    assert len(on[2]) >= 4
    assert on[3] == {"likeness", "likeness_light"}
    for _ in range(2):
        addon_utils.disable("blender_addon", default_set=False)
        registered, operators, handlers, settings, threads = _ours(bpy)
        assert (registered, operators, handlers, settings, threads) == (set(),) * 5
        assert not bpy.app.timers.is_registered(ticker._tick)
        addon_utils.enable("blender_addon", default_set=False)
    assert _ours(bpy) == on


def test_the_timer_is_taken_out_again(bpy, addon):
    from blender_addon import ticker

    ticker.stop()
    bpy.app.timers.register(ticker._tick, first_interval=100.0, persistent=True)
    ticker.stop()
    assert not bpy.app.timers.is_registered(ticker._tick)
    ticker.start()


def test_every_operator_says_what_it_does(bpy, addon):
    from blender_addon import registration

    operators = [c for c in registration.classes() if issubclass(c, bpy.types.Operator)]
    assert len(operators) > 25
    for cls in operators:
        module, name = cls.bl_idname.split(".")
        rna = getattr(getattr(bpy.ops, module), name).get_rna_type()
        assert len(rna.description) > 10, cls.bl_idname
        assert not rna.description.endswith("."), cls.bl_idname
        assert "\n" not in rna.description.strip(), cls.bl_idname


def test_what_is_off_says_why(bpy, addon):
    from blender_addon import registration

    for cls in registration.classes():
        if not issubclass(cls, bpy.types.Operator) or cls.poll(bpy.context):
            continue
        reason = cls.obstacle(bpy.context)
        assert reason, cls.bl_idname
        assert reason[0].isupper(), cls.bl_idname
        assert not reason.endswith("."), cls.bl_idname
        module, name = cls.bl_idname.split(".")
        with pytest.raises(RuntimeError, match="poll"):
            getattr(getattr(bpy.ops, module), name)()


def test_import_needs_no_backend(bpy, addon, avatar_folder):
    from blender_addon import heads

    assert bpy.ops.likeness.import_avatar(directory=str(avatar_folder)) == {"FINISHED"}
    (uuid,) = heads.uuids()
    assert heads.active(bpy.context) == uuid
    assert heads.folder_of(uuid) == avatar_folder
    assert heads.job_of(uuid) is None
    assert bpy.context.scene.camera is not None
    assert bpy.ops.likeness.import_avatar(directory=str(avatar_folder)) == {"FINISHED"}
    assert len(heads.uuids()) == 2
    assert "Select a head" in str(heads.obstacle(bpy.context))
    assert bpy.ops.likeness.select_head(uuid=uuid) == {"FINISHED"}
    assert heads.active(bpy.context) == uuid


@pytest.mark.parametrize("folder", ["nothing", "damaged"])
def test_a_bad_folder_is_one_line_and_leaves_nothing(bpy, addon, tmp_path, folder):
    from blender_addon import heads

    if folder == "damaged":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "avatar.json").write_text("{")
    with pytest.raises(RuntimeError) as told:
        bpy.ops.likeness.import_avatar(directory=str(tmp_path / folder))
    assert "Traceback" not in str(told.value)
    assert folder in str(told.value)
    assert heads.uuids() == []
    assert not addon.imports


def test_without_a_backend_reconstruct_says_what_to_do(bpy, addon, tmp_path):
    photo = tmp_path / "anna.png"
    photo.write_bytes(b"x")
    with pytest.raises(RuntimeError, match=r"not installed; run bpy\.ops\.likeness\.install_backend"):
        bpy.ops.likeness.reconstruct(filepath=str(photo))
    with pytest.raises(RuntimeError, match="is not there; choose another photo"):
        bpy.ops.likeness.reconstruct(filepath=str(tmp_path / "gone.png"))


def test_what_is_asked_of_marcus_reaches_the_server(bpy, addon, tmp_path, monkeypatch):
    from blender_addon import waiting

    photo = tmp_path / "anna.png"
    photo.write_bytes(b"x")
    asked = []
    monkeypatch.setattr(waiting, "reconstruct", lambda current, photos, options: asked.append(options) or [])
    bpy.ops.likeness.reconstruct(filepath=str(photo), engine="marcus", caption=" a man ", turbo=True)
    bpy.ops.likeness.reconstruct(filepath=str(photo), engine="embedded")
    assert (asked[0].engine, asked[0].caption, asked[0].turbo) == ("marcus", "a man", True)
    assert (asked[1].caption, asked[1].turbo) == (None, False)


def test_our_own_mistakes_leave_a_report(bpy, addon, tmp_path, monkeypatch):
    from blender_addon.operators import history

    def broken(*_):
        raise ZeroDivisionError("a slip")

    monkeypatch.setattr(history, "is_bundle", broken)
    with pytest.raises(RuntimeError, match="mistake of ours; the report is"):
        bpy.ops.likeness.import_avatar(directory=str(tmp_path))
    (report,) = (tmp_path / "user" / "reports").glob("*.txt")
    text = report.read_text()
    assert "ZeroDivisionError: a slip" in text
    assert bpy.app.version_string in text


def test_expression_and_light_of_a_head(bpy, addon, avatar_folder):
    from blender_addon import heads
    from blender_addon.operators.head import expression_keys

    bpy.ops.likeness.import_avatar(directory=str(avatar_folder))
    (uuid,) = heads.uuids()
    fitted = {key.name: key.value for key in expression_keys(uuid)}
    assert any(fitted.values())
    bpy.ops.likeness.reset_expression()
    assert not any(key.value for key in expression_keys(uuid))
    bpy.ops.likeness.photo_expression()
    assert {key.name: key.value for key in expression_keys(uuid)} == pytest.approx(fitted, abs=1e-6)

    scene = bpy.context.scene
    world = scene.world
    assert bpy.ops.likeness.light_preset(preset="rembrandt") == {"FINISHED"}
    assert scene.world != world
    assert bpy.ops.likeness.match_photo() == {"FINISHED"}
    assert scene.world == world


def test_the_sliders_relight_at_once(bpy, addon):
    from blender_addon import pictures

    items = pictures.hdri_items(None, bpy.context)
    assert [number for *_, number in items] == list(range(len(items)))
    light = bpy.context.scene.likeness_light
    light.hdri = items[1][0]
    light.rotation = 0.5
    light.strength = 2.0
    tree = bpy.context.scene.world.node_tree
    mapping = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeMapping")
    assert mapping.inputs["Rotation"].default_value[2] == pytest.approx(0.5)
    with pytest.raises(RuntimeError, match="choose another one"):
        bpy.ops.likeness.relight(filepath="/nowhere/sky.exr")


def test_a_file_of_the_artist_keeps_its_place_in_the_list(bpy, addon, tmp_path):
    from blender_addon import pictures
    from blender_addon.preferences import preferences

    own = len(pictures.hdri_items(None, bpy.context))
    preferences().hdri_folder = str(tmp_path)
    numbers = {}
    for name in ("meadow.exr", "alley.hdr", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
        items = pictures.hdri_items(None, bpy.context)[own:]
        for path, *_, number in items:
            assert numbers.setdefault(path, number) == number
    assert len(numbers) == 2
    preferences().hdri_folder = ""


def test_reshaping_follows_a_solution_and_goes_back(bpy, addon, avatar_folder):
    import numpy as np

    from blender_addon import heads
    from blender_addon.scene.reshape import remember_shape, reshape, restore_shape, solve_weights

    bpy.ops.likeness.import_avatar(directory=str(avatar_folder))
    (uuid,) = heads.uuids()
    skin = heads.skin(uuid)

    def positions(points):
        values = np.empty(3 * len(points), np.float32)
        points.foreach_get("co", values)
        return values.reshape(-1, 3)

    before = remember_shape(uuid, avatar_folder)
    mesh = before.mesh
    old = {key.name: positions(key.data) for key in skin.data.shape_keys.key_blocks}
    neutral = (mesh.vertices_neutral_head * np.float32([1.1, 1.0, 1.0])).astype(np.float32)
    wanted = {name: 0.3 if number % 2 else 0.0 for number, name in enumerate(mesh.expression_names)}
    photographed = neutral.astype(np.float64)
    for number, name in enumerate(mesh.expression_names):
        rows, offsets = mesh.expressions.rows(number)
        photographed[rows] += wanted[name] * offsets
    weights = solve_weights(before, neutral, photographed.astype(np.float32))
    assert weights == pytest.approx(wanted, abs=1e-3)
    reshape(before, neutral, weights)
    moved = positions(skin.data.shape_keys.key_blocks[1].data) - old[skin.data.shape_keys.key_blocks[1].name]
    rows = before.rows["skin"]
    expected = 0.1 * mesh.vertices_neutral_head[rows, 0]
    np.testing.assert_allclose(moved[:, 0], expected, atol=1e-6)  # scene x is head x
    np.testing.assert_allclose(moved[:, 1:], 0.0, atol=1e-6)
    restore_shape(before)
    for key in skin.data.shape_keys.key_blocks:
        np.testing.assert_allclose(positions(key.data), old[key.name], atol=1e-7)


def test_painting_over_becomes_a_mask(bpy, addon, avatar_folder, tmp_path):
    import io

    import numpy as np
    from PIL import Image

    from blender_addon import exclude_mask, heads

    photo = tmp_path / "photo.jpg"
    rng = np.random.default_rng(5)
    Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(photo, quality=95)
    bpy.ops.likeness.import_avatar(directory=str(avatar_folder))
    (uuid,) = heads.uuids()
    image = exclude_mask.create(uuid, "egg", photo)
    assert exclude_mask.find(uuid) == image
    assert exclude_mask.encode(image, photo) is None
    pixels = np.array(image.pixels[:]).reshape(40, 60, 4)
    pixels[:10, :5, :3] = (1.0, 0.0, 1.0)  # Blender's first row is the lowest
    image.pixels[:] = pixels.ravel()
    png = exclude_mask.encode(image, photo)
    mask = np.asarray(Image.open(io.BytesIO(png)))
    expected = np.zeros((40, 60), np.uint8)
    expected[30:, :5] = 255
    np.testing.assert_array_equal(mask, expected)
