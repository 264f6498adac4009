"""HiFi3D++ as the regressors see it, in torch and differentiable (facts sheet, 2.2 to 2.5).

Model units are decimetres. The camera stands at z = 10 and looks along −z; 1015 pixels of focal length
in a frame of 224², whose v points up and whose origin is its bottom left corner.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from backend.head.base import ParametricHead
from backend.head.hifi3dpp import METRES_PER_UNIT
from backend.marcus.geometry.coefficients import Coefficients

FOCAL, CENTRE, DISTANCE, FRAME = 1015.0, 112.0, 10.0, 224


class FaceModel(nn.Module):
    """The linear decoder S = mean + B_id·α + B_exp·δ, T = mean + B_tex·β with pose, camera and light."""

    mean: Tensor  # (N, 3) decimetres
    identity: Tensor  # (K, N, 3)
    expression: Tensor
    texture_mean: Tensor  # (N, 3) sRGB in [0, 1]
    texture_basis: Tensor
    triangles: Tensor  # (T, 3)

    def __init__(
        self,
        mean: Tensor,
        identity: Tensor,
        expression: Tensor,
        texture_mean: Tensor,
        texture_basis: Tensor,
        triangles: Tensor,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("identity", identity)
        self.register_buffer("expression", expression)
        self.register_buffer("texture_mean", texture_mean)
        self.register_buffer("texture_basis", texture_basis)
        self.register_buffer("triangles", triangles)

    @classmethod
    def of(cls, head: ParametricHead) -> FaceModel:
        """Of a head in metres. Its albedo is linear, so texture here is linear too, not the file's sRGB."""
        unit = METRES_PER_UNIT
        return cls(
            torch.from_numpy(head.mean_vertices / unit),
            torch.from_numpy(head.identity_basis / unit),
            torch.from_numpy(head.expression_basis / unit),
            torch.from_numpy(head.albedo_mean),
            torch.from_numpy(head.albedo_basis),
            torch.from_numpy(head.triangles.astype("int64")),
        )

    def shape(self, coefficients: Coefficients) -> Tensor:
        """``(B, N, 3)`` with identity and expression, unposed, decimetres."""
        moved = torch.einsum("bk,knc->bnc", coefficients.identity, self.identity)
        return self.mean + moved + torch.einsum("bk,knc->bnc", coefficients.expression, self.expression)

    def posed(self, coefficients: Coefficients) -> Tensor:
        """``(B, N, 3)`` in the release's camera space: R·x + t, decimetres."""
        rotation = rotations(coefficients.angles)
        turned = torch.einsum("bij,bnj->bni", rotation, self.shape(coefficients))
        return turned + coefficients.translation[:, None]

    def texture(self, coefficients: Coefficients) -> Tensor:
        """Vertex colours ``(B, N, 3)``, unbounded."""
        return self.texture_mean + torch.einsum("bk,knc->bnc", coefficients.texture, self.texture_basis)

    def normals(self, vertices: Tensor) -> Tensor:
        """Smooth unit normals ``(B, N, 3)``: the sum of the adjoining triangles' unit normals."""
        a, b, c = (vertices[:, self.triangles[:, k]] for k in range(3))
        face = torch.nn.functional.normalize(torch.linalg.cross(b - a, c - a), dim=-1)
        total = torch.zeros_like(vertices)
        for k in range(3):
            total = total.index_add(1, self.triangles[:, k], face)
        return torch.nn.functional.normalize(total, dim=-1)


def rotations(angles: Tensor) -> Tensor:
    """R = Rz·Ry·Rx ``(B, 3, 3)`` of ``angles`` ``(B, 3)`` (pitch, yaw, roll; radians), for column vectors."""
    (cx, cy, cz), (sx, sy, sz) = (f(angles).unbind(-1) for f in (torch.cos, torch.sin))
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def project(posed: Tensor) -> tuple[Tensor, Tensor]:
    """Places ``(…, 2)`` in the 224² frame, v up, and depths ``(…)`` in decimetres of camera-space points."""
    depth = DISTANCE - posed[..., 2]
    return FOCAL * posed[..., :2] / depth[..., None] + CENTRE, depth


_A = (math.pi, 2 * math.pi / math.sqrt(3), 2 * math.pi / math.sqrt(8))
_C = (
    1 / math.sqrt(4 * math.pi),
    math.sqrt(3) / math.sqrt(4 * math.pi),
    3 * math.sqrt(5) / math.sqrt(12 * math.pi),
)


def shade(normals: Tensor, gamma: Tensor) -> Tensor:
    """Shading ``(B, N, 3)`` at rotated unit ``normals`` ``(B, N, 3)`` under ``gamma`` ``(B, 3, 9)``."""
    x, y, z = normals.unbind(-1)
    one, two = _A[1] * _C[1], _A[2] * _C[2]
    bands = [
        torch.full_like(x, _A[0] * _C[0]),
        -one * y,
        one * z,
        -one * x,
        two * x * y,
        -two * y * z,
        two * (3 * z * z - 1) / (2 * math.sqrt(3)),
        -two * x * z,
        two * (x * x - y * y) / 2,
    ]
    return torch.einsum("bnk,bck->bnc", torch.stack(bands, dim=-1), gamma)
