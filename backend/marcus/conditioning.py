"""Text and picture as LongCat's transformer is given them, and captions, by one Qwen2.5-VL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import LongCatImageEditPipeline
from PIL import Image
from torch import Tensor

from backend.artifacts import F32
from backend.marcus.prompts import without_quotes

MOST_TOKENS = 512  # of a prompt; longer ones crash diffusers' pipeline


@dataclass(frozen=True)
class _Processor:
    """What LongCat's pipeline takes of a Qwen2VLProcessor, whose video part needs torchvision."""

    image_processor: Any
    tokenizer: Any


class TextEncoder:
    """Qwen2.5-VL with its tokenizer and image processor. diffusers' pipeline keeps the template."""

    def __init__(self, model: Any, tokenizer: Any, image_processor: Any) -> None:
        self.model = model
        self._tokenizer = tokenizer
        self._images = image_processor
        self._pipeline = LongCatImageEditPipeline(
            scheduler=None,
            vae=None,
            text_encoder=model,
            tokenizer=tokenizer,
            text_processor=_Processor(image_processor, tokenizer),
            transformer=None,
        )

    @torch.no_grad()
    def encode(self, prompt: str, picture_srgb: F32) -> Tensor:
        """Embeddings ``(1, L, D)`` of ``prompt`` about ``picture_srgb`` ``(S, S, 3)`` in [0, 1].

        Qwen sees the picture at half its size. L is the same for all prompts: 838 at 1024.
        """
        side = picture_srgb.shape[0] // 2
        picture = as_pil(picture_srgb).resize((side, side), Image.Resampling.LANCZOS)
        embeddings: Tensor = self._pipeline.encode_prompt(prompt=self.fitted(prompt), image=picture)[0]
        return embeddings

    def fitted(self, prompt: str) -> str:
        """``prompt`` without quotation marks, and without the words beyond the 512th token."""
        words = without_quotes(prompt).split(" ")
        while len(words) > 1 and self._count(" ".join(words)) > MOST_TOKENS:
            over = self._count(" ".join(words)) - MOST_TOKENS
            words = words[: -max(1, over // 8)]
        return " ".join(words)

    def _count(self, text: str) -> int:
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.no_grad()
    def caption(self, picture_srgb: F32, instruction: str, most_tokens: int = 200) -> str:
        """What Qwen answers to ``instruction`` about the picture; always the same for the same input."""
        inputs = self._images(images=as_pil(picture_srgb), return_tensors="pt")
        places = int(inputs["image_grid_thw"].prod()) // self._images.merge_size**2
        text = (
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
            + "<|image_pad|>" * places
            + f"<|vision_end|>{instruction}<|im_end|>\n<|im_start|>assistant\n"
        )
        tokens = self._tokenizer(text, add_special_tokens=False, return_tensors="pt")
        image_token = self._tokenizer.convert_tokens_to_ids("<|image_pad|>")
        device = self.model.device
        written = self.model.generate(
            input_ids=tokens["input_ids"].to(device),
            attention_mask=tokens["attention_mask"].to(device),
            mm_token_type_ids=(tokens["input_ids"] == image_token).int().to(device),
            pixel_values=inputs["pixel_values"].to(device),
            image_grid_thw=inputs["image_grid_thw"].to(device),
            do_sample=False,
            max_new_tokens=most_tokens,
            eos_token_id=self._tokenizer.convert_tokens_to_ids("<|im_end|>"),
            pad_token_id=self._tokenizer.pad_token_id,
        )
        answer: str = self._tokenizer.decode(
            written[0, tokens["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answer.strip()


def as_pil(picture_srgb: F32) -> Image.Image:
    """A picture ``(H, W, 3)`` in [0, 1] with 8 bits."""
    return Image.fromarray(np.rint(np.clip(picture_srgb, 0, 1) * 255).astype(np.uint8))
