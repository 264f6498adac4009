"""What a user does, from the command line: fetch the weights from a host, then reconstruct with them.

The weights are tiny and random, in the published layout; what they draw is noise.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from portraits import astronaut, save
from weight_host import Host, files_in

from backend.cli import main
from backend.marcus.inspection import FILE
from blender_addon import bundle
from blender_addon.bundle import MAP_NAMES

CAPTION = "a smiling woman of forty with fair skin"
LARGE = (".safetensors", ".pth", ".mat")
MARCUS, LONGCAT = "luh0502/MARCUS-Avatar", "meituan-longcat/LongCat-Image-Edit"
pytestmark = pytest.mark.slow

OPENED = """
import bpy, json, sys
bpy.ops.wm.open_mainfile(filepath=sys.argv[1])
meshes = [o for o in bpy.data.objects if o.type == "MESH"]
keys = {k.name for o in meshes if o.data.shape_keys for k in o.data.shape_keys.key_blocks}
images = {i.name: tuple(i.size) for i in bpy.data.images}
print("FOUND", json.dumps([sum(len(o.data.vertices) for o in meshes), sorted(keys), len(images)]))
"""


@pytest.fixture(scope="module")
def host(release: Path):
    marcus, longcat = files_in(release / "marcus"), files_in(release / "longcat-image-edit")
    large = frozenset(name for name in (*marcus, *longcat) if name.endswith(LARGE))
    made = Host(MARCUS, marcus, large)
    made.also = {LONGCAT: longcat}
    yield made
    made.close()


@pytest.fixture(scope="module")
def fetched(host: Host, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("user") / "weights"
    asked = ["weights", "fetch", "marcus", "--folder", str(root), "--mirror", host.url, "--accept-licence"]
    assert main(asked) == 0
    return root


def test_what_was_fetched_is_whole_and_answers(fetched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "verify", "marcus", "--folder", str(fetched)]) == 0
    assert main(["weights", "inspect", "marcus", "--folder", str(fetched)]) == 0
    told = capsys.readouterr().out
    assert "decimetres fit" in told
    assert json.loads((fetched / "marcus" / FILE).read_text())["LongCat"].startswith("1 + 2 blocks")
    assert main(["weights", "list", "--json", "--folder", str(fetched)]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["weights"]}
    assert rows["marcus"]["here"]
    assert rows["longcat-image-edit"]["accepted"]
    assert not rows["real-esrgan"]["here"]


@pytest.mark.blend
def test_a_photo_becomes_an_avatar_that_blender_opens(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("bpy")
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(fetched))
    photo = save(astronaut(), tmp_path / "astronaut.png")
    out = tmp_path / "out"
    asked = ["reconstruct", str(photo), "-o", str(out), "--engine", "marcus", "--maps", "512", "--splats"]
    assert main([*asked, "--turbo", "--fp8", "--caption", CAPTION, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert told["engine"] == "marcus"
    assert any("Real-ESRGAN is not fetched" in warning for warning in told["warnings"])
    folder = out / "astronaut"
    made = bundle.read_bundle(folder)
    assert made.manifest.engine == "marcus"
    assert "turbo, FP8, 10 steps adams2" in made.manifest.stages[5].implementation
    named = {w.name for w in made.manifest.weights}
    assert "marcus/ckpts/lora_align/33000.safetensors" in named
    assert any(name.startswith("longcat-image-edit/transformer/") for name in named)
    assert all((folder / "maps" / f"{name}.png").is_file() for name in MAP_NAMES)
    assert (folder / "splats.ply").stat().st_size > 10_000

    glb = (folder / "avatar.glb").read_bytes()
    length, kind = struct.unpack_from("<II", glb, 12)
    assert (glb[:4], kind) == (b"glTF", 0x4E4F534A)
    scene = json.loads(glb[20 : 20 + length])
    assert any(mesh["primitives"][0].get("targets") for mesh in scene["meshes"])
    assert scene["materials"]

    run = subprocess.run(
        [sys.executable, "-c", OPENED, str(folder / "avatar.blend")],
        capture_output=True,
        text=True,
        timeout=300,
    )
    found = next(line for line in run.stdout.splitlines() if line.startswith("FOUND "))
    vertices, keys, images = json.loads(found.removeprefix("FOUND "))
    assert vertices >= len(made.mesh.vertices_neutral_head)
    assert set(made.manifest.expression) <= set(keys)
    assert len(made.manifest.expression) == 52
    assert images >= 5

    picture = tmp_path / "lit.png"
    assert main(["render", str(folder), "-o", str(picture)]) == 0
    from PIL import Image

    with Image.open(picture) as image:
        assert np.asarray(image.convert("L"), np.float32).std() > 5


def test_other_ways_through_the_engine(
    fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its own head without an open one, a captioner's words, guidance in an interval."""
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(fetched))
    photo = save(astronaut(), tmp_path / "astronaut.png")
    asked = ["reconstruct", str(photo), "-o", str(tmp_path / "raw"), "--engine", "marcus", "--no-blend"]
    asked += ["--maps", "512", "--head", "hifi3dpp", "--guidance-interval", "0.3", "0.9"]
    assert main(asked) == 0
    made = bundle.read_bundle(tmp_path / "raw" / "astronaut")
    assert made.manifest.head == "hifi3dpp"
    assert "guided in σ 0.3–0.9" in made.manifest.stages[5].implementation
    assert main(["weights", "inspect", "marcus", "--avatar", str(tmp_path / "raw" / "astronaut")]) == 0
    assert "normal green: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--same-person"], 2, "--same-person is not for the marcus engine"),
        (["--guidance-interval", "0.9", "0.3"], 2, "LOW < HIGH"),
        (["--turbo", "--guidance-interval", "0.1", "0.3"], 2, "of its own"),
    ],
)
def test_what_does_not_go_is_one_line(
    options: list[str],
    code: int,
    words: str,
    fetched: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(fetched))
    photos = [str(save(astronaut(), tmp_path / name)) for name in ("a.png", "b.png")]
    asked = [
        "reconstruct",
        *photos,
        "-o",
        str(tmp_path / "out"),
        "--engine",
        "marcus",
        "--no-blend",
        *options,
    ]
    assert main(asked) == code
    err = capsys.readouterr().err.strip().splitlines()
    assert len(err) == 1
    assert words in err[0]
    assert not (tmp_path / "out").exists()


def test_pins_are_refused_before_any_work(fetched: Path, tmp_path: Path) -> None:
    from backend import pipeline
    from backend.corrections import Corrections, Pin
    from backend.errors import BadInput
    from backend.marcus.engine import marcus_engine
    from backend.marcus.options import MarcusOptions

    photo = save(astronaut(), tmp_path / "a.png")
    engine = marcus_engine(MarcusOptions(caption=CAPTION, weights=fetched), "asked for")
    with pytest.raises(BadInput, match="not for the marcus engine"):
        pipeline.reconstruct(photo, engine=engine, corrections=Corrections(pins=(Pin(1, 250.0, 100.0),)))
