"""The silhouette: a mask rendered by the rasteriser, heads moved under it, and hair about it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from synthetic_head import camera_at, observe, synthetic_head

from backend.geometry.silhouette import silhouette_of
from backend.geometry.state import FitState, rotation_exp
from backend.uvspace.rasterise import rasterise_camera

SCALE = 150.0  # px, about the eye distance in these pictures


@pytest.fixture(scope="module")
def head():
    return synthetic_head()


def state_of(camera, head):
    rt = camera.world_to_camera
    counts = len(head.identity_basis), len(head.expression_basis)
    return FitState(
        rt[:, :3], rt[:, 3], np.log(camera.focal_px), np.zeros(counts[0]), np.zeros(counts[1]), np.zeros(3)
    )


def scene(head, grown=0.0, bare=True):
    """A state and its observation; the person mask is the head's, ``grown`` metres larger if asked."""
    camera = camera_at(yaw=0.3, distance=0.8, focal=1000.0)
    vertices = head.mean_vertices * (1 + grown / 0.09)
    mask = (rasterise_camera(vertices, head.triangles, camera).triangle >= 0).astype(np.float32)
    seen = observe(head, head.mean_vertices, camera, skin=mask)
    seen = replace(seen, person_mask=mask, skin_mask=mask if bare else np.zeros_like(mask))
    return state_of(camera, head), seen


def shifted(state, metres):
    return replace(state, translation=state.translation + np.array([metres, 0, 0]))


def test_the_true_head_fits_its_own_outline_to_a_fraction_of_the_grid(head):
    state, seen = scene(head)
    silhouette = silhouette_of(seen, head)
    assert silhouette is not None
    term = silhouette.term(state, SCALE, 1.0)  # sigma = 150 px: whitened residuals are px / 150
    assert term is not None
    assert len(term.observed_px) > 40
    rms_px = SCALE * np.sqrt(2 * term.cost(state) / len(term.observed_px))
    assert rms_px < 2.0  # the window's grid is 3 photo pixels
    off = SCALE * np.sqrt(2 * term.cost(shifted(state, 0.01)) / len(term.observed_px))
    assert off > 5.0  # 1 cm is 12 px


def test_a_shifted_head_is_drawn_back(head):
    state, seen = scene(head)
    silhouette = silhouette_of(seen, head)
    wrong = replace(shifted(state, 0.006), rotation=rotation_exp(np.array([0, 0, 0.02])) @ state.rotation)
    x = wrong
    for _ in range(6):
        term = silhouette.term(x, SCALE, 0.02)
        model = term.model(x)
        step = np.zeros(x.size)
        step[3:5] = -np.linalg.solve(model.hessian[3:5, 3:5], model.gradient[3:5])
        x = x.moved(step)
    assert np.abs(x.translation - state.translation)[:2].max() < 0.0015


def test_hair_pushes_nothing_outwards_but_no_head_sticks_out_of_it(head):
    state, seen = scene(head, grown=0.015, bare=False)
    silhouette = silhouette_of(seen, head)
    assert silhouette.term(state, SCALE, 0.02) is None  # inside hair all around: no evidence
    outside = silhouette.term(shifted(state, 0.05), SCALE, 0.02)
    assert outside is not None
    assert outside.model(shifted(state, 0.05)).gradient[3] > 0  # going back lowers the cost
    bare_state, bare = scene(head, grown=0.015, bare=True)
    drawn = silhouette_of(bare, head).term(bare_state, SCALE, 0.02)
    assert len(drawn.observed_px) > 40  # bare skin out there is the head's own


def test_a_mask_without_an_edge_says_nothing(head):
    _, seen = scene(head)
    assert silhouette_of(replace(seen, person_mask=np.ones_like(seen.person_mask)), head) is None
    assert silhouette_of(replace(seen, person_mask=np.zeros_like(seen.person_mask)), head) is None
