"""Head maps made of held-out people's portraits, by completion and refinement, against simpler ones."""

from __future__ import annotations

import torch
from torch import Tensor

from backend.fica.keep import with_seen
from backend.fica.losses import ssim
from backend.fica.maps import MASK, RGB, VERTEX, Frame, HeadMaps, unsigned
from backend.fica.recipes import Evidence
from backend.fica.training.held_out import Means, Tally, mean_maps, psnr
from backend.fica.training.people import People
from backend.fica.training.refinement import GREY, RefinementTask, over_grey
from backend.fica.training.samples import camera_tensor, dense_of, partial_of, portraits
from backend.fica.unwrap import unwrap
from backend.training.order import generator
from backend.training.task import Sample


@torch.no_grad()
def measure_maps(
    task: RefinementTask, people: list[People], evidence: Evidence, train: People, seed: int
) -> list[Means]:
    """Portraits of held-out people: the training people's mean head; what the portrait shows, filled with
    that mean, and faded into it; the completion alone, with what the portrait shows (what is refined), and
    refined.

    Mean L1 of texture (display sRGB) and distance of geometry over the atlas; PSNR and SSIM of the posed mesh
    in the portrait's own view, and PSNR in another of the same moment that nothing was told of.
    """
    average, tally = mean_maps(train), Tally()
    for split, one in enumerate(people):
        told = portraits(one, evidence.most_yaw_degrees)
        for number, (row, view) in enumerate(told):
            # Noise of its own for each: some draws end far from all others.
            batch = _rows(task.portrait_sample(one, row, view, generator(seed, number)))
            views = [other for at, other in told if at == row]
            aside = views[(views.index(view) + 1) % len(views)]
            partial = partial_of(batch["portrait"], dense_of(batch), train.frame, evidence)
            start, made = task.refined(batch)
            candidates = {
                "mean head": average,
                "portrait, filled with the mean": filled(batch, average, train.frame),
                "portrait, faded into the mean": with_seen(average, partial, batch["motion"], train.frame),
                "completed": task.completed(batch),
                "with what is seen": start,
                "refined": made,
            }
            person = (split, one.places[row].first_row)
            for name, maps in candidates.items():
                found = _against_truth(maps, one.maps(row), train.frame)
                found |= _against_pictures(task, maps, batch, one, row, aside)
                tally.add(name, person, found)
    return tally.means()


def filled(batch: Sample, average: HeadMaps, frame: Frame) -> HeadMaps:
    """Colours and vertices that the portrait shows, unwrapped, and ``average`` where it shows nothing."""
    partial = unwrap(batch["portrait"], dense_of(batch), frame)
    seen = partial[:, MASK] > 0
    texture = torch.where(seen, unsigned(partial[:, RGB]), average.texture)
    return HeadMaps(texture, torch.where(seen, frame.metres(partial[:, VERTEX]), average.geometry))


def _against_truth(maps: HeadMaps, truth: HeadMaps, frame: Frame) -> dict[str, float]:
    inside = frame.inside
    texture = ((maps.texture - truth.texture).abs() * inside).sum() / (3 * inside.sum())
    distance = ((maps.geometry - truth.geometry).norm(dim=1, keepdim=True) * inside).sum() / inside.sum()
    return {"texture_l1": float(texture), "geometry_mm": 1000 * float(distance)}


def _against_pictures(
    task: RefinementTask, maps: HeadMaps, batch: Sample, people: People, row: int, aside: int
) -> dict[str, float]:
    shown, wanted, head = _picture(task, maps, batch, batch["portrait"][0], batch["mask"][0])
    found = {"psnr_db": psnr(shown, wanted, head), "ssim": float(ssim(shown[None], wanted[None]))}
    picture, mask, camera = people.photograph(row, aside)
    other = {**batch, "camera": camera_tensor(camera)[None]}
    return {**found, "aside_psnr_db": psnr(*_picture(task, maps, other, picture, mask))}


def _picture(
    task: RefinementTask, maps: HeadMaps, batch: Sample, picture: Tensor, mask: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    shown = over_grey(task.drawn(maps, batch))[0].clamp(0, 1)
    return shown, picture * mask + GREY * (1 - mask), (mask > 0.5).float()


def _rows(sample: Sample) -> Sample:
    return {name: value[None] for name, value in sample.items()}
