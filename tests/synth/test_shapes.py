"""Shapes that go with sex and age."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from eyelids import cut_m

from backend.fica.training.people import expression_of
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from backend.marcus.training.portraits import true_vertices
from synthdata.cycles.telling import write_sitter
from synthdata.run.people import make_person, person_skin
from synthdata.run.shapes import FARTHEST, draw_shape

PEOPLE = 400


@pytest.fixture(scope="module")
def head() -> ParametricHead:
    return load_head("open")


def _many(head: ParametricHead, age: float, is_male: bool) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.stack([draw_shape(rng, head, age, is_male) for _ in range(PEOPLE)])


def _widths(head: ParametricHead, people: np.ndarray) -> np.ndarray:
    """Of the jaw, between Face Mesh's points below the mouth's corners, metres."""
    vertices = head.shape(people.mean(0).astype(np.float32))
    mark = head.mediapipe.positions(vertices, head.triangles)
    return np.array([np.linalg.norm(mark[172] - mark[397]), np.linalg.norm(mark[152] - mark[2])])


def test_men_have_wider_and_longer_jaws_and_nobody_is_beyond_the_modes(head: ParametricHead) -> None:
    women, men = _many(head, 30.0, False), _many(head, 30.0, True)
    assert np.abs([women, men]).max() <= FARTHEST
    assert (_widths(head, men) > _widths(head, women) + 0.001).all()
    # The spread of people of one sex stays that of people.
    assert 0.5 < women.std(0).mean() < 0.85


def test_age_moves_the_mean_and_sex_overlaps(head: ParametricHead) -> None:
    young, old = _many(head, 20.0, True), _many(head, 80.0, True)
    assert np.linalg.norm(old.mean(0) - young.mean(0)) > 1.5
    women = _many(head, 20.0, False)
    way = young.mean(0) - women.mean(0)
    middle = 0.5 * (young.mean(0) + women.mean(0)) @ way
    assert 0 < (young @ way < middle).mean() < 0.2
    assert 0 < (women @ way > middle).mean() < 0.2


def test_a_head_whose_directions_are_not_known_is_drawn_whole(head: ParametricHead) -> None:
    other = replace(head, identity_basis=head.identity_basis[:-1])
    woman, man = (draw_shape(np.random.default_rng(1), other, 30.0, sex) for sex in (False, True))
    np.testing.assert_array_equal(woman, man)
    pair = [draw_shape(np.random.default_rng(1), head, 30.0, sex) for sex in (False, True)]
    assert not np.array_equal(*pair)


@pytest.mark.parametrize("identity", [3])
def test_the_white_of_the_eye_does_not_cut_their_open_lids(
    head: ParametricHead, identity: int, tmp_path: Path
) -> None:
    person = make_person(head, identity, 0, 64, person_skin(0, identity), expression={})
    raw = head.shape(np.array(person.meta.identity_coefficients))
    assert max(cut_m(head, raw, side) for side in ("left", "right")) > 0.0003  # or this could not fail
    write_sitter(tmp_path / "sitter.npz", head, person)
    with np.load(tmp_path / "sitter.npz") as written:
        for vertices in (person.vertices_head, written["neutral"]):
            assert max(cut_m(head, vertices, side) for side in ("left", "right")) < 1e-6
    near = np.linalg.norm(raw[:, None] - head.eye_centres[None], axis=2).min(1) < 0.035
    np.testing.assert_allclose(person.vertices_head[~near], raw[~near], atol=1e-7)


def test_trainers_take_people_to_be_where_their_pictures_show_them(head: ParametricHead) -> None:
    person = make_person(head, 3, 0, 64, person_skin(0, 3), expression={"jawOpen": 0.4, "eyeLookUpLeft": 0.5})
    shown = person.vertices_head
    np.testing.assert_allclose(true_vertices(head, person.meta), shown, atol=1e-6)
    modelled = head.shape(
        np.array(person.meta.identity_coefficients), expression_of(head, person.meta.expression)
    )
    assert np.abs(modelled - shown).max() > 3e-4  # or this could not fail
