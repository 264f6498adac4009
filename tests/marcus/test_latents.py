"""Packing and positions are those of diffusers' LongCat pipeline."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("diffusers")

from backend.marcus.latents import pack, position_ids, unpack


def test_packing_is_the_pipelines():
    from diffusers import LongCatImageEditPipeline

    latents = torch.randn(2, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    tokens = pack(latents)
    torch.testing.assert_close(tokens, LongCatImageEditPipeline._pack_latents(latents, 2, 4, 6, 8))
    torch.testing.assert_close(unpack(tokens, (3, 4)), latents)


@pytest.mark.parametrize("condition", [True, False])
def test_positions_are_the_pipelines(condition):
    from diffusers.pipelines.longcat_image.pipeline_longcat_image_edit import prepare_pos_ids

    text, image = position_ids(7, (2, 3), condition=condition)
    parts = [
        prepare_pos_ids(modality_id=k, type="image", start=(7, 7), height=2, width=3)
        for k in ((1, 2) if condition else (1,))
    ]
    torch.testing.assert_close(text.float(), prepare_pos_ids(modality_id=0, type="text", num_token=7))
    torch.testing.assert_close(image.float(), torch.cat(parts))
