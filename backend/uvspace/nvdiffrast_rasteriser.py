"""The rasteriser for CUDA machines, on nvdiffrast (Laine et al. 2020); an optional library."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.errors import Missing
from backend.uvspace.buffers import RasterBuffers

# nvdiffrast's CUDA rasteriser takes at most 2048 pixels a side and multiples of 8.
TILE_PX = 2048


class NvdiffrastRasteriser:
    """nvdiffrast's CUDA rasteriser behind the same interface.

    It snaps and breaks ties in its own way: ids differ from the CPU's on pixels whose centre lies on an
    edge within its subpixel grid, and depth is rounded to its own buffer.
    Raises: Missing when nvdiffrast or a CUDA device is absent.
    """

    name = "nvdiffrast"

    def __init__(self, device: str = "cuda") -> None:
        try:
            import torch
        except ImportError as error:
            raise Missing("the nvdiffrast rasteriser needs PyTorch: install the extra `gpu`") from error
        try:
            import nvdiffrast.torch as library
        except ImportError as error:
            raise Missing(
                "nvdiffrast is not installed: install it from its source on this machine, "
                "or use the numba rasteriser"
            ) from error
        if not torch.cuda.is_available():
            raise Missing("nvdiffrast needs a CUDA device and none is visible: use the numba rasteriser")
        self._device = torch.device(device)
        self._library: Any = library
        self._context: Any = library.RasterizeCudaContext(device=self._device)

    def rasterise(
        self,
        vertices_px: NDArray[np.floating[Any]],
        triangles: NDArray[np.int32],
        width: int,
        height: int,
        near: float = 1e-6,
    ) -> RasterBuffers:
        """See ``Rasteriser.rasterise``; frames above 2048 pixels a side are drawn in tiles."""
        vertices = np.asarray(vertices_px, np.float64)
        drawable = np.isfinite(vertices).all(1) & (vertices[:, 2] > near)
        kept = np.flatnonzero(drawable[triangles].all(1))
        triangle = np.full((height, width), -1, np.int32)
        barycentric = np.zeros((height, width, 3), np.float32)
        depth = np.full((height, width), np.inf, np.float32)
        if len(kept) == 0:
            return RasterBuffers(triangle, barycentric, depth)
        for y in range(0, height, TILE_PX):
            for x in range(0, width, TILE_PX):
                part = np.s_[y : min(y + TILE_PX, height), x : min(x + TILE_PX, width)]
                shape = triangle[part].shape
                ids, weights, z = self._tile(vertices, triangles[kept], x, y, shape[1], shape[0])
                hit = ids >= 0
                triangle[part] = np.where(hit, kept[np.maximum(ids, 0)], -1)
                barycentric[part] = np.where(hit[..., None], weights, 0)
                depth[part] = np.where(hit, z, np.inf)
        return RasterBuffers(triangle, barycentric, depth)

    def _tile(
        self,
        vertices: NDArray[np.float64],
        triangles: NDArray[np.int32],
        x: int,
        y: int,
        width: int,
        height: int,
    ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
        import torch

        full_width, full_height = -(-width // 8) * 8, -(-height // 8) * 8
        z = np.where(vertices[:, 2] > 0, vertices[:, 2], 1.0)
        near, far = 0.99 * z.min(), 1.01 * z.max() + 1e-9
        # Clip space with w = z. Row 0 of nvdiffrast's image lies at NDC y = −1: our top row.
        clip = np.stack(
            [
                ((vertices[:, 0] - x) / full_width * 2 - 1) * z,
                ((vertices[:, 1] - y) / full_height * 2 - 1) * z,
                (far + near) / (far - near) * z - 2 * far * near / (far - near),
                z,
            ],
            axis=1,
        )
        position = torch.as_tensor(np.nan_to_num(clip), dtype=torch.float32, device=self._device)[None]
        faces = torch.as_tensor(np.ascontiguousarray(triangles), dtype=torch.int32, device=self._device)
        raster, _ = self._library.rasterize(
            self._context, position.contiguous(), faces, (full_height, full_width), grad_db=False
        )
        buffer = raster[0, :height, :width].cpu().numpy()
        ids = buffer[..., 3].astype(np.int32) - 1
        weights = np.stack([buffer[..., 0], buffer[..., 1], 1 - buffer[..., 0] - buffer[..., 1]], -1)
        corners = triangles[np.maximum(ids, 0)]
        depth = np.einsum("hwk,hwk->hw", weights, z[corners])
        return ids, weights.astype(np.float32), depth.astype(np.float32)
