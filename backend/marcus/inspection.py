"""What the publication leaves open, answered by its files (facts sheet, section 13), and kept beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from backend.artifacts import F32
from backend.errors import BadInput, LikenessError, Missing
from backend.marcus.adapters import CONFIG, WEIGHTS, Adapter, read_adapter
from backend.marcus.lora_bank import BRANCHES, PREFIX, parse_published
from backend.marcus.release import Release
from backend.weights.components import read_json
from backend.weights.download import file_sha256
from backend.weights.reading import read_safetensors, safetensors_header

FILE = "inspection.json"
LEAST_CORRELATION = 0.05
COMPARED = 12  # Linears whose branches are compared with the sequential adapters
_SEQUENTIAL = {"albedo": "lora_albedo", "normal": "lora_normal", "rsd": "lora_rsd"}


def inspect(root: Path, avatar: Path | None = None) -> dict[str, str]:
    """Questions and answers; also written to ``inspection.json``. A part that is absent answers so.

    Raises: Missing (nothing of MARCUS is in ``root``), BadInput (``avatar`` is none), OSError.
    """
    release = Release(root)
    if not release.marcus.is_dir():
        raise Missing(f"no '{release.marcus}'; run `likeness weights fetch marcus`")
    answers = {
        "MSSF encoder published": "yes" if release.mssf().is_file() else "no; the ResNet-50 is used",
        "material LoRA files": _names(release.marcus / "ckpts" / "lora_align"),
        "deep3d_model sha256": _sha256(release.resnet()),
    }
    questions: dict[str, Callable[[Release], str]] = {
        "inpaint adapter": lambda r: _adapter_facts(r.inpaint()),
        "homogenise adapter": lambda r: _adapter_facts(r.homogenise()),
        "material LoRA": _bank_facts,
        "branch order": _branch_order,
        "model unit": _unit,
        "uv_idx_v_idx base": _index_base,
        "LongCat": _longcat,
    }
    for question, ask in questions.items():
        try:
            answers[question] = ask(release)
        except LikenessError as error:
            answers[question] = str(error)
    if avatar is not None:
        answers["normal green"] = _green_of(avatar)
    else:
        kept = _kept(release).get("normal green")
        answers["normal green"] = kept or "open; make an avatar with --head hifi3dpp and give it as --avatar"
    path = release.marcus / FILE
    path.write_text(json.dumps(answers, indent=2) + "\n", encoding="utf-8")
    return answers


def green_is_up(release: Release) -> bool:
    """Whether the normal map's green is +v: what was found by ``inspect``, OpenGL until then."""
    return not _kept(release).get("normal green", "").startswith("down")


def green_sign(normal: F32, displacement: F32) -> tuple[float, float]:
    """Correlations of green and red of tangent normals ``(S, S, 3)`` with −dh/d(up) and −dh/d(right).

    ``displacement`` ``(S, S)`` in any unit. Both positive is OpenGL; a negative first is DirectX.
    """
    down, right = np.gradient(displacement.astype(np.float64))
    detail = np.abs(down) + np.abs(right) > 0
    if detail.sum() < 16:
        return 0.0, 0.0
    green = float(np.corrcoef(normal[..., 1][detail], down[detail])[0, 1])  # −dh/d(up) = dh/d(row)
    red = float(np.corrcoef(normal[..., 0][detail], -right[detail])[0, 1])
    return green, red


def structure_problems(root: Path) -> list[str]:
    """What in the fetched files does not fit together, one line each: read from headers, no weights."""
    from backend.marcus.longcat import TransformerConfig, build_transformer
    from backend.marcus.lora_bank import install_bank, published_rank

    release = Release(root)
    problems = []
    try:
        config = read_json(release.base() / "transformer" / "config.json")
        defaults = TransformerConfig()
        sizes = TransformerConfig(
            layers=config.get("num_layers", defaults.layers),
            single_layers=config.get("num_single_layers", defaults.single_layers),
            heads=config.get("num_attention_heads", defaults.heads),
            head_dim=config.get("attention_head_dim", defaults.head_dim),
            channels=config.get("in_channels", defaults.channels),
            text_dim=config.get("joint_attention_dim", defaults.text_dim),
            rope_axes=tuple(config.get("axes_dims_rope", defaults.rope_axes)),
        )
        with torch.device("meta"):
            transformer = build_transformer(sizes)
    except LikenessError as error:
        return [str(error)]
    from backend.marcus.adapters import check_adapter

    for find in (release.inpaint, release.homogenise):
        try:
            check_adapter(transformer, read_adapter(find()), find())
        except LikenessError as error:
            problems.append(str(error))
    try:
        path = release.materials()
        header = safetensors_header(path)
        shapes = {key: torch.empty(shape, device="meta") for key, (_, shape) in header.items()}
        with torch.device("meta"):
            bank = install_bank(transformer, rank=published_rank(shapes))
        bank.load_published(shapes)
    except LikenessError as error:
        problems.append(str(error))
    return problems


def _adapter_facts(folder: Path) -> str:
    adapter, config = read_adapter(folder), read_json(folder / CONFIG)
    header = safetensors_header(folder / WEIGHTS)
    numbers = sum(int(np.prod(shape)) for _, shape in header.values())
    kinds = "/".join(sorted({kind for kind, _ in header.values()}))
    return (
        f"{folder.name}: r {adapter.rank}, lora_alpha {config.get('lora_alpha')}, scale {adapter.scale:g}, "
        f"{len(adapter.factors)} layers, {numbers:,} numbers, {kinds}"
    )


