"""Differentiable drawing of a mesh with vertex colours: nvdiffrast on CUDA, a plain twin on a processor.

What owns a pixel is not differentiated: gradients are those inside the outline, through the place in the
triangle and through the colours. Nothing is blended along edges.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from backend.errors import Missing

NEAR = 1e-3  # depth of what is drawn, in its own unit


class MeshRenderer(Protocol):
    """Pictures of meshes in pixel coordinates (pixel centres at .5, y down)."""

    def draw(self, places: Tensor, depth: Tensor, values: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Perspective-correct ``values`` ``(B, V, C)`` of vertices at ``places`` ``(B, V, 2)`` pixels and
        ``depth`` ``(B, V)``: the picture ``(B, C, size, size)``, 0 where nothing is, and the cover
        ``(B, 1, size, size)`` of zeros and ones.
        """


class PlainRenderer:
    """Ids by the compiled rasteriser, everything else by torch: the reference, and the way on a processor."""

    def __init__(self, triangles: Tensor) -> None:
        """``triangles`` ``(T, 3)``."""
        self._triangles = triangles.cpu()

    def draw(self, places: Tensor, depth: Tensor, values: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """See ``MeshRenderer.draw``."""
        pictures, covers = [], []
        for place, z, value in zip(places, depth, values, strict=True):
            owner = self._owners(place, z, size)
            covered = owner >= 0
            rows, columns = torch.nonzero(covered, as_tuple=True)
            corners = self._triangles[owner[covered]].to(place.device)
            weight = perspective_weights(
                torch.stack([columns + 0.5, rows + 0.5], -1).to(place), place[corners], z[corners]
            )
            colours = (weight[..., None] * value[corners]).sum(1)
            flat = value.new_zeros(size * size, value.shape[-1])
            at = (rows * size + columns).to(place.device)
            pictures.append(flat.index_copy(0, at, colours).reshape(size, size, -1).permute(2, 0, 1))
            covers.append(covered.to(value)[None])
        return torch.stack(pictures), torch.stack(covers)

    def _owners(self, place: Tensor, z: Tensor, size: int) -> Tensor:
        from backend.uvspace.numba_rasteriser import NumbaRasteriser

        vertices = torch.cat([place, z[:, None]], 1).detach().cpu().double().numpy()
        drawn = NumbaRasteriser().rasterise(
            vertices, self._triangles.numpy().astype("int32"), size, size, NEAR
        )
        return torch.from_numpy(drawn.triangle)


class NvdiffrastRenderer:
    """The same on CUDA by nvdiffrast (Laine et al. 2020). Raises: Missing where it is not installed."""

    def __init__(self, triangles: Tensor, device: torch.device) -> None:
        try:
            import nvdiffrast.torch as library
        except ImportError as error:
            raise Missing(
                "nvdiffrast is not installed; install it from its source on this machine, or train with --cpu"
            ) from error
        self._library: Any = library
        self._context: Any = library.RasterizeCudaContext(device=device)
        self._triangles = triangles.to(device=device, dtype=torch.int32).contiguous()

    def draw(self, places: Tensor, depth: Tensor, values: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """See ``MeshRenderer.draw``."""
        ndc = places.float() * (2 / size) - 1
        far = depth.detach().max() * 1.01
        z = depth.float()
        # Row 0 of nvdiffrast's picture lies at NDC y = −1: our top row.
        clip = torch.cat([ndc * z[..., None], (z * (2 * z / far - 1))[..., None], z[..., None]], -1)
        drawn, _ = self._library.rasterize(
            self._context, clip.contiguous(), self._triangles, (size, size), grad_db=False
        )
        cover = (drawn[..., 3:] > 0).to(values)
        colours, _ = self._library.interpolate(values.float().contiguous(), drawn, self._triangles)
        return (colours * cover).permute(0, 3, 1, 2), cover.permute(0, 3, 1, 2)


def perspective_weights(at: Tensor, corners: Tensor, depth: Tensor) -> Tensor:
    """Weights ``(N, 3)`` of the corners ``(N, 3, 2)`` px, at ``depth`` ``(N, 3)``, for points ``(N, 2)``."""
    a, b, c = corners.unbind(1)
    areas = torch.stack([_cross(b - at, c - at), _cross(c - at, a - at), _cross(a - at, b - at)], -1)
    over = areas / depth
    return over / over.sum(-1, keepdim=True)


def _cross(p: Tensor, q: Tensor) -> Tensor:
    return p[..., 0] * q[..., 1] - p[..., 1] * q[..., 0]
