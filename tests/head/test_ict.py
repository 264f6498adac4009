"""ICT-FaceKit's loader, on the published data and on broken copies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.errors import BadInput, Missing
from backend.head.arkit import ARKIT_NAMES
from backend.head.ict import load_ict, merge_expressions
from backend.head.registry import load_head


def test_expressions_are_arkit_and_halves_are_summed(shared_data: Path):
    head = load_ict(shared_data / "ict-facekit")
    assert set(ARKIT_NAMES) - set(head.expression_names) == {"tongueOut"}
    with np.load(shared_data / "ict-facekit" / "ict_facekit.npz") as raw:
        names = list(raw["expression_names"])
        offsets = raw["expression_offsets"]
        both = offsets[names.index("browInnerUp_L")] + offsets[names.index("browInnerUp_R")]
        np.testing.assert_allclose(
            head.expression_basis[head.expression_names.index("browInnerUp")], both * 0.01, atol=1e-7
        )
        np.testing.assert_allclose(head.mean_vertices, raw["vertices"] * 0.01, atol=1e-7)


def test_left_is_the_subjects_left(shared_data: Path):
    head = load_ict(shared_data / "ict-facekit")
    blink = head.expression_basis[head.expression_names.index("eyeBlinkLeft")]
    assert head.mean_vertices[np.linalg.norm(blink, axis=1).argmax(), 0] > 0.02
    assert head.eye_centres[0, 0] > 0.02 > -0.02 > head.eye_centres[1, 0]


def test_skin_chart_lies_in_the_unit_square(shared_data: Path):
    head = load_ict(shared_data / "ict-facekit")
    rows = head.quad_uvs[head.quad_part == 0]
    uv = head.uvs[rows[rows >= 0]]
    assert head.part_names[0] == "skin"
    assert uv.min() >= 0
    assert uv.max() <= 1
    assert uv[:, 0].max() > 0.9 > 0.1 > uv[:, 0].min()


def test_landmarks_are_carried_over_from_the_open_head(shared_data: Path):
    head, source = load_head(f"ict:{shared_data / 'ict-facekit'}"), load_head("open")
    here = head.mediapipe.positions(head.mean_vertices, head.triangles)
    there = source.mediapipe.positions(source.mean_vertices, source.triangles)
    trusted = source.mediapipe.trust > 0.3
    assert np.linalg.norm(here - there, axis=1)[trusted].max() < 0.0015


def test_names_that_are_not_icts_are_refused():
    with pytest.raises(BadInput, match="wiggleEars"):
        merge_expressions(["wiggleEars_L"], np.zeros((1, 4, 3), np.float32))


def test_missing_and_broken_files(tmp_path: Path):
    with pytest.raises(Missing, match="ICT-FaceKit"):
        load_ict(tmp_path / "nothing")
    file = tmp_path / "x.npz"
    np.savez(file, vertices=np.zeros((3, 3)))
    with pytest.raises(BadInput, match="uvs"):
        load_ict(file)
    file.write_bytes(b"PK not really a zip")
    with pytest.raises(BadInput):
        load_ict(file)
    arrays = {k: np.zeros((2, 2)) for k in ("uvs", "faces", "face_uvs", "identity_offsets", "vertices")}
    np.savez(file, **arrays, expression_offsets=np.zeros((1, 2, 3)), expression_names=np.array(["jawOpen"]))
    with pytest.raises(BadInput, match="shape"):
        load_ict(file)
