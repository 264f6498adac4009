"""The networks that the MSSF encoder stands on, from files as their publishers save them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from transformers import (
    ConvNextV2Config,
    ConvNextV2ForImageClassification,
    DINOv3ConvNextConfig,
    DINOv3ConvNextModel,
)

from backend.errors import BadWeights, Missing
from backend.marcus.geometry.mssf import MssfConfig, MssfRegressor
from backend.marcus.training.networks import load_backbones

DIMS, DEPTHS = (8, 16, 24, 32), (1, 1, 2, 1)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    torch.manual_seed(3)
    trunk = ConvNextV2ForImageClassification(
        ConvNextV2Config(hidden_sizes=list(DIMS), depths=list(DEPTHS), num_labels=5)
    )
    trunk.save_pretrained(root / "trunk")
    DINOv3ConvNextModel(DINOv3ConvNextConfig(hidden_sizes=list(DIMS), depths=list(DEPTHS))).save_pretrained(
        root / "dino"
    )
    (root / "pickled").mkdir()
    torch.save(trunk.state_dict(), root / "pickled" / "pytorch_model.bin")
    return root


def encoder() -> MssfRegressor:
    return MssfRegressor(MssfConfig((3, 2, 2, 3, 27, 2, 1), DIMS, DEPTHS, DIMS, DEPTHS, 16)).eval()


@pytest.mark.parametrize("form", ["trunk", "pickled"])
@torch.no_grad()
def test_both_see_what_the_published_ones_see(form: str, published: Path) -> None:
    model = encoder()
    load_backbones(model, published / form, published / "dino")
    rgb = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    theirs = ConvNextV2ForImageClassification.from_pretrained(published / "trunk").eval()
    wanted = theirs.convnextv2(rgb, output_hidden_states=True).hidden_states[-1]
    x = model.trunk.embeddings(rgb)
    for stage in model.trunk.encoder.stages:
        x = stage(x)
    torch.testing.assert_close(x, wanted)
    dino = DINOv3ConvNextModel.from_pretrained(published / "dino").eval()
    wanted = dino(rgb, output_hidden_states=True).hidden_states[-1]
    d = rgb
    for stage in model.dinov3.model.stages:
        d = stage(d)
    torch.testing.assert_close(d, wanted)
    assert not any(p.requires_grad for p in model.dinov3.parameters())


def test_absent_and_other_ones_are_told(published: Path, tmp_path: Path) -> None:
    with pytest.raises(Missing, match="weights fetch convnextv2"):
        load_backbones(encoder(), tmp_path, published / "dino")
    with pytest.raises(Missing, match="weights fetch dinov3"):
        load_backbones(encoder(), published / "trunk", tmp_path / "none")
    other = MssfRegressor(MssfConfig((3, 2, 2, 3, 27, 2, 1), (8, 16, 24, 40), DEPTHS, DIMS, DEPTHS, 16))
    with pytest.raises(BadWeights, match="another model"):
        load_backbones(other, published / "trunk", published / "dino")


@pytest.mark.slow
def test_the_papers_recipe_does_not_begin_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from cli_runs import run_failing
    from synthetic_set import make_here

    from backend.training.recipe import read_recipe, written

    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tmp_path / "weights"))
    make_here(tmp_path / "set")
    recipe = tmp_path / "paper.yaml"
    recipe.write_text(written(read_recipe("geometry", "paper")).replace("face-network", "pyramid"))
    asked = ["train", "geometry", "--set", tmp_path / "set", "-o", tmp_path / "out", "--recipe", recipe]
    run_failing([*asked, "--cpu"], 3, capfd, "weights fetch convnextv2")
    assert not (tmp_path / "out").exists()
