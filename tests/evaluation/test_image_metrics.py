"""PSNR, SSIM, gradient similarity and CSIM against scikit-image and closed forms."""

import numpy as np
import pytest

from backend.evaluation.image_metrics import (
    gradient_similarity,
    identity_similarity,
    psnr_db,
    ssim,
    ssim_map,
)

metrics = pytest.importorskip("skimage.metrics")


@pytest.fixture
def pair():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:64, 0:80] / 64
    truth = np.stack([0.5 + 0.3 * np.sin(9 * x), 0.4 + 0.3 * np.cos(7 * y), 0.5 + 0.2 * x * y], -1)
    return np.clip(truth + rng.normal(0, 0.04, truth.shape), 0, 1), truth


def _disc(shape, radius=24):
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
    return (y - shape[0] / 2) ** 2 + (x - shape[1] / 2) ** 2 < radius**2


def test_psnr_of_a_known_offset_on_a_mask():
    truth = np.full((10, 10, 3), 0.5)
    picture = truth + 0.1
    mask = np.zeros((10, 10), np.uint8)
    mask[2:5] = 255  # any value above 0 counts
    picture[mask == 0] = 0.0
    assert psnr_db(picture, truth, mask) == pytest.approx(20.0, abs=1e-9)
    assert psnr_db(truth, truth, mask) == float("inf")
    assert psnr_db(picture, truth, np.zeros((10, 10))) is None


def test_psnr_is_scikit_images_on_a_whole_picture(pair):
    expected = metrics.peak_signal_noise_ratio(pair[1], pair[0], data_range=1)
    assert psnr_db(*pair, np.ones(pair[0].shape[:2])) == pytest.approx(expected, abs=1e-9)


def test_ssim_is_scikit_images_where_windows_are_whole(pair):
    _, expected = metrics.structural_similarity(
        *pair,
        full=True,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
    )
    own = ssim_map(*pair, np.ones(pair[0].shape[:2]))
    assert np.abs(own - expected)[5:-5, 5:-5].max() < 1e-9


def test_ssim_of_flat_pictures_is_the_luminance_term():
    a, b = np.full((30, 30, 3), 0.6), np.full((30, 30, 3), 0.4)
    expected = (2 * 0.6 * 0.4 + 1e-4) / (0.6**2 + 0.4**2 + 1e-4)
    assert ssim(a, b, _disc((30, 30), 10)) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", [psnr_db, ssim, gradient_similarity])
def test_nothing_outside_the_mask_counts(metric, pair):
    picture, truth = pair
    mask = _disc(mask_shape := picture.shape[:2])
    spoilt = np.where(mask[..., None], picture, np.random.default_rng(0).random((*mask_shape, 3)))
    assert metric(spoilt, truth, mask) == pytest.approx(metric(picture, truth, mask), abs=1e-12)
    assert metric(picture, truth, mask) != pytest.approx(
        metric(picture, truth, np.ones(mask_shape)), abs=1e-6
    )


def test_gradient_similarity_falls_with_blur_and_ignores_brightness(pair):
    from scipy.ndimage import gaussian_filter

    truth, mask = pair[0], _disc(pair[0].shape[:2])
    assert gradient_similarity(truth, truth, mask) == pytest.approx(1.0)
    assert gradient_similarity(0.9 * truth + 0.0, 0.9 * truth + 0.05, mask) == pytest.approx(1.0, abs=1e-9)
    little, much = (gradient_similarity(gaussian_filter(truth, (s, s, 0)), truth, mask) for s in (0.6, 2.0))
    assert 1 > little > much + 0.01


def test_gradient_similarity_of_two_ramps_is_the_formula():
    x = np.arange(64)[None, :, None] / 64 * np.ones((64, 1, 3))
    a, b = 0.2 * x, 0.6 * x
    c, expected = 170 / 255**2, []
    for step in (1, 2, 4, 8):  # a ramp's steps double with every scale; Prewitt over 3 gives two of them
        ga, gb = 2 * 0.2 * step / 64, 2 * 0.6 * step / 64
        expected.append((2 * ga * gb + c) / (ga**2 + gb**2 + c))
    mask = np.zeros((64, 64))
    mask[8:56, 8:56] = 1
    assert gradient_similarity(a, b, mask) == pytest.approx(np.mean(expected), abs=1e-9)


def test_identity_similarity_is_a_cosine():
    embedded = {0.0: np.array([1.0, 0.0]), 1.0: np.array([3.0, 3.0]), 2.0: None}
    picture = {value: np.full((2, 2, 3), value) for value in embedded}

    def embed(p):
        return embedded[float(p[0, 0, 0])]

    assert identity_similarity(embed, picture[0.0], picture[1.0]) == pytest.approx(np.sqrt(0.5))
    assert identity_similarity(embed, picture[0.0], picture[2.0]) is None


def test_a_mask_of_another_size_is_refused(pair):
    with pytest.raises(ValueError, match="does not belong"):
        psnr_db(*pair, np.ones((64, 64)))
