"""The renderer for CUDA machines, on gsplat (Ye et al. 2024); an optional library."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backend.artifacts import Camera
from backend.errors import Missing
from backend.gaussians.footprint_limits import LOW_PASS_PX2, NEAREST_M
from backend.gaussians.renderer import Gaussians


class GsplatRenderer:
    """gsplat's antialiased rasterisation behind the same interface; tensors must lie on the CUDA device.

    Raises: Missing when gsplat or a CUDA device is absent.
    """

    name = "gsplat"

    def __init__(self) -> None:
        try:
            import gsplat  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise Missing("gsplat is not installed: install the extra `gpu`") from error
        if not torch.cuda.is_available():
            raise Missing("gsplat needs a CUDA device and none is visible: use the numba renderer")
        self._library: Any = gsplat

    def render(self, gaussians: Gaussians, camera: Camera) -> Tensor:
        """See ``Renderer.render``."""
        device = gaussians.positions.device
        pose = torch.eye(4, device=device)
        pose[:3] = torch.as_tensor(camera.world_to_camera, dtype=torch.float32)
        (cx, cy), f = camera.principal_px, camera.focal_px
        lens = torch.tensor([[f, 0.0, cx], [0.0, f, cy], [0.0, 0.0, 1.0]], device=device)
        colours, coverage, _ = self._library.rasterization(
            means=gaussians.positions,
            quats=gaussians.rotations,
            scales=torch.exp(gaussians.log_scales),
            opacities=torch.sigmoid(gaussians.opacity_logits),
            colors=gaussians.colours_srgb,
            viewmats=pose[None],
            Ks=lens[None],
            width=camera.width_px,
            height=camera.height_px,
            near_plane=NEAREST_M,
            eps2d=LOW_PASS_PX2,
            rasterize_mode="antialiased",
            packed=False,
        )
        return torch.cat([colours[0], coverage[0]], -1)
