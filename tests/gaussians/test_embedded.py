"""Splats of a test portrait: as many as promised, nearly the photo, whole from aside, written, drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from portraits import astronaut, fixture_reconstructed, recording_run
from synthetic_avatar import make_reconstruction

from backend.artifacts import Reconstruction, Run
from backend.errors import BadInput, Cancelled
from backend.export.avatar import write_avatar
from backend.gaussians.decoder import decode
from backend.gaussians.embedded import make_splats
from backend.gaussians.hair import grow_hair
from backend.gaussians.hair_mask import find_hair, head_window
from backend.gaussians.numba_renderer import NumbaRenderer
from backend.gaussians.renderer import as_seen, over
from backend.gaussians.surface import BoundGaussians, placed
from backend.gaussians.turntable import orbit_camera, render_splats, render_turntable
from backend.pipeline import reconstruct, with_splats
from blender_addon import bundle
from blender_addon.splats import read_ply

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made() -> Reconstruction:
    return fixture_reconstructed("portrait_front")


@pytest.fixture(scope="module")
def bound(made: Reconstruction) -> BoundGaussians:
    return make_splats(made, Run())


def seen_by(made: Reconstruction, bound: BoundGaussians, camera) -> torch.Tensor:
    splats = placed(bound, made.fit.vertices_head, made.fit.head.triangles)
    with torch.inference_mode():
        return NumbaRenderer().render(as_seen(splats, camera), camera)


def psnr_on_face(made: Reconstruction, bound: BoundGaussians) -> float:
    window = head_window(made.observation, made.fit)
    shown = over(seen_by(made, bound, window.camera), 0.5).numpy()
    return float(-10 * np.log10(((shown - window.rgb_srgb)[window.skin > 0.9] ** 2).mean()))


def test_there_are_enough_and_the_photos_view_is_nearly_the_photo(made, bound) -> None:
    assert len(bound) > 30_000
    before = psnr_on_face(made, decode(made))
    after = psnr_on_face(made, bound)
    assert after > before + 1.0
    assert after > 28.0


@pytest.mark.parametrize("yaw", [-45.0, 0.0, 45.0])
def test_the_head_is_not_transparent_from_any_side(made, bound, yaw: float) -> None:
    """Coverage where the mesh is, a few pixels within its outline."""
    import cv2

    from backend.uvspace.rasterise import rasterise_camera

    camera = orbit_camera(made.fit.head.eye_centres, yaw, 0.0, 160)
    cover = seen_by(made, bound, camera)[..., 3].numpy()
    drawn = rasterise_camera(made.fit.vertices_head, made.fit.head.opaque_triangles, camera).covered
    within = cv2.erode(drawn.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert np.quantile(cover[within], 0.02) > 0.9


def test_the_same_seed_gives_the_same_splats(made, bound) -> None:
    again = make_splats(made, Run())
    assert np.array_equal(again.sh, bound.sh)
    assert np.array_equal(again.offset, bound.offset)


def test_hair_is_found_only_where_there_is_some(made) -> None:
    """A portrait whose person ends at the skin: no hair, and the splats say so."""
    skin = made.observation.skin_mask
    window = head_window(replace(made.observation, person_mask=skin), made.fit)
    assert find_hair(window, made.fit) is None


def test_hair_of_which_hardly_anything_is_seen_is_made_too(made) -> None:
    window = head_window(made.observation, made.fit)
    seen = find_hair(window, made.fit)
    assert seen is not None
    rows, columns = np.nonzero(seen.clean)
    away = np.hypot(*(np.indices(seen.clean.shape) - np.array([rows, columns]).mean(1)[:, None, None]))
    away[~seen.clean] = np.inf
    for pixels in (0, 10, 20, 40, 80, 160, 320, 640):
        few = away <= np.sort(away, None)[pixels]
        hair = grow_hair(window, replace(seen, clean=few & seen.clean), made.fit, np.random.default_rng(0))
        assert hair is not None
        assert np.isfinite(hair.sh).all()


def test_a_painted_portrait_stays_as_painted(tmp_path) -> None:
    """Drawn over with ink and flat colours: the splats are the drawing, not the person behind it."""
    import cv2

    photograph = cv2.cvtColor(astronaut(), cv2.COLOR_RGB2BGR)
    large = cv2.resize(photograph, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    painted = cv2.stylization(large, sigma_s=40, sigma_r=0.35)
    assert cv2.imwrite(str(tmp_path / "painted.png"), painted)
    made = reconstruct(tmp_path / "painted.png", maps=512)
    bound = make_splats(made, Run())
    window = head_window(made.observation, made.fit)
    shown = over(seen_by(made, bound, window.camera), 0.5).numpy()
    face = window.skin > 0.9
    # The same pixels of what was painted over: the ink's lines are what tells the two apart.
    before = replace(made.observation, photo=replace(made.observation.photo, rgb_srgb=large[..., ::-1] / 255))
    photo = head_window(before, made.fit).rgb_srgb
    to_painting, to_photo = (np.abs(shown - other)[face].mean() for other in (window.rgb_srgb, photo))
    assert to_painting < 0.6 * to_photo
    assert psnr_on_face(made, bound) > 20  # ink a pixel wide is finer than the splats


def test_cancelling_stops_within_the_stage(made) -> None:
    calls = []

    def is_cancelled() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(Cancelled):
        make_splats(made, Run(is_cancelled=is_cancelled))


def test_a_head_without_regions_is_refused_in_one_line() -> None:
    with pytest.raises(BadInput, match="--head open"):
        make_splats(make_reconstruction(), Run())


def test_an_avatar_with_splats_is_written_read_and_drawn(made, bound, tmp_path, monkeypatch) -> None:
    run, told = recording_run()
    directory = tmp_path / "portrait"
    write_avatar(replace(made, splats=bound), directory, blender=None, overwrite=False, run=run)
    record = bundle.read_bundle(directory).manifest.splats
    assert record is not None
    assert record.count == len(bound)
    assert "splat files" in {stage for stage, _ in told}
    splats = read_ply(directory / "splats.ply")
    expected = placed(bound, made.fit.vertices_head, made.fit.head.triangles)
    assert np.array_equal(splats.positions, expected.positions)
    header = (directory / "splats.ply").read_bytes()[:400].decode("ascii", "replace").split("\n")
    assert header[:3] == ["ply", "format binary_little_endian 1.0", f"element vertex {len(bound)}"]

    from PIL import Image

    strip, animated = tmp_path / "strip.png", tmp_path / "turn.webp"
    render_turntable(directory, strip, 64, Run())
    assert Image.open(strip).size == (5 * 64, 64)
    monkeypatch.setattr("backend.gaussians.turntable.FRAMES", 8)
    render_turntable(directory, animated, 48, Run())
    assert Image.open(animated).n_frames == 8
    render_turntable(directory, tmp_path / "turn.mp4", 48, Run())
    assert (tmp_path / "turn.mp4").stat().st_size > 500
    render_splats(directory, "photo", tmp_path / "photo.png", 96)
    assert max(Image.open(tmp_path / "photo.png").size) == 96
    with pytest.raises(Cancelled):
        render_turntable(directory, tmp_path / "no.webp", 48, Run(is_cancelled=lambda: True))
    with pytest.raises(BadInput, match="must end in"):
        render_turntable(directory, tmp_path / "turn.gif", 48, Run())
    (directory / "splats.npz").unlink()
    with pytest.raises(BadInput, match="--splats"):
        render_turntable(directory, tmp_path / "no.webp", 48, Run())
    assert not list(tmp_path.glob("no.*"))
    assert not list(tmp_path.glob(".likeness-*"))


def test_the_stage_is_recorded(made, bound, monkeypatch) -> None:
    monkeypatch.setattr("backend.pipeline._SPLATS", _named(lambda made, run: bound))
    whole = with_splats(made, Run())
    assert whole.splats is bound
    assert whole.stages[-1].name == "splats"
    assert json.dumps(whole.stages[-1].implementation)


def _named(function):
    from backend.engines import Stage

    return Stage("splats", "given", function, kept=False)
