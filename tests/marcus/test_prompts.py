"""Texts for the stages, and captions made fit for them."""

from __future__ import annotations

import pytest

from backend.marcus.lora_bank import BRANCHES
from backend.marcus.prompts import caption_instruction, caption_kind, clean_caption, negative, prompt


@pytest.mark.parametrize("stage", ["inpaint", "homogenise", *BRANCHES])
def test_every_stage_has_texts_without_quotes(stage):
    text = prompt(stage, 'a "tall" man')
    assert "UV texture map of the face of a tall man" in text
    for one in (text, negative(stage), caption_instruction(caption_kind(stage))):
        assert '"' not in one
        assert "\n" not in one


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("A close-up portrait, young woman, 'smooth' skin.", "A, young woman, smooth skin"),
        ("woman's face,, black background ,\n freckles", "woman's face, freckles"),
        ("  “portrait” ", "a person"),
        ("a masked ball", "a masked ball"),  # whole words only
    ],
)
def test_captions_lose_what_is_not_the_face(said, kept):
    assert clean_caption(said) == kept
