"""The texts of the diffusion stages (``prompts.toml``), and captions made fit to stand in them."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

Stage = Literal["inpaint", "homogenise", "albedo", "normal", "rsd"]
CaptionKind = Literal["lit", "unlit"]

PLAIN_CAPTION = "a person"  # where nothing is left of a caption


def prompt(stage: Stage, caption: str) -> str:
    """The text for ``stage`` about the face that ``caption`` describes."""
    header: str = _texts()["header"]["text"].format(caption=clean_caption(caption))
    return f"{header}. {_texts()['stage'][stage]['text']}."


def negative(stage: Stage) -> str:
    """What the picture of ``stage`` shall not be."""
    text: str = _texts()["negative"][_texts()["stage"][stage]["negative"]]
    return text


def caption_kind(stage: Stage) -> CaptionKind:
    """Whether the caption for ``stage`` speaks of the light."""
    kind: CaptionKind = _texts()["stage"][stage]["caption"]
    return kind


def caption_instruction(kind: CaptionKind) -> str:
    """What the captioner is asked."""
    text: str = _texts()["caption"][kind]
    return text


def clean_caption(caption: str) -> str:
    """One line without quotation marks and without phrases about the picture instead of the face."""
    text = " ".join(without_quotes(caption).split())
    for phrase in _texts()["clean"]["drop"]:
        text = re.sub(rf"\b{re.escape(phrase)}\b", "", text, flags=re.IGNORECASE)
    parts = [" ".join(part.split()) for part in re.split(r"[,.;]", text)]
    return ", ".join(part for part in parts if part) or PLAIN_CAPTION


def without_quotes(text: str) -> str:
    """LongCat tokenises quoted text letter by letter: apostrophes stay only inside words."""
    text = text.replace("’", "'").replace("‘", "'")
    return re.sub(r"[\"“”]|(?<![A-Za-z])'|'(?![A-Za-z])", "", text)


@cache
def _texts() -> dict[str, Any]:
    return tomllib.loads((Path(__file__).parent / "prompts.toml").read_text(encoding="utf-8"))
