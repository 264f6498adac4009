"""LongCat's three networks in memory: loaded when first wanted, and on the device while they work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from backend.errors import BadWeights, Missing
from backend.marcus.conditioning import TextEncoder
from backend.marcus.flow import Shift
from backend.marcus.placement import Placement
from backend.weights.components import load_diffusers, read_json

T = TypeVar("T")

# Layers whose weights stay at full precision with 8-bit storage: they are small and scale everything else.
_KEPT_WHOLE = ("norm", "time_embed", "embedder", r"^proj_out", "patch_embed", "lm_head", "embed_tokens")


class Models:
    """One transformer, one VAE, one Qwen2.5-VL. With ``placement.staged`` one is on the device at a time.

    ``compiled``: the transformer's blocks go through torch.compile, once for each of its forms (with an
    adapter merged, with the branches beside it) and batch; that needs a C++ compiler, on CUDA Triton.
    """

    def __init__(self, base: Path, placement: Placement, compiled: bool = False) -> None:
        self.base = base
        self.placement = placement
        self.compiled = compiled
        self._loaded: dict[str, Any] = {}

    @contextmanager
    def text(self) -> Iterator[TextEncoder]:
        """Qwen2.5-VL on the device. Raises: Missing, BadWeights."""
        encoder = self._once("text", lambda: _load_text(self.base, self.placement))
        with self._placed(encoder.model):
            yield encoder

    @contextmanager
    def transformer(self) -> Iterator[nn.Module]:
        """The transformer on the device. Raises: Missing, BadWeights."""
        model = self._once("transformer", self._load_transformer)
        with self._placed(model):
            yield model

    @contextmanager
    def vae(self) -> Iterator[Any]:
        """The VAE on the device. Raises: Missing, BadWeights."""
        model = self._once("vae", self._load_vae)
        with self._placed(model):
            yield model

    def shift(self) -> Shift:
        """The noise schedule of ``scheduler_config.json``. Raises: Missing, BadWeights."""
        path = self.base / "scheduler" / "scheduler_config.json"
        config = read_json(path)
        if config.get("time_shift_type", "exponential") != "exponential":
            raise BadWeights(
                f"'{path}' asks for {config['time_shift_type']} shifts; only exponential is known"
            )
        if not config.get("use_dynamic_shifting", False):
            raise BadWeights(f"'{path}' has no resolution-dependent shift; it belongs to another model")
        plain = Shift()
        return Shift(
            config.get("base_shift", plain.base),
            config.get("max_shift", plain.top),
            config.get("base_image_seq_len", plain.base_tokens),
            config.get("max_image_seq_len", plain.top_tokens),
        )

    def _load_transformer(self) -> Any:
        from diffusers import LongCatImageTransformer2DModel

        model = load_diffusers(
            LongCatImageTransformer2DModel, self.base / "transformer", self.placement.dtype
        )
        if self.compiled:
            for block in (*model.transformer_blocks, *model.single_transformer_blocks):
                block.compile()  # in place; equal blocks share what is compiled
        return _stored(model, self.placement)

    def _load_vae(self) -> Any:
        from diffusers import AutoencoderKL

        return load_diffusers(AutoencoderKL, self.base / "vae", self.placement.dtype)

    def _once(self, name: str, load: Callable[[], T]) -> T:
        if name not in self._loaded:
            self._loaded[name] = load()
        loaded: T = self._loaded[name]
        return loaded

    @contextmanager
    def _placed(self, model: nn.Module) -> Iterator[None]:
        model.to(self.placement.device)
        try:
            yield
        finally:
            if self.placement.staged:
                model.to("cpu")
                if self.placement.device.type == "cuda":
                    torch.cuda.empty_cache()


def _load_text(base: Path, placement: Placement) -> TextEncoder:
    from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    for part in ("text_encoder", "tokenizer", "text_processor"):
        if not (base / part).is_dir():
            raise Missing(f"no '{base / part}'; run `likeness weights fetch marcus`")
    try:
        model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            base / "text_encoder", dtype=placement.dtype, local_files_only=True, output_loading_info=True
        )
        tokenizer = Qwen2Tokenizer.from_pretrained(base / "tokenizer", local_files_only=True)
        images = Qwen2VLImageProcessorPil.from_pretrained(base / "text_processor", local_files_only=True)
    except Exception as error:  # transformers raises OSError, ValueError, SafetensorError, RuntimeError …
        first = str(error).strip().split("\n", 1)[0]
        raise BadWeights(f"Qwen2.5-VL in '{base}' cannot be loaded ({first}); fetch it again") from error
    for words, key in (
        ("lacks", "missing_keys"),
        ("has unknown", "unexpected_keys"),
        ("misfits", "mismatched_keys"),
    ):
        if report.get(key):
            raise BadWeights(
                f"'{base / 'text_encoder'}' {words} {len(report[key])} tensors, first "
                f"{min(map(str, report[key]))}; it is damaged or another model; fetch it again"
            )
    model.requires_grad_(False)
    return TextEncoder(_stored(model.eval(), placement), tokenizer, images)


def _stored(model: Any, placement: Placement) -> Any:
    """``model`` with its large matrices kept in 8 bits, if that is wanted; it computes as before."""
    if placement.eight_bit:
        from diffusers.hooks import apply_layerwise_casting

        apply_layerwise_casting(model, torch.float8_e4m3fn, placement.dtype, skip_modules_pattern=_KEPT_WHOLE)
    return model
