"""Cycles as an outside judge of the shader's lobes and of the panorama's orientation."""

from __future__ import annotations

import importlib.util
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from backend.shading import ggx, latlong  # noqa: E402

pytestmark = [
    pytest.mark.blend,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="needs bpy (extra `blend`)"),
]
SCRIPT = Path(__file__).with_name("cycles_scene.py")


def _cycles(kind: str, job: dict[str, object], folder: Path) -> np.ndarray:
    """The picture of ``cycles_scene.py``, in a process of its own: bpy wants a main thread."""
    job["out"] = str(folder / f"{kind}.npy")
    (folder / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(folder / "job.json")],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "BLENDER_USER_RESOURCES": str(folder)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    picture: np.ndarray = np.load(folder / f"{kind}.npy")
    return picture


def test_sphere_under_a_sun_matches_diffuse_plus_glossy(tmp_path: Path) -> None:
    """With an orthographic view and a sun l·h is one number, so Cycles' constant-colour Glossy (GGX)
    with that Fresnel value as its colour is the paper's f_s exactly, and Diffuse is f_d."""
    size, span, specular, albedo = 64, 2.2, 0.8, [0.5, 0.3, 0.2]
    light = np.array([0.5, 0.3, 0.81])
    light /= np.linalg.norm(light)
    l_h = math.sqrt((1 + light[2]) / 2)  # the view is +Z
    fresnel = float(ggx.fresnel(torch.tensor(l_h).double(), torch.tensor(specular).double()))
    lobes = [(fresnel, roughness) for roughness in (0.25, 0.45, 0.8)]
    pictures = _cycles(
        "sphere",
        {
            "size": size,
            "span": span,
            "albedo": albedo,
            "lobes": lobes,
            "irradiance": 3.0,
            "light": light.tolist(),
        },
        tmp_path,
    )
    rows, columns = np.mgrid[0:size, 0:size] + 0.5
    x, y = (columns / size - 0.5) * span, (0.5 - rows / size) * span
    inside = x * x + y * y < 0.96
    n = torch.tensor(np.stack([x, y, np.sqrt(np.maximum(1 - x * x - y * y, 0))], -1))[torch.tensor(inside)]
    v, l = (  # noqa: E741
        torch.tensor(w, dtype=torch.float64).expand_as(n) for w in ([0.0, 0.0, 1.0], light.tolist())
    )
    one, paint = torch.ones(len(n), 1).double(), torch.tensor(albedo).double().expand_as(n)
    for (_, roughness), theirs in zip(lobes, pictures, strict=True):
        f = ggx.brdf(n, v, l, paint, roughness * one, specular * one)
        ours = (3.0 * f * (n * l).sum(-1, keepdim=True).clamp_min(0)).numpy()
        error = np.abs(ours - theirs[inside]) / ours.max()
        print(f"roughness {roughness}: mean {error.mean():.1e}, worst {error.max():.1e} of the peak")
        assert error.mean() < 1e-4
        assert error.max() < 1e-3


@pytest.mark.parametrize("turn", [0.0, 67.5])  # whole texels: nothing blurs
def test_panorama_lights_blender_as_it_lights_us(turn: float, tmp_path: Path) -> None:
    """What a Blender world texture shows along a direction is what we sample there; a Mapping node of
    Rotation Z = −turn is ``latlong.rotate(turn)``."""
    rng = np.random.default_rng(0)
    panorama = np.kron(rng.random((8, 16, 3)), np.ones((8, 8, 1))).astype(np.float32)
    np.save(tmp_path / "panorama.npy", panorama)
    head = np.array([[1, 0.1, 0.2], [0.1, 0.2, 1], [0.1, -1, 0.2]])
    blender = np.stack([head[:, 0], -head[:, 2], head[:, 1]], 1)
    theirs = _cycles(
        "world",
        {
            "latlong": str(tmp_path / "panorama.npy"),
            "directions": blender.tolist(),
            "mapping_z": math.radians(-turn),
        },
        tmp_path,
    )
    ours = latlong.sample(latlong.rotate(panorama, turn), head)
    np.testing.assert_allclose(theirs, ours, atol=0.02)
    assert np.abs(ours[:, None] - ours[None]).max(-1)[~np.eye(3, dtype=bool)].min() > 0.05
