"""The texture's metrics as groups: albedo from the truth's cameras, evenness, seams, occluders."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import BadInput
from backend.evaluation.cases import Case, TruthView
from backend.evaluation.image_metrics import gradient_similarity, psnr_db, ssim
from backend.evaluation.lpips_network import Lpips, find_published, load_lpips
from backend.evaluation.own_view import OwnView, draw, read_map
from backend.evaluation.prediction import Prediction
from backend.evaluation.registration import PHOTO, own_camera
from backend.evaluation.registry import MetricGroup, MetricInfo, Values
from backend.evaluation.side_by_side import save_pair
from backend.evaluation.texture_metrics import (
    BELIEVED,
    albedo_error,
    bs_error,
    occluder_leak,
    seam_jump,
    to_srgb,
)
from backend.evaluation.truth_masks import both, buffer, covered_percent, face_of, skin_of

_TURNED = ("left45", "right45")


def measure_albedo(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """Albedo on the visible facial skin, from the photo's camera."""
    truth, own = seen(case, prediction, PHOTO)
    colours = np.asarray(buffer(truth, "albedo_linear", "albedo"), np.float32)
    skin = skin_of(truth)
    mask = both(skin, own.covered)
    values = _albedo_values("albedo", own, colours, mask)
    values["albedo_covered_percent"] = covered_percent(skin, own.covered)
    save_pair(pictures / "albedo.png", to_srgb(colours), to_srgb(own.albedo_linear), mask)
    return values


def measure_turned_albedo(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """The same from ±45°, mean of the two: also what the photo did not show."""
    found: list[dict[str, float | None]] = []
    for name in _TURNED:
        truth, own = seen(case, prediction, name)
        colours = np.asarray(buffer(truth, "albedo_linear", "albedo"), np.float32)
        mask = both(skin_of(truth), own.covered)
        found.append(_albedo_values("albedo_turned", own, colours, mask))
        save_pair(pictures / f"albedo_{name}.png", to_srgb(colours), to_srgb(own.albedo_linear), mask)
    return {name: _mean([values[name] for values in found]) for name in found[0]}


def measure_lpips(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """LPIPS of the albedo from the photo's camera. Raises: BadInput where its files are not the published."""
    truth, own = seen(case, prediction, PHOTO)
    colours = np.asarray(buffer(truth, "albedo_linear", "LPIPS"), np.float32)
    mask = both(skin_of(truth), own.covered)
    return {"albedo_lpips": _lpips().distance(to_srgb(own.albedo_linear), to_srgb(colours), mask)}


@cache
def _lpips() -> Lpips:
    files = find_published()
    if files is None:
        raise BadInput("LPIPS' published files have gone; start the evaluation again")
    return load_lpips(*files)


def measure_texture(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """What a texture says of itself: evenness of light, and seams."""
    albedo = to_srgb(read_map(prediction.avatar, "albedo"))
    seams = seam_jump(albedo, prediction.head)
    return {
        "bs_error": bs_error(albedo, prediction.head),
        "seam_jump": seams.across if seams else None,
        "seam_ratio": seams.ratio if seams else None,
    }


def measure_occluders(case: Case, prediction: Prediction, pictures: Path) -> Values:
    """Occluders that reached the texture, as shares of the texture and of the occluders' pixels."""
    truth, own = seen(case, prediction, PHOTO)
    occluder = np.asarray(buffer(truth, "occluder_mask", "occluder leak")) > 0
    camera = own_camera(case, prediction, PHOTO, truth.camera)
    leak = occluder_leak(
        prediction.head,
        prediction.avatar.mesh.expressed(),
        read_map(prediction.avatar, "visibility"),
        camera,
        occluder,
    )
    hidden = both(occluder, own.covered)
    return {
        "occluder_in_texture_percent": None if leak.of_texture is None else 100 * leak.of_texture,
        "occluder_leak_percent": 100 * float((own.believed[hidden] > BELIEVED).mean())
        if hidden.any()
        else None,
    }


def seen(case: Case, prediction: Prediction, view: str) -> tuple[TruthView, OwnView]:
    """The truth's view and the reconstruction's maps in the same picture. Raises: BadInput, ValueError."""
    truth = case.view(view)
    face_of(truth)  # a view without its mask is told before anything is drawn
    return truth, draw(prediction, own_camera(case, prediction, view, truth.camera))


def _albedo_values(
    prefix: str, own: OwnView, colours: NDArray[Any], mask: NDArray[np.bool_]
) -> dict[str, float | None]:
    error = albedo_error(own.albedo_linear, colours, mask)
    a, b = to_srgb(own.albedo_linear), to_srgb(colours)
    return {
        f"{prefix}_rmse": error.absolute if error else None,
        f"{prefix}_rmse_one_scale": error.one_scale if error else None,
        f"{prefix}_rmse_channel_scale": error.channel_scale if error else None,
        f"{prefix}_psnr_db": psnr_db(a, b, mask),
        f"{prefix}_ssim": ssim(a, b, mask),
        f"{prefix}_ms_gms": gradient_similarity(a, b, mask),
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _albedo_infos(prefix: str, words: str) -> dict[str, MetricInfo]:
    return {
        f"{prefix}_rmse": MetricInfo(f"Albedo error{words}", "linear", "lower", 4),
        f"{prefix}_rmse_one_scale": MetricInfo(f"Albedo error{words}, one scale", "linear", "lower", 4),
        f"{prefix}_rmse_channel_scale": MetricInfo(
            f"Albedo error{words}, scale per channel", "linear", "lower", 4
        ),
        f"{prefix}_psnr_db": MetricInfo(f"Albedo PSNR{words}", "dB", "higher"),
        f"{prefix}_ssim": MetricInfo(f"Albedo SSIM{words}", "", "higher", 3),
        f"{prefix}_ms_gms": MetricInfo(f"Albedo gradient similarity{words}", "", "higher", 3),
    }


GROUPS = (
    MetricGroup(
        name="albedo",
        metrics=_albedo_infos("albedo", "")
        | {"albedo_covered_percent": MetricInfo("Face covered", "%", "higher", 1)},
        measure=measure_albedo,
        needs=("view photo",),
    ),
    MetricGroup(
        name="albedo-turned",
        metrics=_albedo_infos("albedo_turned", ", ±45°"),
        measure=measure_turned_albedo,
        needs=("view left45", "view right45", "landmarks"),
    ),
    MetricGroup(
        name="lpips",
        metrics={"albedo_lpips": MetricInfo("Albedo LPIPS", "", "lower", 3)},
        measure=measure_lpips,
        needs=("view photo",),
        lacks=() if find_published() else ("published LPIPS network",),
    ),
    MetricGroup(
        name="texture",
        metrics={
            "bs_error": MetricInfo("BS error", "of 255", "lower"),
            "seam_jump": MetricInfo("Jump at seams", "of 255", "lower"),
            "seam_ratio": MetricInfo("Jump at seams over neighbours'", "", "lower"),
        },
        measure=measure_texture,
    ),
    MetricGroup(
        name="occluders",
        metrics={
            "occluder_in_texture_percent": MetricInfo("Believed texels that show an occluder", "%", "lower"),
            "occluder_leak_percent": MetricInfo("Occluder pixels that were believed", "%", "lower", 1),
        },
        measure=measure_occluders,
        needs=("view photo",),
    ),
)
