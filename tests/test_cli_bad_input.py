"""Photographs and avatars that cannot be used: one line, an exit code, nothing left behind."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
from cli_runs import files_in, folder, run_failing, written
from portraits import astronaut, cat, save

from backend.export.bundle_writer import write_bundle

# --- photographs that cannot be used ---------------------------------------------------------------


def landscape() -> np.ndarray:
    """Sky over grass."""
    rows = np.linspace(0, 1, 400)[:, None, None]
    sky = np.array([90, 140, 220]) + rows * [110, 80, 20]
    grass = np.array([60, 120, 40]) + np.random.default_rng(0).normal(0, 12, (400, 600, 1))
    return np.clip(np.where(rows < 0.55, sky, grass), 0, 255).astype(np.uint8)


def cartoon() -> np.ndarray:
    """A drawn smiling face."""
    import cv2

    picture = np.full((480, 480, 3), (150, 200, 240), np.uint8)
    cv2.circle(picture, (240, 240), 170, (255, 215, 60), -1, cv2.LINE_AA)
    cv2.circle(picture, (240, 240), 170, (0, 0, 0), 5, cv2.LINE_AA)
    for x in (180, 300):
        cv2.ellipse(picture, (x, 195), (22, 34), 0, 0, 360, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, (x, 203), 12, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.ellipse(picture, (240, 275), (85, 55), 0, 15, 165, (160, 20, 20), 12, cv2.LINE_AA)
    return picture


def small_face() -> np.ndarray:
    """The astronaut at half size: the face is about 53 px."""
    import cv2

    return cv2.resize(astronaut(), (256, 256), interpolation=cv2.INTER_AREA)


def truncated_jpeg(path: Path) -> Path:
    save(astronaut(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def bomb_png(path: Path, side: int = 20_000) -> Path:
    """A PNG of a few bytes whose header claims ``side × side`` pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )
    return path


BAD_PHOTOS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "landscape": (lambda d: save(landscape(), d / "landscape.png"), "no human face"),
    "cat": (lambda d: save(cat(), d / "cat.png"), "no human face"),
    "cartoon": (lambda d: save(cartoon(), d / "cartoon.png"), "no human face"),
    "small face": (lambda d: save(small_face(), d / "small.png"), "64"),
    "truncated": (lambda d: truncated_jpeg(d / "cut.jpg"), "cut"),
    "text": (lambda d: written(d / "letter.jpg", b"Dear Sir or Madam,\n" * 40), "letter"),
    "empty": (lambda d: written(d / "empty.jpg", b""), "empty"),
    "one pixel": (lambda d: save(np.full((1, 1, 3), 128, np.uint8), d / "dot.png"), "dot"),
    "bomb": (lambda d: bomb_png(d / "bomb.png"), "20000"),
    "folder": (lambda d: folder(d / "album"), "folder"),
    "missing": (lambda d: d / "nobody.jpg", "does not exist"),
}


@pytest.mark.parametrize("case", BAD_PHOTOS)
def test_a_photo_that_cannot_be_used(case: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make, says = BAD_PHOTOS[case]
    photo, out = make(tmp_path), tmp_path / "out"
    run_failing(["reconstruct", photo, "-o", out, "--no-blend"], 2, capfd, says)
    assert not out.exists()


def test_face_and_all_faces_exclude_each_other(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["reconstruct", tmp_path / "a.jpg", "-o", tmp_path / "out", "--face", "1", "--all-faces"]
    run_failing(arguments, 2, capfd, "exclude each other")


def test_one_person_needs_two_photographs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["reconstruct", tmp_path / "a.jpg", "-o", tmp_path / "out", "--same-person"]
    run_failing(arguments, 2, capfd, "at least two photographs")
    run_failing([*arguments, tmp_path / "b.jpg", "--all-faces"], 2, capfd, "--same-person")
    assert not (tmp_path / "out").exists()


def test_networks_for_splats_are_looked_for_first(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = ["reconstruct", tmp_path / "a.jpg", "-o", out, "--splats-by", tmp_path / "networks"]
    run_failing(arguments, 2, capfd, "give --splats as well")
    run_failing([*arguments, "--splats", "--no-blend"], 3, capfd, "holds no packed networks")
    assert not out.exists()


def test_of_one_persons_photographs_the_bad_one_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    good, out = save(astronaut(), tmp_path / "good.png"), tmp_path / "out"
    options = ["-o", out, "--same-person", "--no-blend"]
    run_failing(["reconstruct", good, good, *options], 2, capfd, "given twice")
    bad = save(landscape(), tmp_path / "meadow.png")
    run_failing(["reconstruct", good, bad, *options], 2, capfd, "meadow")
    assert not out.exists()


def test_a_bad_photo_leaves_an_output_folder_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = folder(tmp_path / "out")
    (out / "notes.txt").write_text("mine")
    run_failing(["reconstruct", tmp_path / "nobody.jpg", "-o", out, "--no-blend"], 2, capfd)
    assert files_in(out) == {"notes.txt"}


# --- places that cannot be written to --------------------------------------------------------------


# --- likeness render -------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def small_reconstruction():  # type: ignore[no-untyped-def]
    from synthetic_avatar import make_reconstruction

    return make_reconstruction(size=32)


@pytest.fixture
def avatar(tmp_path: Path) -> Path:
    """A small made-up avatar."""
    return write_bundle(small_reconstruction(), tmp_path / "avatar")


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


DAMAGES: dict[str, Callable[[Path], None]] = {
    "mesh cut short": lambda a: cut_short(a / "mesh.npz"),
    "mesh missing": lambda a: (a / "mesh.npz").unlink(),
    "map cut short": lambda a: cut_short(a / "maps" / "albedo.png"),
    "map missing": lambda a: (a / "maps" / "normal.png").unlink(),
    "manifest cut short": lambda a: cut_short(a / "avatar.json"),
    "manifest missing": lambda a: (a / "avatar.json").unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_render_names_a_damaged_avatar(
    damage: str, avatar: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    DAMAGES[damage](avatar)
    run_failing(["render", avatar, "-o", tmp_path / "x.png"], 2, capfd, "avatar")
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--hdri", "nowhere.exr"], "nowhere.exr"),
        (["--view", "sideways"], "sideways"),
        (["--view", "10,up"], "10,up"),
        (["--size", "4"], "size"),
    ],
)
def test_render_names_a_bad_option(
    options: list[str], says: str, avatar: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_failing(["render", avatar, "-o", tmp_path / "x.png", *options], 2, capfd, says)
    assert not list(tmp_path.glob("*.png"))


def test_render_needs_a_folder_for_its_picture(
    avatar: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_failing(["render", avatar, "-o", tmp_path / "no" / "x.png"], 2, capfd, "does not exist")
