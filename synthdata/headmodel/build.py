"""All steps from ICT-FaceKit to the open head's file, in order."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from backend.head.arkit import ARKIT_NAMES
from backend.head.base import ParametricHead, SurfacePoints
from backend.head.meshing import no_landmarks
from backend.head.open_head import load_open_head
from synthdata.headmodel.albedo import draw_population, iris_and_sclera, log_details, principal_modes
from synthdata.headmodel.assemble import (
    Whole,
    assemble,
    carried_modes,
    expression_modes,
    identity_modes,
)
from synthdata.headmodel.brows import build_brows
from synthdata.headmodel.cavities import nostrils
from synthdata.headmodel.chart import half_chart
from synthdata.headmodel.cornea import build_cornea
from synthdata.headmodel.correctives import add_correctives, make_sound
from synthdata.headmodel.eyes import Eyeball, build_eye
from synthdata.headmodel.flatten import split_quads
from synthdata.headmodel.ibug import carry_ibug
from synthdata.headmodel.inner import build_inner
from synthdata.headmodel.landmarks import View, find_landmarks
from synthdata.headmodel.lashes import build_lashes
from synthdata.headmodel.layout import DEFAULT, Layout
from synthdata.headmodel.lid_edge import LidEdge
from synthdata.headmodel.lids import close_lids
from synthdata.headmodel.lip_rims import on_lip_rims
from synthdata.headmodel.makehuman import Registered, register_makehuman, remove_shading, sample_skins
from synthdata.headmodel.mouth import close_lips
from synthdata.headmodel.parts import MIRROR_X, PartHalf, same_chart_mirrored
from synthdata.headmodel.population import carry_traits, population_modes
from synthdata.headmodel.regions import half_regions
from synthdata.headmodel.skin import (
    EYE_LOOPS,
    SkinHalf,
    build_skin_half,
    hole_loop,
)
from synthdata.headmodel.source import MOUTH_END, SKIN_END, SOCKETS_END, IctSurface
from synthdata.headmodel.store import write_open_head
from synthdata.headmodel.tear_line import build_tear_line
from synthdata.headmodel.teeth import build_teeth

log = logging.getLogger(__name__)
F64 = NDArray[np.float64]
ALBEDO_MODES = 12
SEAM_FRONT = 0.5  # share of the cap's midline, from the front, where the seam begins


def build(data: Path, output: Path, layout: Layout = DEFAULT, unwrap_iterations: int = 40) -> ParametricHead:
    """Build the open head from the folder of shared data and write it. Deterministic."""
    surface = IctSurface.load(data / "ict-facekit")
    landmarks68 = _landmarks68(data, surface)
    skin = build_skin_half(surface, layout)
    log.info("skin laid out: %d vertices in the half", len(skin.mesh.start))
    points = _closed_skin(surface, skin)
    regions = half_regions(skin.mesh, points, landmarks68, len(EYE_LOOPS))
    regions["nostrils"] = _nostrils(skin, points)
    uv = _chart(skin, points, unwrap_iterations)
    log.info("chart made")
    parts = _parts(surface, skin, points, uv, layout)
    whole = assemble(parts)
    identity = identity_modes(surface.head, parts)
    expressions = expression_modes(surface.head, parts, whole)
    log.info("%d vertices, %d quads, modes carried", len(whole.vertices), len(whole.quads))
    spread = {name: _spread(weights, len(points), whole) for name, weights in regions.items()}
    landmarks = no_landmarks()
    ibug: SurfacePoints | None = None
    albedo = _albedo(whole, spread, np.zeros((1, len(whole.vertices), 3)))

    def store() -> ParametricHead:
        write_open_head(
            output,
            whole,
            identity,
            expressions,
            ARKIT_NAMES,
            albedo,
            spread,
            landmarks,
            surface.head.eye_centres,
            ibug,
        )
        return load_open_head(output)

    # Face Mesh sees better on better skin: a first look registers the CC0 skins, a second one counts.
    lash = skin.mesh.eye_rings[len(skin.mesh.eye_rings) - len(EYE_LOOPS)]
    lashes = np.r_[whole.half[lash], whole.mirror[whole.half[lash]]]
    landmarks = _landmarks(store(), lashes, views=12)
    looked = store()
    ibug = carry_ibug(surface, parts, whole, landmarks68, looked.triangles)
    registered = register_makehuman(
        data / "makehuman", looked.mean_vertices.astype(np.float64), looked.triangles, looked.mediapipe
    )
    traits = carry_traits(data / "makehuman", registered, looked)
    identity = population_modes(looked, whole.half, carried_modes(surface.head, parts), traits)
    log.info("population made: %d modes", len(identity[0]))
    albedo = _albedo(whole, spread, _skin_details(looked, registered, spread))
    log.info("albedo made")
    landmarks = _landmarks(store(), lashes, views=48)
    log.info("landmarks found, mean trust %.2f", float(landmarks.trust.mean()))
    store()
    log.info("people made sound")
    make_sound(output, output)
    log.info("correctives")
    return add_correctives(output, output)


def carrying_parts(surface: IctSurface, layout: Layout = DEFAULT) -> list[PartHalf]:
    """The parts of ``build`` without a chart: enough to carry ICT's offsets to the same vertices."""
    skin = build_skin_half(surface, layout)
    points = _closed_skin(surface, skin)
    return _parts(surface, skin, points, np.zeros((len(points), 2)), layout)


