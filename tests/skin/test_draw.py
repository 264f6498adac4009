"""Skins drawn on the open head: the same at every tile, thread and size, and whole across the seams."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from backend.errors import BadInput
from backend.head.registry import load_head
from backend.uvspace import kernels
from backend.uvspace.chart import chart_maps, skin_triangles
from backend.uvspace.seams import sample_chart, seam_pairs
from synthdata.skin.anatomy import layers_of
from synthdata.skin.draw import _normal, _sorted, draw_skin
from synthdata.skin.maps import write_maps
from synthdata.skin.parameters import MakeUp, SkinParameters
from synthdata.skin.relief import relief
from synthdata.skin.seen import Seen
from synthdata.skin.structure import lay_structure
from synthdata.skin.surface import skin_surface

SKIN = SkinParameters(
    seed=5, is_male=True, wrinkles=0.6, freckles=0.3, stubble=0.5, stubble_mm=0.5, sweat=0.3
)
PLAIN = SkinParameters(seed=5, moles=0, blemishes=0)


@pytest.fixture(scope="module")
def head():
    return load_head("open")


@pytest.fixture(scope="module")
def drawn(head):
    return draw_skin(SKIN, head, 128)


@pytest.fixture(scope="module")
def plain(head):
    return draw_skin(PLAIN, head, 128)


@pytest.fixture(scope="module")
def where(head):
    chart = chart_maps(head, head.mean_vertices, 128)
    corners = head.triangles[np.maximum(chart.face_id, 0)]

    def region(name):
        return np.einsum("ijk,ijk->ij", chart.barycentric, head.regions[name][corners]) * chart.inside

    return region


def _bytes(maps):
    return b"".join(picture.tobytes() for picture in maps.pictures().values())


def test_bytes_depend_neither_on_tiles_nor_on_threads(head, drawn, monkeypatch):
    monkeypatch.setattr(kernels, "threads", lambda: 3)
    assert _bytes(draw_skin(SKIN, head, 128, tile_rows=37)) == _bytes(drawn)


def test_another_seed_is_another_skin(head, plain):
    other = draw_skin(replace(PLAIN, seed=6), head, 128)
    assert np.abs(other.albedo_srgb.astype(int) - plain.albedo_srgb).mean() > 0.5


def test_a_larger_map_is_the_same_person(head, plain):
    large = draw_skin(PLAIN, head, 256)
    inside = cv2.erode(plain.inside.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0

    def difference(a, b):
        return np.abs(a[inside] - b[inside]).mean()

    small = cv2.resize(large.albedo_linear, (128, 128), interpolation=cv2.INTER_AREA)
    other = draw_skin(replace(PLAIN, seed=6), head, 128)
    same = difference(small, plain.albedo_linear)
    assert same < 0.4 * difference(other.albedo_linear, plain.albedo_linear)
    assert same < 0.004
    heights = cv2.resize(large.displacement_mm, (128, 128), interpolation=cv2.INTER_AREA)
    assert difference(heights, plain.displacement_mm) < 0.01


def test_no_seam_shows(head, drawn):
    pairs = seam_pairs(head, 128)
    maps = np.concatenate(
        [drawn.albedo_linear, drawn.displacement_mm[..., None], drawn.roughness[..., None]], -1
    )
    own = sample_chart(maps, pairs.uv + pairs.inward * (0.75 / 128))
    across = sample_chart(maps, pairs.uv_across + pairs.inward_across * (0.75 / 128))
    further = sample_chart(maps, pairs.uv + pairs.inward * (2.25 / 128))
    step, within = np.abs(own - across).mean(0), np.abs(own - further).mean(0)
    # Texels at a seam lie 1.5 texels apart, as those that they are compared with.
    assert (step < 2.0 * within + 1e-3).all(), (step, within)


def test_normals_are_the_slopes_of_the_heights(head):
    surface = skin_surface(head, head.mean_vertices, layers_of(head, head.mean_vertices))
    structure = lay_structure(surface, SKIN, {})
    grids = _sorted(surface, structure, 1024)
    texels = surface.rows(1024, 400, 403)

    def heights(points):
        made = relief(Seen(SKIN, surface.names, replace(texels, points_mm=points), structure, grids))
        return made.coarse_mm + made.fine_mm, made

    _, made = heights(texels.points_mm)
    slope = made.coarse_slope + made.fine_slope
    normal = _normal(texels.normal, texels.tangent, slope)
    across = texels.tangent[:, :3]
    along = texels.tangent[:, 3:] * np.cross(texels.normal, across)
    step = np.float32(0.01)
    for axis, direction in ((0, across), (1, along)):
        ahead, behind = (
            heights((texels.points_mm + s * step * direction).astype(np.float32))[0] for s in (1, -1)
        )
        found = -(ahead - behind) / (2 * step)
        error = np.abs(found - normal[:, axis] / normal[:, 2])
        assert np.abs(found).max() > 0.1
        assert np.quantile(error, 0.95) < 0.03


def test_green_points_up_the_chart(head):
    """A mole raised from the skin is lit from above: its upper half has green above the middle."""
    surface = skin_surface(head, head.mean_vertices, layers_of(head, head.mean_vertices))
    texels = surface.rows(512, 200, 312)
    along = texels.tangent[:, 3:] * np.cross(texels.normal, texels.tangent[:, :3])
    front = texels.normal[:, 2] > 0.8
    assert (along[front, 1] > 0.5).mean() > 0.95  # head space's +Y: the chart is upright
    down_slope = -along * 0.2
    assert (_normal(texels.normal, texels.tangent, down_slope)[front, 1] > 0.15).all()


def test_lips_and_nose_are_redder_than_the_forehead(plain, where):
    def redness(region):
        chosen = where(region) > 0.8
        colour = plain.albedo_linear[chosen].mean(0)
        return np.log(colour[0] / colour[1])

    assert redness("lips") > redness("nose") + 0.05
    assert redness("nose") > redness("forehead") + 0.05


def test_expression_and_age_fold_the_forehead(head, plain, where):
    forehead = where("forehead") > 0.7

    def unevenness(maps):
        slope = maps.relief_tangent[..., :2] / maps.relief_tangent[..., 2:]
        return np.abs(slope[forehead]).mean()

    raised = draw_skin(PLAIN, head, 128, expression={"browInnerUp": 1.0, "browOuterUpLeft": 1.0})
    old = draw_skin(replace(PLAIN, wrinkles=0.9), head, 128)
    assert unevenness(raised) > 1.3 * unevenness(plain)
    assert unevenness(old) > 1.5 * unevenness(plain)


def test_stubble_and_lipstick_stay_where_they_belong(head, plain, where):
    bearded = draw_skin(replace(PLAIN, is_male=True, stubble=1.0, stubble_mm=1.0), head, 128)
    change = np.abs(bearded.albedo_linear - plain.albedo_linear).mean(-1)
    assert change[where("beard") > 0.9].mean() > 20 * change[where("forehead") > 0.9].mean()
    worn = draw_skin(replace(PLAIN, make_up=MakeUp(lips=1.0, lip_colour=(0.3, 0.0, 0.0))), head, 128)
    change = np.abs(worn.albedo_linear - plain.albedo_linear).mean(-1)
    assert change[where("lips") > 0.95].mean() > 20 * change[where("cheeks") > 0.8].mean()


def test_maps_go_on_beyond_the_border(drawn):
    ring = (cv2.dilate(drawn.inside.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) & ~drawn.inside
    assert (drawn.albedo_srgb[ring].max(-1) > 0).all()


def test_sizes_out_of_range_and_foreign_vertices_are_refused(head):
    with pytest.raises(BadInput, match="64 to 8192"):
        draw_skin(PLAIN, head, 32)
    with pytest.raises(BadInput, match="vertices"):
        draw_skin(PLAIN, head, 64, head.mean_vertices[:-1])


def test_files_appear_whole_and_are_not_overwritten(plain, tmp_path):
    write_maps(plain, tmp_path / "skin")
    names = {path.name for path in (tmp_path / "skin").iterdir()}
    assert names == {f"{name}.png" for name in plain.pictures()}
    stored = cv2.imread(str(tmp_path / "skin" / "normal.png"), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == np.uint16
    assert np.array_equal(stored[..., ::-1], plain.normal_u16)
    with pytest.raises(BadInput, match="there already"):
        write_maps(plain, tmp_path / "skin")


def test_a_nostril_is_dark_to_its_end(head):
    """The region ends before the far end of each nostril: the skin that it encloses is inside as well."""
    region, inside = head.regions["nostrils"], layers_of(head, head.mean_vertices)["nostrils"]
    added = inside != region
    edges = head.triangles[skin_triangles(head)][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    crossing = edges[added[edges].any(1)]
    assert added[head.mean_vertices[:, 0] < 0].sum() == added[head.mean_vertices[:, 0] > 0].sum() > 10
    assert inside[crossing].min() > 0.5
    assert inside[added].min() == 1