def _bank_facts(release: Release) -> str:
    path = release.materials()
    header = safetensors_header(path)
    shapes = {key: torch.empty(shape, device="meta") for key, (_, shape) in header.items()}
    parts = parse_published(shapes)
    prefix = f"prefix '{PREFIX}'" if all(k.startswith(PREFIX) for k in header) else "no prefix"
    numbers = sum(t.numel() for t in parts.values())
    kinds = "/".join(sorted({kind for kind, _ in header.values()}))
    return (
        f"{path.name}: {prefix}, {len(parts)} LoRA tensors, {len(header) - len(parts)} extra keys, "
        f"{numbers:,} numbers, {kinds}"
    )


def _branch_order(release: Release) -> str:
    """Each branch against the sequential adapters of albedo, normal and rsd, where those were published."""
    folders = {b: release.marcus / "ckpts" / name / "transformer" for b, name in _SEQUENTIAL.items()}
    if not all((folder / CONFIG).is_file() for folder in folders.values()):
        return f"{', '.join(BRANCHES)} as the release unpacks them; no sequential adapters to compare with"
    parts = parse_published(read_safetensors(release.materials()))
    adapters = {b: read_adapter(folder) for b, folder in folders.items()}
    layers = sorted({name for name, _, _ in parts})[:: max(1, len(parts) // 6 // COMPARED)]
    likeness = np.zeros((3, 3))
    for row in range(3):
        for column, branch in enumerate(BRANCHES):
            likeness[row, column] = np.mean([_cosine(parts, adapters[branch], n, row) for n in layers])
    order = [BRANCHES[k] for k in likeness.argmax(1)]
    worst = float((np.sort(likeness, 1)[:, -1] - np.sort(likeness, 1)[:, -2]).min())
    agrees = "as expected" if tuple(order) == BRANCHES else "NOT as expected"
    return f"{', '.join(order)} ({agrees}; least lead in cosine {worst:.3f})"


def _cosine(parts: dict[tuple[str, int, str], Tensor], adapter: Adapter, layer: str, branch: int) -> float:
    """Cosine of up·down and B·A without forming them: tr(AᵀBᵀ·UD) by the small matrices."""
    if layer not in adapter.factors:
        return 0.0
    down, up = (parts[layer, branch, side].float() for side in ("down", "up"))
    a, b = (t.float() for t in adapter.factors[layer])
    dot = float(((b.T @ up) * (a @ down.T)).sum())
    own = float(((up.T @ up) * (down @ down.T)).sum().sqrt())
    other = float(((b.T @ b) * (a @ a.T)).sum().sqrt())
    return dot / max(own * other, 1e-12)


def _unit(release: Release) -> str:
    from backend.head.hifi3dpp import load_hifi3dpp

    head = load_hifi3dpp(release.head_model)
    height = float(np.ptp(head.mean_vertices[:, 1]))
    fits = "decimetres fit" if 0.2 < height < 0.5 else "NOT decimetres"
    return f"the mean head is {10 * height:.2f} units high; {fits}"


def _index_base(release: Release) -> str:
    from scipy.io import loadmat

    path = release.topology / "unwrap_1024_info.mat"
    if not path.is_file():
        return "unwrap_1024_info.mat is not here; charts are rasterised, it is not needed"
    top = int(loadmat(path, variable_names=["uv_idx_v_idx"])["uv_idx_v_idx"].max())
    return f"largest index {top}: {'0-based' if top <= 20480 else '1-based'}"


def _longcat(release: Release) -> str:
    config = read_json(release.base() / "transformer" / "config.json")
    vae = read_json(release.base() / "vae" / "config.json")
    scheduler = read_json(release.base() / "scheduler" / "scheduler_config.json")
    return (
        f"{config.get('num_layers')} + {config.get('num_single_layers')} blocks, VAE scaling "
        f"{vae.get('scaling_factor')} shift {vae.get('shift_factor')}, dynamic shifting "
        f"{scheduler.get('use_dynamic_shifting')} {scheduler.get('base_shift')}–{scheduler.get('max_shift')}"
    )


def _green_of(avatar: Path) -> str:
    from PIL import Image

    try:
        with Image.open(avatar / "maps" / "normal.png") as picture:
            normal = np.asarray(picture.convert("RGB"), np.float32) / 127.5 - 1
        with Image.open(avatar / "maps" / "displacement.png") as picture:
            displacement = np.asarray(picture, np.float32)
    except OSError as error:
        raise BadInput(
            f"'{avatar}' is no avatar folder with normal and displacement maps ({error})"
        ) from error
    green, red = green_sign(normal, displacement)
    figures = f"correlation with the relief {green:+.2f} in green, {red:+.2f} in red"
    if abs(green) < LEAST_CORRELATION or red < LEAST_CORRELATION:
        return f"open; {figures} settles nothing"
    return f"{'up (OpenGL)' if green > 0 else 'down (DirectX)'}; {figures}"


def _kept(release: Release) -> dict[str, str]:
    path = release.marcus / FILE
    return {k: str(v) for k, v in read_json(path).items()} if path.is_file() else {}


def _names(folder: Path) -> str:
    return ", ".join(sorted(p.name for p in folder.glob("*.safetensors"))) or "none"


def _sha256(path: Path) -> str:
    return file_sha256(path) if path.is_file() else "not here"
