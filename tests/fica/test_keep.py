"""What the portrait shows, laid back onto completed maps."""

from __future__ import annotations

import pytest
import torch

from backend.fica.atlas import Atlas
from backend.fica.keep import carried_on, inner_parts_along, with_seen
from backend.fica.maps import MASK, NORMAL, PARTIAL_CHANNELS, RGB, VERTEX, Frame, HeadMaps, frame_of, signed


@pytest.fixture(scope="module")
def frame(atlas: Atlas) -> Frame:
    return frame_of(atlas)


@pytest.fixture(scope="module")
def seen(frame: Frame) -> torch.Tensor:
    """The left half of the atlas."""
    mask = frame.inside.clone()
    mask[..., frame.size // 2 :] = 0
    return mask


def test_what_is_seen_is_kept_and_what_is_made_is_as_it_was_far_off(frame: Frame, seen: torch.Tensor) -> None:
    made = HeadMaps(0.3 * frame.inside.expand(1, 3, -1, -1), frame.mean + 0.004 * frame.inside)
    motion = 0.002 * frame.inside.expand(1, 3, -1, -1)
    colour = torch.rand(1, 3, frame.size, frame.size, generator=torch.Generator().manual_seed(0))
    place = frame.mean + 0.010 * frame.inside
    partial = torch.zeros(1, PARTIAL_CHANNELS, frame.size, frame.size)
    partial[:, RGB], partial[:, MASK] = signed(colour) * seen, seen
    partial[:, NORMAL], partial[:, VERTEX] = seen, frame.coded(place) * seen
    kept = with_seen(made, partial, motion, frame)
    shown = (seen > 0).expand_as(colour)
    torch.testing.assert_close(kept.texture[shown], colour[shown], atol=1e-5, rtol=0)
    torch.testing.assert_close(kept.geometry[shown], (place - motion)[shown], atol=1e-6, rtol=0)
    untouched = (kept.texture - made.texture).abs() * (frame.inside - seen)
    near, far = (untouched[0, 0, :, c] for c in (frame.size // 2, -1))
    assert float(far.max()) < 0.2 * float(near.max())
    assert float((kept.texture * (1 - frame.inside)).abs().max()) == 0

    partial[:, NORMAL] = partial[:, VERTEX] = 0  # an ablation without them
    torch.testing.assert_close(with_seen(made, partial, motion, frame).geometry, made.geometry)


def test_a_difference_stays_on_its_part_and_fades(frame: Frame, seen: torch.Tensor) -> None:
    """One value where a texel is seen comes on with less of it the farther off, never with more."""
    values = carried_on(0.5 * torch.ones(1, 1, frame.size, frame.size), seen, frame)
    assert float(values.max()) <= 0.5 + 1e-6
    assert float(values.min()) >= 0
    skin = frame.part == 0
    row = values[0, 0, frame.size // 4]
    edge = frame.size // 2
    assert bool(skin[frame.size // 4, edge - 1 : edge + 16].all())
    steps = row[edge - 1 : edge + 16 : 4]
    assert bool((steps[1:] < steps[:-1]).all())
    nowhere = carried_on(torch.ones(1, 1, frame.size, frame.size), seen * (frame.part == 0), frame)
    assert float((nowhere * (frame.part != 0)).abs().max()) == 0


def test_unseen_inner_parts_go_with_the_skin_about_them(frame: Frame) -> None:
    """Skin seen and moved as a whole: teeth and eyes move as far; what is seen of them stays where it is."""
    moved = torch.tensor([0.0, 0.004, -0.003]).reshape(1, 3, 1, 1) * frame.inside
    skin = (frame.part == 0).to(moved)[None, None]
    found = inner_parts_along(moved * skin, skin, frame)
    torch.testing.assert_close(found, moved, atol=1e-6, rtol=0)
    everywhere = inner_parts_along(moved * skin, frame.inside, frame)
    torch.testing.assert_close(everywhere, moved * skin)
    nowhere = inner_parts_along(0 * moved, 0 * skin, frame)
    assert float(nowhere.abs().max()) == 0
