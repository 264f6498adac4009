"""The diffusion stages on a tiny LongCat, against diffusers' own pipeline and against themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.artifacts import Description
from backend.errors import BadWeights, Cancelled, Missing
from backend.marcus.cascade import Cascade, Sampling, turbo
from backend.marcus.models import Models
from backend.marcus.placement import Placement
from backend.marcus.prompts import negative, prompt
from backend.marcus.release import LONGCAT, Release

CPU = Placement(torch.device("cpu"), torch.float32, staged=False)
CAPTIONS = Description("a woman of forty, soft light from the left", "a woman of forty")
FEW = Sampling(steps=3)
SIDE = 64


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.random((SIDE, SIDE, 3)).astype(np.float32)


@pytest.fixture
def cascade(weights: Path):
    def make(placement: Placement = CPU, sampling: Sampling = FEW) -> Cascade:
        return Cascade(Models(weights / LONGCAT, placement), Release(weights), sampling)

    return make


def silent(fraction: float) -> None:
    return None


def test_homogenising_is_diffusers_pipeline_with_the_peft_adapter(cascade, weights, picture, monkeypatch):
    from diffusers import LongCatImageEditPipeline
    from diffusers.pipelines.longcat_image import pipeline_longcat_image_edit as module
    from PIL import Image

    from backend.marcus.adapters import load_adapter

    eight_bit = np.rint(picture * 255).astype(np.uint8)
    ours = cascade().homogenise(eight_bit.astype(np.float32) / 255, CAPTIONS, 7, silent)

    monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: (SIDE, SIDE))
    models = Models(weights / LONGCAT, CPU)
    with models.text() as text, models.transformer() as transformer, models.vae() as vae:
        load_adapter(transformer, "delight", Release(weights).homogenise())
        from diffusers import FlowMatchEulerDiscreteScheduler

        pipeline = LongCatImageEditPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler.from_pretrained(weights / LONGCAT / "scheduler"),
            vae=vae,
            text_encoder=text.model,
            tokenizer=text._tokenizer,
            text_processor=text._pipeline.text_processor,
            transformer=transformer,
        )
        pipeline.set_progress_bar_config(disable=True)
        noise = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(7))
        theirs = pipeline(
            image=Image.fromarray(eight_bit),
            prompt=prompt("homogenise", CAPTIONS.unlit),
            negative_prompt=negative("homogenise"),
            num_inference_steps=FEW.steps,
            guidance_scale=2.0,
            latents=LongCatImageEditPipeline._pack_latents(noise, 1, 16, 8, 8),
            output_type="np",
        ).images[0]
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_joint_stage_is_deterministic_and_follows_the_seed(cascade, picture):
    made = cascade()
    first, again, other = (made.materials(picture, CAPTIONS, seed, silent) for seed in (1, 1, 2))
    for name in ("albedo_srgb", "normal", "rsd"):
        a, b, c = (getattr(one, name) for one in (first, again, other))
        assert a.shape == (SIDE, SIDE, 3)
        assert a.min() >= 0
        assert a.max() <= 1
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - c).max() > 1e-3
    assert np.abs(first.albedo_srgb - first.normal).max() > 1e-3


def test_guidance_in_one_batch_is_guidance_in_two_passes(cascade, picture):
    one = cascade(replace(CPU, batched_guidance=True)).materials(picture, CAPTIONS, 1, silent)
    two = cascade().materials(picture, CAPTIONS, 1, silent)
    np.testing.assert_allclose(one.albedo_srgb, two.albedo_srgb, atol=1e-4)
    np.testing.assert_allclose(one.rsd, two.rsd, atol=1e-4)


def test_guidance_interval_saves_passes_only_outside_it(cascade, picture, monkeypatch):
    calls = []
    from backend.marcus import cascade as module

    plain = module.predict
    monkeypatch.setattr(module, "predict", lambda *a: calls.append(a[3]) or plain(*a))
    cascade().homogenise(picture, CAPTIONS, 1, silent)
    assert len(calls) == 6
    calls.clear()
    cascade(sampling=replace(FEW, guided_to=0.9)).homogenise(picture, CAPTIONS, 1, silent)
    assert len(calls) == 5  # the first level is 1
    calls.clear()
    cascade().inpaint(picture, CAPTIONS, 1, silent)
    assert len(calls) == 3  # guidance 1 needs no second pass


def test_the_transformer_is_as_before_after_every_stage(cascade, picture):
    made = cascade()
    with made._models.transformer() as transformer:
        before = {k: v.clone() for k, v in transformer.state_dict().items()}
    made.inpaint(picture, CAPTIONS, 1, silent)
    made.materials(picture, CAPTIONS, 1, silent)
    after = transformer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)


@pytest.mark.slow
def test_compiled_stages_draw_the_same(cascade, weights, picture):
    """Through torch.compile: with an adapter merged, with the branches beside, guided and not."""
    torch._dynamo.reset()
    fast = Cascade(Models(weights / LONGCAT, CPU, compiled=True), Release(weights), FEW)
    plain = cascade()
    for stage in ("inpaint", "homogenise"):
        made, wanted = (getattr(one, stage)(picture, CAPTIONS, 1, silent) for one in (fast, plain))
        np.testing.assert_allclose(made, wanted, atol=1e-3)
    made, wanted = (one.materials(picture, CAPTIONS, 1, silent) for one in (fast, plain))
    np.testing.assert_allclose(made.albedo_srgb, wanted.albedo_srgb, atol=1e-3)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def test_fp8_stages_draw_nearly_the_same(cascade, picture):
    eight, whole = (cascade(replace(CPU, fp8=on)) for on in (True, False))
    a, b = (one.homogenise(picture, CAPTIONS, 1, silent) for one in (eight, whole))
    assert 0 < np.abs(a - b).mean() < 0.05
    a, b = (one.materials(picture, CAPTIONS, 1, silent).albedo_srgb for one in (eight, whole))
    assert 0 < np.abs(a - b).mean() < 0.05


def test_eight_bit_weights_change_little(cascade, picture):
    whole = cascade().homogenise(picture, CAPTIONS, 1, silent)
    small = cascade(replace(CPU, eight_bit=True, staged=True)).homogenise(picture, CAPTIONS, 1, silent)
    assert 0 < np.abs(whole - small).mean() < 0.05


def test_cancelled_between_steps_and_previews_told(cascade, picture):
    seen = []

    def stop(fraction: float) -> None:
        if fraction > 0.4:
            raise Cancelled("cancelled")

    made = cascade()
    with pytest.raises(Cancelled):
        made.homogenise(picture, CAPTIONS, 1, stop, seen.append)
    assert len(seen) == 1
    assert seen[0].shape == (SIDE // 8, SIDE // 8, 3)
    with made._models.transformer() as transformer:  # nothing of the adapter is left after the stop
        whole = Models(made._models.base, CPU)
        with whole.transformer() as fresh:
            assert all(
                torch.equal(a, b)
                for a, b in zip(transformer.state_dict().values(), fresh.state_dict().values(), strict=True)
            )


def test_captions_are_the_same_each_time(cascade, picture):
    made = cascade()
    assert made.describe(picture) == made.describe(picture)


def test_absent_and_wrong_weights_are_told(tmp_path: Path, cascade, weights, picture):
    empty = Cascade(Models(weights / LONGCAT, CPU), Release(tmp_path), FEW)
    with pytest.raises(Missing, match=r"inpainting LoRA .*weights fetch marcus"):
        empty.inpaint(picture, CAPTIONS, 1, silent)
    folder = tmp_path / LONGCAT / "transformer"
    folder.mkdir(parents=True)
    with pytest.raises(Missing, match=r"config\.json"), Models(tmp_path / LONGCAT, CPU).transformer():
        pass
    (folder / "config.json").write_text('{"_class_name": "FluxTransformer2DModel"}')
    with (
        pytest.raises(BadWeights, match="holds a FluxTransformer2DModel"),
        Models(tmp_path / LONGCAT, CPU).transformer(),
    ):
        pass


def test_turbo_takes_few_steps_and_says_so():
    assert turbo(Sampling(), distilled=True).steps == 8
    few = turbo(Sampling(), distilled=False)
    assert few.solver == "adams2"
    assert few.label == "10 steps adams2, guided in σ 0.3–0.95"
