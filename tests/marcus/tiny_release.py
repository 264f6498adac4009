"""MARCUS' own files in miniature, random, as the release lays them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy.io import savemat
from scipy.spatial import cKDTree

from backend.head.correspondences import points68
from backend.head.registry import load_head
from backend.marcus.adapters import adapter_parameters, add_adapter, save_adapter
from backend.marcus.geometry.resnet import ResNetRegressor
from backend.marcus.longcat import TINY, build_transformer
from backend.marcus.lora_bank import target_names
from backend.marcus.superres.networks import SRVGGNetCompact

RANK = 4


def write_adapters(folder: Path) -> None:
    """``ckpts/lora_*`` under ``folder``: two PEFT adapters and a three-branch file."""
    for name, seed in (("lora_inpainting/transformer_caption", 1), ("lora_delight/transformer", 2)):
        transformer = build_transformer(TINY)
        add_adapter(transformer, "default", rank=RANK, alpha=1)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter_parameters(transformer, "default"):
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        save_adapter(transformer, "default", folder / "ckpts" / name)
    (folder / "ckpts/lora_align").mkdir(parents=True)
    save_file(three_branches(), folder / "ckpts/lora_align/33000.safetensors")


def three_branches(rank: int = RANK) -> dict[str, torch.Tensor]:
    """A three-branch LoRA file's tensors for TINY."""
    transformer = build_transformer(TINY)
    generator = torch.Generator().manual_seed(3)
    state = {}
    for name in target_names(transformer):
        out, into = transformer.get_submodule(name).weight.shape
        for branch in range(3):
            state[f"{name}.{branch}.lora_down.weight"] = torch.randn(rank, into, generator=generator) * 0.2
            state[f"{name}.{branch}.lora_up.weight"] = torch.randn(out, rank, generator=generator) * 0.2
    return state


def write_topology(folder: Path, grid: int = 48) -> None:
    """``assets/topo`` under ``folder``: a head of HiFi3D++'s file layout in the shape of the open one."""
    shape, faces, uvs = coarse_head(grid)
    head = load_head("open")
    marks = points68(head).positions(head.mean_vertices, head.triangles)
    keypoints = cKDTree(shape).query(marks)[1]
    decimetres = (shape / 0.1).astype(np.float64)
    rng = np.random.default_rng(0)
    count = len(shape)

    def modes(number: int, size: float) -> np.ndarray:
        """Smooth offsets: waves over the head."""
        waves = rng.normal(0, 2.0, (number, 3))
        phase = np.sin(decimetres @ waves.T + rng.uniform(0, 6, number))  # (N, K)
        return (size * phase[:, None] * rng.normal(0, 1, (3, number))).reshape(3 * count, number)

    topology = folder / "assets" / "topo"
    topology.mkdir(parents=True)
    savemat(
        topology / "hifi3dpp_model_info.mat",
        {
            "meanshape": decimetres.reshape(1, -1),
            "meantex": np.tile([200.0, 150.0, 130.0], count)[None],
            "idBase": modes(532, 0.01).astype(np.float32),
            "exBase": modes(45, 0.01).astype(np.float32),
            "texBase": modes(439, 2.0).astype(np.float32),
            "head_tri": faces + 1,
            "head_tri_vt": faces + 1,
            "vt_list": uvs,
            "keypoints": keypoints[:, None] + 1,
        },
    )
    centred = decimetres - decimetres.mean(0)
    savemat(topology / "similarity_Lm3D_all.mat", {"lm": centred[keypoints]})


def coarse_head(grid: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The open head's skin seen from its middle on a grid of directions: vertices (m), triangles, UVs."""
    head = load_head("open")
    skin = head.triangles[head.triangle_part == 0]
    vertices = head.mean_vertices.astype(np.float64)
    centre = vertices[np.unique(skin)].mean(0)
    # Most vertices lie in the face, as in the real one; no back of the head, where its seam lies.
    even = np.linspace(-1, 1, grid)
    around, up = (np.radians(most) * even * (0.3 + 0.7 * np.abs(even)) for most in (150, 70))
    a, e = np.meshgrid(around, up)
    rays = np.stack([np.sin(a) * np.cos(e), np.sin(e), np.cos(a) * np.cos(e)], -1).reshape(-1, 3)
    offsets = vertices[np.unique(skin)] - centre
    directions = offsets / np.linalg.norm(offsets, axis=1, keepdims=True)
    gap, near = cKDTree(directions).query(rays, k=6)
    share = 1 / (gap + 1e-3)
    # Where the skin folds (lips, ears) the outer layer counts.
    radius = np.linalg.norm(offsets, axis=1)[near]
    share *= radius > radius.max(1, keepdims=True) - 0.015
    radii = (share * radius).sum(1) / share.sum(1)
    shape = centre + rays * radii[:, None]
    rows = np.arange(grid * grid).reshape(grid, grid)
    p, q, r, s = (x.ravel() for x in (rows[:-1, :-1], rows[:-1, 1:], rows[1:, 1:], rows[1:, :-1]))
    faces = np.concatenate([np.c_[p, q, r], np.c_[p, r, s]])
    uvs = np.stack(np.meshgrid(even, even), -1).reshape(-1, 2) * 0.45 + 0.5
    return shape, faces, uvs


def write_regressor(folder: Path) -> None:
    """The release's ResNet-50 at full size, whose heads say little: heads near the mean, looking ahead."""
    torch.manual_seed(0)
    model = ResNetRegressor()
    for layer in model.final_layers:
        for parameter in layer.parameters():
            torch.nn.init.normal_(parameter, std=1e-4)
    path = folder / "ckpts" / "deep3d_model" / "epoch_latest.pth"
    path.parent.mkdir(parents=True)
    torch.save({"net_recon": model.state_dict(), "opt_00": {"state": {}, "param_groups": []}}, path)


def write_super_resolution(folder: Path) -> None:
    """A small SRVGGNetCompact that adds nothing to the repeated texels, under the published file's name."""
    folder.mkdir(parents=True)
    network = SRVGGNetCompact(8, 1)
    torch.nn.init.zeros_(network.body[-1].weight)
    torch.nn.init.zeros_(network.body[-1].bias)
    torch.save({"params": network.state_dict()}, folder / "realesr-general-x4v3.pth")