def _closed_skin(surface: IctSurface, skin: SkinHalf) -> F64:
    points = skin.on_ict.apply(surface.vertices)
    points[np.abs(points[:, 0]) < 1e-7, 0] = 0.0
    return close_lips(skin.mesh, points)


def _parts(surface: IctSurface, skin: SkinHalf, points: F64, uv: F64, layout: Layout) -> list[PartHalf]:
    skin_part = PartHalf(
        name="skin",
        mirror_name="skin",
        vertices=points,
        quads=skin.mesh.quads,
        uvs=uv,
        quad_uvs=skin.mesh.quads,
        carry=skin.on_ict.apply,
        own_expressions={"eyeBlinkLeft": _blink(surface.head, skin, points)},
        mirror_uv=same_chart_mirrored,
    )
    eyeball = Eyeball.of(surface.head)
    lid_edge = LidEdge.of(skin.mesh, points, eyeball)
    return [
        skin_part,
        *_inner_parts(surface, skin, layout),
        build_eye(eyeball),
        *build_teeth(surface.head),
        # Last, as one looks through or between them.
        build_cornea(eyeball),
        build_tear_line(surface.head, skin_part, lid_edge),
        build_lashes(surface.head, skin_part, lid_edge),
        build_brows(surface.head, skin_part),
    ]


def _landmarks68(data: Path, surface: IctSurface) -> F64:
    indices = json.loads((data / "ict-facekit" / "vertex_indices.json").read_text())
    return np.asarray(surface.head.mean_vertices[indices["idx_to_landmark_verts"]], np.float64)


def _chart(skin: SkinHalf, points: F64, iterations: int) -> F64:
    mesh = skin.mesh
    start = round(SEAM_FRONT * len(mesh.cap_middle))
    front = np.r_[mesh.front, mesh.cap_middle[: start + 1]]
    hidden = np.zeros(len(points), bool)
    hidden[np.concatenate([mesh.nostril_tube, *mesh.mouth_rings[-4:], mesh.eye_rings[-1]])] = True
    return half_chart(points, mesh.quads, front, mesh.mouth_rings[-1], hidden, iterations)


def _blink(ict: ParametricHead, skin: SkinHalf, points: F64) -> F64:
    offsets = ict.expression_basis[ict.expression_names.index("eyeBlinkLeft")]
    radius = Eyeball.of(ict).profile()
    lash = len(skin.mesh.eye_rings) - len(EYE_LOOPS)
    return close_lids(
        skin.mesh, points, skin.on_ict.apply(offsets), lash, ict.eye_centres[0].astype(np.float64), radius
    )


def _inner_parts(surface: IctSurface, skin: SkinHalf, layout: Layout) -> list[PartHalf]:
    return [
        build_inner(
            surface,
            "mouth",
            (SKIN_END, MOUTH_END),
            hole_loop(surface, "mouth"),
            skin.loop_share["mouth"],
            skin.mesh.mouth_rings[-1],
            layout.mouth,
            rings=3,
        ),
        build_inner(
            surface,
            "sockets",
            (MOUTH_END, SOCKETS_END),
            hole_loop(surface, "eye_left"),
            skin.loop_share["eye"],
            skin.mesh.eye_rings[-1],
            layout.eye,
            rings=1,
        ),
    ]


def _spread(half_values: F64, count: int, whole: Whole) -> F64:
    """Values of the skin's half (N, …) on the whole head, 0 on other parts."""
    out = np.zeros((len(whole.vertices), *half_values.shape[1:]))
    rows = whole.half[:count]
    out[whole.mirror[rows]] = half_values
    out[rows] = half_values
    return out


