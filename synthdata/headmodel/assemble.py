"""From half parts to one symmetric head: numbering, UV corners, identity and expression modes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead
from synthdata.headmodel.parts import MIRROR_X, PartHalf
from synthdata.headmodel.teeth import opened_for_tongue

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]


@dataclass(frozen=True)
class Whole:
    """The assembled mesh; ``half`` lists the x ≥ 0 vertices in part order, skin first."""

    vertices: F64  # (V, 3)
    quads: I32  # (Q, 4)
    quad_uvs: I32  # (Q, 4)
    quad_part: NDArray[np.uint8]  # (Q,)
    part_names: tuple[str, ...]
    uvs: F64  # (U, 2)
    mirror: I32  # (V,)
    half: I32  # (H,)
    vertex_part: I32  # (V,) index into part_names


def assemble(parts: list[PartHalf]) -> Whole:
    """Mirror the halves (skin first) and number everything; UV rows are merged where they agree."""
    vertices: list[F64] = []
    half: list[NDArray[np.intp]] = []
    mirror: list[NDArray[np.intp]] = []
    part_of: list[I32] = []
    quads, uv_corners, labels = [], [], []
    names: list[str] = []
    skin_left = skin_right = np.zeros(0, np.intp)
    total = 0
    for part in parts:
        for name in (part.name, part.mirror_name):
            if name not in names:
                names.append(name)
        v = part.vertices.copy()
        middle = (np.abs(v[:, 0]) < 1e-7) & (part.name == part.mirror_name)
        v[middle, 0] = 0.0
        left = total + np.arange(len(v))
        right = left.copy()
        right[~middle] = total + len(v) + np.arange((~middle).sum())
        if part.name == "skin":
            skin_left, skin_right = left, right
        vertices += [v, v[~middle] * MIRROR_X]
        half.append(left)
        mirror += [right, left[~middle]]
        index, other = names.index(part.name), names.index(part.mirror_name)
        part_of += [np.full(len(v), index, np.int32), np.full(int((~middle).sum()), other, np.int32)]
        total += len(v) + int((~middle).sum())
        q = part.quads
        own, skin = np.maximum(q, 0), np.maximum(-1 - q, 0)
        ql = np.where(q >= 0, left[own], skin_left[skin])
        qr = np.where(q >= 0, right[own], skin_right[skin])
        quads += [ql, qr[:, ::-1]]
        uv_corners += [part.uvs[part.quad_uvs], part.mirror_uv(part.uvs)[part.quad_uvs][:, ::-1]]
        labels += [np.full(len(q), index), np.full(len(q), other)]
    all_quads = np.concatenate(quads).astype(np.int32)
    corners = np.concatenate(uv_corners)
    key = np.c_[
        all_quads.reshape(-1, 1), np.repeat(np.concatenate(labels), 4), np.round(corners.reshape(-1, 2) * 1e7)
    ]
    _, first, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(np.concatenate(labels), kind="stable")
    return Whole(
        vertices=np.concatenate(vertices),
        quads=all_quads[order],
        quad_uvs=inverse.reshape(-1, 4).astype(np.int32)[order],
        quad_part=np.concatenate(labels).astype(np.uint8)[order],
        part_names=tuple(names),
        uvs=corners.reshape(-1, 2)[first],
        mirror=np.concatenate(mirror).astype(np.int32),
        half=np.concatenate(half).astype(np.int32),
        vertex_part=np.concatenate(part_of),
    )


def identity_modes(ict: ParametricHead, parts: list[PartHalf]) -> tuple[F64, NDArray[np.int8]]:
    """ICT's identity space on the half's vertices, as principal modes ``(K, H, 3)`` with their parity."""
    carried, parity = carried_modes(ict, parts)
    return principal_identity(carried, parity, len(parts[0].vertices))


def carried_modes(ict: ParametricHead, parts: list[PartHalf]) -> tuple[F64, NDArray[np.int8]]:
    """ICT's own identity modes on the half's vertices ``(K, H, 3)``, made purely (anti)symmetric: ±1 each."""
    offsets = ict.identity_basis
    flipped = offsets[:, ict.mirror_vertex] * MIRROR_X.astype(np.float32)
    parity = np.where((offsets * flipped).sum((1, 2)) >= 0, 1, -1).astype(np.int8)
    pure = 0.5 * (offsets + parity[:, None, None] * flipped)
    return np.concatenate([p.carry(pure) for p in parts], axis=1), parity


def principal_identity(carried: F64, parity: NDArray[np.int8], skin: int) -> tuple[F64, NDArray[np.int8]]:
    """Principal modes of the population that ``carried`` ``(K, H, 3)`` with standard normal coefficients is.

    The population's covariance is known in closed form and an orthogonal turn of the offsets is its PCA (on
    the first ``skin`` vertices); it is done apart for symmetric (+1) and antisymmetric (−1) offsets, which
    the half then stores exactly. Coefficients stay in standard deviations.
    """
    modes, signs = [], []
    for sign in (1, -1):
        block = carried[parity == sign]
        flat = block[:, :skin].reshape(len(block), -1)
        variance, turn = np.linalg.eigh(flat @ flat.T)
        turn = turn[:, ::-1].T * np.where(turn[:, ::-1].sum(0) < 0, -1.0, 1.0)[:, None]
        modes.append(np.einsum("ij,jvc->ivc", turn, block))
        signs += [(sign, value) for value in variance[::-1]]
    order = np.argsort([-value for _, value in signs], kind="stable")
    return np.concatenate(modes)[order], np.asarray([s for s, _ in signs], np.int8)[order]


def expression_modes(ict: ParametricHead, parts: list[PartHalf], whole: Whole) -> F32:
    """All 52 ARKit shapes on the whole head ``(52, V, 3)``, in ARKit order."""
    out = np.zeros((len(ARKIT_NAMES), len(whole.vertices), 3), np.float32)
    right = whole.mirror[whole.half]
    for k, name in enumerate(ARKIT_NAMES):
        twin = _other_side(name)
        for source, rows, sign in (
            (_offsets(ict, name), whole.half, np.ones(3)),
            (_offsets(ict, name)[ict.mirror_vertex] * MIRROR_X, right, MIRROR_X),
        ):
            label = name if sign[0] > 0 else twin
            moved = [
                p.own_expressions[label] if label in p.own_expressions else p.carry(source) for p in parts
            ]
            out[k, rows] = (np.concatenate(moved) * sign).astype(np.float32)
    for k, name in enumerate(ARKIT_NAMES):  # ICT's sides differ by up to a millimetre: take their mean
        other = ARKIT_NAMES.index(_other_side(name))
        if other >= k:
            mean = 0.5 * (out[k] + out[other][whole.mirror] * MIRROR_X.astype(np.float32))
            out[k], out[other] = mean, mean[whole.mirror] * MIRROR_X.astype(np.float32)
    return out


def _other_side(name: str) -> str:
    if name.endswith("Left"):
        return name.removesuffix("Left") + "Right"
    return name.removesuffix("Right") + "Left" if name.endswith("Right") else name


def _offsets(ict: ParametricHead, name: str) -> F64:
    if name == "tongueOut":
        return opened_for_tongue(ict)
    if name not in ict.expression_names:
        return np.zeros(ict.mean_vertices.shape)
    return np.asarray(ict.expression_basis[ict.expression_names.index(name)], np.float64)
