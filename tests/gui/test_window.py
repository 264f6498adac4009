"""The scenarios in the window of a real Blender, in each one that ``make gui-environment`` has prepared.

The screenshots stay in ``build/gui/screens/<suite>/<scenario>/`` to be looked at.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blender_addon.drive_file import DriveFile, Frame, VideoRecord, from_angles, write_drive

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = Path(os.environ.get("LIKENESS_GUI", ROOT / "build" / "gui"))
SUITES = ("trixie", "sid")  # Blender 4.3 and 5.2
SCENARIOS = {"install": 180, "head": 2400, "drive": 2400}  # time limits in seconds

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture(scope="module")
def zips() -> None:
    """The extension as it is now, with its wheels and for a distribution's Blender."""
    for option in ((), ("--without-wheels",)):
        subprocess.run([sys.executable, ROOT / "packaging" / "build_extension.py", *option], check=True)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the public-domain portrait of an astronaut."""
    data = pytest.importorskip("skimage.data", reason="scikit-image brings the portrait (extra `demo`)")
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    return folder


@pytest.fixture(scope="module")
def drivable(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the astronaut's avatar, its splats, and half a second of it opening its mouth."""
    folder = tmp_path_factory.mktemp("drivable")
    command = [sys.executable, "-c", "import sys, backend.cli; sys.exit(backend.cli.main())"]
    options = ["-o", folder, "--splats", "--maps", "512"]
    subprocess.run([*command, "reconstruct", photos / "astronaut.png", *options], cwd=ROOT, check=True)
    write_drive(folder / "take.json", yawn())
    avatar, clip = folder / "astronaut", folder / "clip.mp4"
    options = ["--splats", "--drive", folder / "take.json", "-o", clip]
    subprocess.run([*command, "render", avatar, *options], cwd=ROOT, check=True)
    return folder


def yawn() -> DriveFile:
    """Twelve frames: calm, the mouth wide open in the seventh, calm again; the head turns by 15°."""
    shares = [math.sin(math.pi * k / 12) ** 2 for k in range(12)]
    frames = tuple(
        Frame(
            time_s=k / 24,
            weights=(0.8 * share,),
            rotation=from_angles(math.radians(15) * share, 0.0, 0.0),
            translation_m=(0.0, 0.0, -0.8),
            gaze_deg=((0.0, 0.0), (0.0, 0.0)),
        )
        for k, share in enumerate(shares)
    )
    video = VideoRecord(name="made up")
    names = ("jawOpen",)
    return DriveFile(
        created_by="test", video=video, frames_per_second=24.0, expression_names=names, frames=frames
    )


def pixels(path: Path, region: dict[str, int] | None) -> np.ndarray:
    """A screenshot, or the part of it that ``region`` names, as float32 H×W×3 in [0, 1]."""
    with Image.open(path) as image:
        box = None if region is None else (region["left"], region["top"], region["right"], region["bottom"])
        return np.asarray(image.convert("RGB").crop(box), dtype=np.float32) / 255


def check_screens(result: dict[str, Any], folder: Path) -> None:
    """No screenshot is flat where something is to be seen, and what was to change has changed."""
    assert result["shots"], "the scenario took no screenshot"
    for shot in result["shots"]:
        shown = pixels(folder / f"{shot['name']}.png", shot["region"])
        assert shown.std() > 0.02, f"{shot['name']}.png shows nothing in {shot['region']}"
    for change in result["changes"]:
        before, after = (
            pixels(folder / f"{change[key]}.png", change["region"]) for key in ("before", "after")
        )
        changed = float((np.abs(before - after).max(axis=2) > 0.03).mean())
        assert changed > 0.01, (
            f"{change['before']} and {change['after']} look the same ({changed:.2%} differ)"
        )


@pytest.mark.usefixtures("zips")
@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, suite: str, request: pytest.FixtureRequest) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("the chroot of a real Blender needs root")
    if not (ENVIRONMENTS / suite / ".likeness-prepared").is_file():
        pytest.skip(f"no Blender from Debian {suite}: make gui-environment prepares it")
    given: Path = request.getfixturevalue("drivable" if scenario == "drive" else "photos")
    out = ENVIRONMENTS / "screens" / suite / scenario
    shutil.rmtree(out, ignore_errors=True)
    script = Path(__file__).with_name(f"scenario_{scenario}.py")
    done = subprocess.run(
        [ROOT / "packaging" / "gui" / "run.sh", script, out, given],
        env=os.environ | {"BLENDER": suite, "LIKENESS_GUI_LIMIT": str(SCENARIOS[scenario])},
        capture_output=True,
        text=True,
    )
    log = out / "blender.log"
    tail = log.read_text(errors="replace")[-3000:] if log.is_file() else done.stderr
    assert (out / "result.json").is_file(), f"Blender ended with {done.returncode}:\n{tail}"
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["ok"], f"at '{result['failed_step']}' (see {out}/failure.png):\n{result['error']}"
    assert done.returncode == 0, f"Blender ended with {done.returncode} while it quit:\n{tail}"
    check_screens(result, out)
