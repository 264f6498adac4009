"""Pictures for the open head's model card: ``python -m synthdata.headmodel.gallery FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.artifacts import Camera
from backend.head.base import ParametricHead
from backend.head.registry import load_head
from synthdata.headmodel.preview import look_at, picture

U8 = NDArray[np.uint8]
F32 = NDArray[np.float32]
BUST = (0.0, -0.02, 0.01)
EXPRESSIONS: dict[str, dict[str, float]] = {
    "smile": {"mouthSmileLeft": 0.9, "mouthSmileRight": 0.9, "cheekSquintLeft": 0.6, "cheekSquintRight": 0.6},
    "jaw": {"jawOpen": 0.9},
    "blink": {"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0},
    "brows": {
        "browInnerUp": 1.0,
        "browOuterUpLeft": 1.0,
        "browOuterUpRight": 1.0,
        "eyeWideLeft": 0.7,
        "eyeWideRight": 0.7,
    },
    "pucker": {"mouthPucker": 1.0},
    "frown": {"browDownLeft": 1.0, "browDownRight": 1.0, "mouthFrownLeft": 1.0, "mouthFrownRight": 1.0},
    "look": {"eyeLookInLeft": 0.9, "eyeLookOutRight": 0.9},
    "tongue": {"jawOpen": 0.6, "tongueOut": 1.0},
}


def main(folder: Path) -> None:
    """Write the model card's pictures as JPEG files under 300 kB each."""
    head = load_head("open")
    mean = head.mean_vertices
    folder.mkdir(parents=True, exist_ok=True)
    turns = [look_at(BUST, yaw, 5, 1.0, 0.36, 420) for yaw in (0, 45, 90)]
    _write(
        folder / "mean.jpg",
        [[_draw(head, mean, c) for c in turns], [_draw(head, mean, c, wires=True) for c in turns]],
    )
    close = [
        look_at((0.032, 0.036, 0.09), 8, 0, 1.0, 0.062, 420),
        look_at((0.0, -0.033, 0.11), 18, 5, 1.0, 0.085, 420),
        look_at((0.08, 0.008, 0.0), 80, 0, 1.0, 0.10, 420),
        look_at((0.0, -0.006, 0.105), 20, -42, 1.0, 0.06, 420),
        look_at((0.03, -0.035, 0.095), 42, 0, 1.0, 0.06, 420),
        look_at((0.078, 0.008, -0.005), 150, 0, 1.0, 0.10, 420),
    ]
    drawn = [_draw(head, mean, c, wires=True) for c in close]
    _write(folder / "close.jpg", [drawn[:3], drawn[3:]])
    face = look_at((0.0, -0.01, 0.02), 15, 0, 1.0, 0.33, 210)
    modes = [[_draw(head, head.shape(sigma * np.eye(8)[k]), face) for k in range(8)] for sigma in (-2.5, 2.5)]
    _write(folder / "identity_modes.jpg", modes)
    acted = []
    for weights in EXPRESSIONS.values():
        vector = np.array([weights.get(n, 0.0) for n in head.expression_names])
        acted.append(_draw(head, head.shape(np.zeros(1), vector), face))
    _write(folder / "expressions.jpg", [acted])
    near = look_at((0.0, -0.005, 0.06), 15, 0, 1.0, 0.215, 190)
    single = []
    for k, name in enumerate(head.expression_names):
        only = np.eye(len(head.expression_names))[k]
        if name == "mouthClose":  # by its definition: lips shut over an open jaw
            only[head.expression_names.index("jawOpen")] = 1.0
            name = "jawOpen + mouthClose"
        single.append(_named(_draw(head, head.shape(np.zeros(1), only), near), name))
    single += [np.full_like(single[0], 88)] * (-len(single) % 9)
    _write(folder / "all_expressions.jpg", [single[i : i + 9] for i in range(0, len(single), 9)])
    tones = [
        [_draw(head, mean, face, colour=head.albedo(sigma * np.eye(8)[k])) for k in range(8)]
        for sigma in (-1.5, 1.5)
    ]
    _write(folder / "albedo_modes.jpg", tones)
    rng = np.random.default_rng(4)
    people = [
        _draw(
            head,
            head.shape(rng.standard_normal(len(head.identity_basis)) * 0.9),
            face,
            colour=head.albedo(rng.normal(0, 0.7, 12)),
        )
        for _ in range(16)
    ]
    _write(folder / "people.jpg", [people[:8], people[8:]])
    regions = [
        _draw(head, mean, face, colour=np.repeat((0.08 + 0.8 * w)[:, None], 3, 1).astype(np.float32))
        for w in head.regions.values()
    ]
    _write(folder / "regions.jpg", [regions[:6], regions[6:12]])
    _write(folder / "chart.jpg", [[_chart(head)]])


def _draw(
    head: ParametricHead, vertices: F32, camera: Camera, wires: bool = False, colour: F32 | None = None
) -> U8:
    clear = [k for k, name in enumerate(head.part_names) if name.startswith(("cornea", "tear"))]
    return picture(
        vertices,
        head.triangles[~np.isin(head.triangle_part, clear)],
        camera,
        head.albedo_mean if colour is None else colour,
        head.quads[head.quad_part == 0] if wires else None,
        gloss=0.02,
    )


def _named(image: U8, name: str) -> U8:
    import cv2

    written = image.copy()
    cv2.putText(
        written, name, (5, image.shape[0] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (255,) * 3, 1, cv2.LINE_AA
    )
    return written


def _chart(head: ParametricHead, size: int = 900) -> U8:
    import cv2

    image = np.full((size, size, 3), 255, np.uint8)
    for corner in head.uvs[head.quad_uvs[head.quad_part == 0]]:
        line = np.round(np.stack([corner[:, 0], 1 - corner[:, 1]], 1) * size * 16).astype(np.int32)
        cv2.polylines(image, [line], True, (40, 60, 90), 1, cv2.LINE_AA, 4)
    return image


def _write(path: Path, rows: list[list[U8]]) -> None:
    import cv2

    sheet = np.concatenate([np.concatenate(row, 1) for row in rows])
    for quality in (88, 80, 70, 60, 50):
        ok, data = cv2.imencode(".jpg", sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if ok and len(data) < 300_000:
            path.write_bytes(data.tobytes())
            return
    raise ValueError(f"{path.name} does not fit into 300 kB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
