"""Splat figures over pictures handed in, and the plain word that no engine makes splats."""

import numpy as np
import pytest

from backend.evaluation.splat_metrics import GROUPS, Frame, compare_frames, frames_per_second


def test_face_and_head_are_told_apart_and_frames_averaged():
    truth = np.full((40, 40, 3), 0.5)
    head = np.zeros((40, 40))
    head[5:35, 5:35] = 1
    face = np.zeros((40, 40))
    face[10:30, 10:30] = 1
    near, far = truth + 0.01, truth + 0.1
    hair_off = (
        np.where((head > 0) & (face == 0), 0.6, 0.5)[..., None] * np.ones(3)
        + np.where(face > 0, 0.01, 0)[..., None]
    )
    found = compare_frames([Frame(near, truth, face, head), Frame(far, truth, face, head)])
    assert found["splat_face_psnr_db"] == pytest.approx(30.0)  # the mean of 40 and 20 dB, frame by frame
    assert found["splat_head_psnr_db"] == pytest.approx(30.0)
    found = compare_frames([Frame(hair_off, truth, face, head)])
    assert found["splat_face_psnr_db"] == pytest.approx(40.0)
    assert found["splat_head_psnr_db"] == pytest.approx(-10 * np.log10((400 * 0.01**2 + 500 * 0.1**2) / 900))
    assert found["splat_head_ssim"] < found["splat_face_ssim"] < 1


def test_frames_without_a_face_do_not_count():
    truth = np.full((20, 20, 3), 0.5)
    empty, full = np.zeros((20, 20)), np.ones((20, 20))
    found = compare_frames([Frame(truth + 0.1, truth, empty, full), Frame(truth + 0.01, truth, full, full)])
    assert found["splat_face_psnr_db"] == pytest.approx(40.0)
    assert set(compare_frames([]).values()) == {None}


def test_frames_per_second_is_the_medians_inverse_after_warming_up():
    now, drawn = [0.0], []

    def draw(index):
        drawn.append(index)
        now[0] += 5.0 if len(drawn) <= 2 else (0.02 if index != 4 else 1.0)

    assert frames_per_second(draw, 7, warm_up=2, clock=lambda: now[0]) == pytest.approx(50)
    assert drawn == [0, 1, *range(7)]
    with pytest.raises(ValueError, match="at least one"):
        frames_per_second(draw, 0)


def test_without_an_engine_the_figures_are_left_out_by_name():
    (group,) = GROUPS
    assert group.measure is None
    assert group.lacks == ("views in the photo's light",)
    assert set(compare_frames([])) | {"splat_frames_per_second"} == set(group.metrics)
