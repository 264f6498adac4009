"""Where the published files lie: MARCUS' own (``ckpts/``, ``assets/topo/``) and LongCat-Image-Edit's.

The release's scripts name different LoRA files, so they are looked for, the reference script's first.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from backend.errors import BadWeights, Missing
from backend.weights.components import read_json

MARCUS, LONGCAT, TURBO, DINO = (
    "marcus",
    "longcat-image-edit",
    "longcat-image-edit-turbo",
    "dinov3-convnext-small",
)
CONVNEXT = "convnextv2-base"  # for training only
SUPER_RESOLUTION = "real-esrgan"
MODEL = "likeness-model.json"
PUBLISHED_CHART = 1024

_INPAINT = ("transformer_caption", "transformer")
_ALIGN = ("33000.safetensors", "27000_0120.safetensors", "18000.safetensors")


@dataclass(frozen=True)
class Release:
    """The folder of fetched weights (``likeness weights fetch marcus`` fills it)."""

    root: Path

    @property
    def marcus(self) -> Path:
        return self.root / MARCUS

    @property
    def topology(self) -> Path:
        return self.marcus / "assets" / "topo"

    @property
    def head_model(self) -> Path:
        return self.topology / "hifi3dpp_model_info.mat"

    @property
    def landmark_template(self) -> Path:
        return self.topology / "similarity_Lm3D_all.mat"

    @property
    def dino(self) -> Path:
        return self.root / DINO

    def base(self, turbo: bool = False) -> Path:
        """LongCat-Image-Edit, or where it is wanted and there, its distilled variant."""
        distilled = self.root / TURBO
        return distilled if turbo and (distilled / "transformer").is_dir() else self.root / LONGCAT

    def chart(self) -> int:
        """Side of the charts that the adapters were trained for, texels. Raises: BadWeights.

        The published ones know 1024. Adapters that were trained otherwise say so in ``likeness-model.json``.
        """
        path = self.marcus / MODEL
        size = read_json(path).get("chart", PUBLISHED_CHART) if path.is_file() else PUBLISHED_CHART
        if not isinstance(size, int) or size < 16 or size % 16:
            raise BadWeights(f"'{path}' names a chart of {size} texels; it must be a multiple of 16")
        return size

    def inpaint(self) -> Path:
        """The adapter of the inpainting stage. Raises: Missing."""
        return self._first([self._ckpts / "lora_inpainting" / name for name in _INPAINT], "inpainting LoRA")

    def homogenise(self) -> Path:
        """The adapter of the light-homogenising stage. Raises: Missing."""
        return self._first([self._ckpts / "lora_delight" / "transformer"], "delighting LoRA")

    def materials(self) -> Path:
        """The three-branch LoRA file of the joint stage. Raises: Missing."""
        folder = self._ckpts / "lora_align"
        others = sorted(folder.glob("*.safetensors"), reverse=True)
        return self._first([*(folder / name for name in _ALIGN), *others], "three-branch material LoRA")

    def resnet(self) -> Path:
        """The ResNet's checkpoint: one trained here (`likeness train`) before the published one."""
        return self._regressor("deep3d_model")

    def mssf(self) -> Path:
        """The MSSF encoder's checkpoint, chosen likewise."""
        return self._regressor("deep3d_merge_model")

    def _regressor(self, folder: str) -> Path:
        own = self._ckpts / folder / "net_recon.safetensors"
        return own if own.is_file() else self._ckpts / folder / "epoch_latest.pth"

    def super_resolution(self) -> Path | None:
        """A Real-ESRGAN checkpoint, None where none was fetched."""
        for name in ("realesrgan_x4.safetensors", "RealESRGAN_x4plus.pth", "realesr-general-x4v3.pth"):
            for folder in (self.root / SUPER_RESOLUTION, self._ckpts / "sr_model"):
                if (folder / name).is_file():
                    return folder / name
        return None

    @property
    def _ckpts(self) -> Path:
        return self.marcus / "ckpts"

    def _first(self, candidates: list[Path], what: str) -> Path:
        for path in candidates:
            if path.exists():
                return path
        raise Missing(
            f"the {what} of MARCUS is not in '{self.marcus}'; run `likeness weights fetch marcus`, or give a "
            "folder that has it with `likeness weights fetch marcus --from DIR`"
        )


def require(release: Release) -> None:
    """Raises: Missing, naming the first part of the engine's weights that is not there."""
    for folder in ("transformer", "vae", "text_encoder", "tokenizer", "text_processor", "scheduler"):
        if not (release.base() / folder).is_dir():
            raise Missing(
                f"the marcus engine has no '{release.base() / folder}'; run `likeness weights fetch marcus` "
                "(`likeness weights list` shows sizes and licences)"
            )
    release.inpaint(), release.homogenise(), release.materials()
    for path in (release.head_model, release.landmark_template):
        if not path.is_file():
            raise Missing(f"the marcus engine has no '{path}'; run `likeness weights fetch marcus`")
    if not release.mssf().is_file() and not release.resnet().is_file():
        raise Missing(f"the marcus engine has no '{release.resnet()}'; run `likeness weights fetch marcus`")


def identity(*paths: Path) -> str:
    """Eight letters that change with the names, sizes and dates of the files under ``paths``."""
    digest = hashlib.blake2b(digest_size=4)
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                stat = file.stat()
                digest.update(f"{file.relative_to(path.parent)} {stat.st_size} {stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()