def _skin_details(head: ParametricHead, registered: Registered, regions: dict[str, F64]) -> F64:
    vertices = head.mean_vertices.astype(np.float64)
    skins = sample_skins(registered)
    plain = regions["face"] * (1 - regions["lips"]) * (1 - regions["brows"])
    plain *= (1 - regions["eyelids"]) * (1 - regions["scalp"])
    even = remove_shading(skins, vertices, head.triangles, head.mirror_vertex, plain)
    return log_details(even, regions, plain, calm(vertices, regions))


def _nostrils(skin: SkinHalf, points: F64) -> F64:
    triangles = split_quads(skin.mesh.quads)
    both = np.concatenate([points, points * MIRROR_X])
    return nostrils(both, np.concatenate([triangles, triangles[:, ::-1] + len(points)]))[: len(points)]


def calm(vertices: F64, regions: dict[str, F64]) -> F64:
    """Where painted colour is given up: 1 on ears, in nostrils and within 5 mm of the lips, 0 from 17 mm."""
    gap, _ = cKDTree(vertices[regions["lips"] > 0.5]).query(vertices)
    share = np.clip((0.017 - gap) / 0.012, 0.0, 1.0)
    return np.asarray(
        np.maximum.reduce([share * share * (3 - 2 * share), regions["ears"], regions["nostrils"]])
    )


def _albedo(whole: Whole, regions: dict[str, F64], details: F64) -> tuple[F64, F64]:
    on_skin = whole.vertex_part == whole.part_names.index("skin")
    rng = np.random.default_rng(20240611)
    samples = draw_population({k: v[on_skin] for k, v in regions.items()}, details[:, on_skin], 400, rng)
    mean_skin, modes_skin = principal_modes(samples, ALBEDO_MODES)
    mean = np.zeros((len(whole.vertices), 3))
    modes = np.zeros((ALBEDO_MODES, len(whole.vertices), 3))
    mean[on_skin], modes[:, on_skin] = mean_skin, modes_skin
    plain = {
        "mouth": (0.20, 0.055, 0.050),
        "gums": (0.40, 0.16, 0.15),
        "teeth": (0.72, 0.66, 0.55),
        "tongue": (0.42, 0.17, 0.15),
    }
    for name, colour in plain.items():
        rows = whole.vertex_part == whole.part_names.index(name)
        mean[rows] = np.asarray(colour) * _mouth_shade(whole.vertices[rows, 2:])
    mean[whole.vertex_part == whole.part_names.index("sockets")] = (0.30, 0.12, 0.10)
    uv_of = np.zeros((len(whole.vertices), 2))
    uv_of[whole.quads.ravel()] = whole.uvs[whole.quad_uvs.ravel()]
    for name in ("eye_left", "eye_right"):
        rows = whole.vertex_part == whole.part_names.index(name)
        mean[rows] = iris_and_sclera(uv_of[rows])
    return 0.5 * (mean + mean[whole.mirror]), modes


def _mouth_shade(z: F64) -> F64:
    """Share of light that is painted into the mouth's parts at depth ``z``: little behind the canines."""
    return np.interp(z, [0.060, 0.080, 0.100], [0.25, 0.45, 1.0])


def _landmarks(head: ParametricHead, lashes: NDArray[np.int32], views: int) -> SurfacePoints:
    rng = np.random.default_rng(7)
    colour = head.albedo_mean.copy()
    colour[lashes] *= 0.3  # the line of lashes, which Face Mesh looks for
    poses = ((0, 0), (10, 0), (-10, 0), (0, 8), (0, -8), (16, 5), (-16, 5), (5, -5))
    chosen = []
    for k in range(views):
        coefficients = 0.6 * rng.standard_normal(40) if k else np.zeros(40)
        mouth_open = k % 2 == 1  # the inner lips are only told apart on an open mouth
        expression = np.zeros(len(head.expression_names))
        if mouth_open:
            expression[head.expression_names.index("jawOpen")] = rng.uniform(0.3, 0.6)
        shape = head.shape(coefficients, expression).astype(np.float64)
        chosen.append(View(shape, *poses[k // 2 % len(poses)], mouth_open))
    found = find_landmarks(
        chosen,
        head.mean_vertices.astype(np.float64),
        head.opaque_triangles,
        head.triangle_part,
        colour,
        head.part_names,
    )
    return on_lip_rims(found, head)
