"""LongCat-Image-Edit in miniature, with random weights, in the published folder layout.

For tests, and for training recipes that run on any machine. Nothing in it has learned anything.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backend.marcus.longcat import TINY, TransformerConfig, build_transformer

_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)


def tiny_transformer(config: TransformerConfig = TINY, *, seed: int = 0) -> nn.Module:
    """The miniature transformer: 1 + 2 blocks, 32 wide."""
    return build_transformer(config, seed=seed)


def tiny_vae(*, seed: int = 1) -> Any:
    """An AutoencoderKL of LongCat's kind: 8 pixels to a latent pixel, 16 channels."""
    from diffusers import AutoencoderKL

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        vae: Any = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 16, 16),
            layers_per_block=1,
            latent_channels=TINY.channels // 4,
            norm_num_groups=4,
            sample_size=64,
            scaling_factor=0.3611,
            shift_factor=0.1159,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
    return vae.eval()


def tiny_tokenizer() -> Any:
    """A tokenizer of bytes with Qwen's special tokens."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import Qwen2Tokenizer

    letters = sorted(ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(letters)}
    tokenizer: Any = Qwen2Tokenizer(vocab=vocabulary, merges=[])
    tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL)})
    return tokenizer


def tiny_text_encoder(tokenizer: Any, *, seed: int = 2) -> Any:
    """A Qwen2.5-VL of one layer, 32 wide, that knows ``tokenizer``'s tokens."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": TINY.text_dim,
            "intermediate_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "vocab_size": len(tokenizer),
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4},
            "bos_token_id": ids["<|endoftext|>"],
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
        },
        vision_config={
            "depth": 1,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": TINY.text_dim,
            "fullatt_block_indexes": [0],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Qwen2_5_VLForConditionalGeneration(config).eval()


def write_longcat(folder: Path, *, seed: int = 0) -> None:
    """The five component folders of LongCat-Image-Edit under ``folder``."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    tokenizer = tiny_tokenizer()
    transformer: Any = tiny_transformer(seed=seed)
    transformer.save_pretrained(folder / "transformer")
    tiny_vae(seed=seed + 1).save_pretrained(folder / "vae")
    tiny_text_encoder(tokenizer, seed=seed + 2).save_pretrained(folder / "text_encoder")
    tokenizer.save_pretrained(folder / "tokenizer")
    Qwen2VLImageProcessorPil().save_pretrained(folder / "text_processor")
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    scheduler.save_pretrained(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "LongCatImageEditPipeline"}))
