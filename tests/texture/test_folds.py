"""Dark red lines of folds go, what is no line or no skin stays."""

from __future__ import annotations

import numpy as np

from backend.colour import LUMINANCE_REC709
from backend.texture.folds import folds

SIDE, TEXEL_M = 160, 0.0006
ROWS, COLUMNS = np.mgrid[:SIDE, :SIDE].astype(np.float32)
INSIDE, NOWHERE = np.ones((SIDE, SIDE), np.float32), np.zeros((SIDE, SIDE), np.float32)


def _line(log, wide_m=0.0012):
    """A line down the middle, a little aslant."""
    away = np.abs(COLUMNS - 70 - 0.2 * ROWS) * TEXEL_M
    return np.exp(-0.5 * (away / wide_m) ** 2)[..., None] * np.asarray(log, np.float32)


def _depth(residual):
    """Log brightness and log red over blue of the line's middle against the skin well beside it."""
    row = residual[80]
    off = row[86] - 0.5 * (row[50] + row[122])
    return float(off @ LUMINANCE_REC709), float(off[0] - off[2])


def test_a_fold_becomes_as_light_and_pale_as_skin_lines_are():
    fold = _line((-0.5, -0.9, -1.2))
    left = fold - folds(fold, INSIDE, TEXEL_M, NOWHERE)
    (before, red_before), (after, red_after) = _depth(fold), _depth(left)
    assert abs(after) < 0.5 * abs(before)
    assert red_after < 0.5 * red_before
    beside = np.abs(COLUMNS - 70 - 0.2 * ROWS) * TEXEL_M > 0.012
    assert np.abs(left - fold)[beside].max() < 0.02


def test_faint_lines_moles_and_features_stay():
    faint = _line((-0.05, -0.05, -0.06))
    assert np.abs(folds(faint, INSIDE, TEXEL_M, NOWHERE)).max() < 0.01
    mole = np.exp(-0.5 * ((ROWS - 80) ** 2 + (COLUMNS - 80) ** 2) * (TEXEL_M / 0.0015) ** 2)[..., None]
    mole = mole * np.array([-0.7, -0.9, -1.0], np.float32)
    assert np.abs(folds(mole, INSIDE, TEXEL_M, NOWHERE))[80, 80].max() < 0.1
    lip = _line((-0.5, -0.9, -1.2))
    assert np.array_equal(folds(lip, INSIDE, TEXEL_M, INSIDE), np.zeros_like(lip))


def test_a_bright_line_keeps_its_brightness():
    scar = _line((0.4, 0.4, 0.4))
    assert np.abs(folds(scar, INSIDE, TEXEL_M, NOWHERE)).max() < 0.02
