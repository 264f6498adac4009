"""``likeness reconstruct`` from the outside: places to write to, whole runs, interruption."""

from __future__ import annotations

import builtins
import errno
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_runs import files_in, folder, run_failing, written
from portraits import MAPS, astronaut, astronaut_reconstructed, save

from backend.cli import main
from blender_addon.bundle import MAP_NAMES, read_bundle

FILES = {"avatar.json", "mesh.npz", "photo.jpg", "landmarks.npz", "preview.png"} | {
    f"maps/{name}.png" for name in MAP_NAMES
}


# --- places that cannot be written to --------------------------------------------------------------


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return save(astronaut(), tmp_path / "astronaut.png")


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconstruction answers with the session's astronaut at once; everything around it is real."""
    made, _ = astronaut_reconstructed()
    monkeypatch.setattr("backend.pipeline.reconstruct", lambda *_, **__: made)


def below_a_file(directory: Path) -> Path:
    return written(directory / "a file", b"") / "out"


@pytest.mark.parametrize(
    ("make_out", "says"),
    [
        (lambda d: d / "no" / "such" / "out", "does not exist"),
        (below_a_file, "a file"),
        (lambda d: written(d / "plain", b""), "not a folder"),
    ],
    ids=["missing parent", "below a file", "a file"],
)
def test_an_output_folder_that_cannot_be(
    make_out: Callable[[Path], Path],
    says: str,
    photo: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    out = make_out(tmp_path)
    before = files_in(tmp_path)
    run_failing(["reconstruct", photo, "-o", out, "--no-blend"], 2, capfd, says)
    assert files_in(tmp_path) == before


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="permission bits do not bind the superuser or Windows"
)
def test_a_read_only_output_folder(photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = folder(tmp_path / "out")
    out.chmod(0o555)
    try:
        run_failing(["reconstruct", photo, "-o", out, "--no-blend"], 2, capfd, "cannot be written")
    finally:
        out.chmod(0o755)
    assert files_in(out) == set()


def test_a_refusal_of_the_system_is_bad_input(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a read-only file system says, also to the superuser."""

    def refuse(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    run_failing(["reconstruct", photo, "-o", tmp_path / "out", "--no-blend"], 2, capfd, "Read-only")
    assert files_in(tmp_path) == {"astronaut.png"}


def test_an_avatar_is_not_replaced_unasked(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    avatar = tmp_path / "out" / "astronaut"
    avatar.mkdir(parents=True)
    (avatar / "avatar.json").write_text('{"schema": 1}')
    run_failing(["reconstruct", photo, "-o", tmp_path / "out", "--no-blend"], 2, capfd, "--overwrite")
    assert (avatar / "avatar.json").read_text() == '{"schema": 1}'
    assert files_in(tmp_path / "out") == {"astronaut/avatar.json"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_no_avatar_is_never_replaced(
    overwrite: bool, photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "out" / "astronaut"
    theirs.mkdir(parents=True)
    (theirs / "thesis.txt").write_text("three years")
    options = ["--overwrite"] if overwrite else []
    arguments = ["reconstruct", photo, "-o", tmp_path / "out", "--no-blend", *options]
    run_failing(arguments, 2, capfd, "holds other files")
    assert (theirs / "thesis.txt").read_text() == "three years"


@pytest.mark.slow
@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("file", ["maps/albedo.png", "maps/displacement.png", "preview.png", "avatar.json"])
def test_a_full_disk(
    file: str,
    photo: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system refuses bytes for one of the files; an older avatar in that place stays as it was."""
    out = tmp_path / "out"
    older = out / "astronaut"
    older.mkdir(parents=True)
    (older / "avatar.json").write_text('{"schema": 1}')
    refused: list[str] = []

    def open_with_full_disk(mode_open: Callable[..., object]) -> Callable[..., object]:
        def opened(path: object, mode: str = "r", *rest: object, **options: object) -> object:
            # Files are written as `.<name>.new` or under their name, in a folder that is not yet in place.
            own = Path(file).name in Path(str(path)).name and ".partial" in str(path)
            if set(mode) & set("wax") and own:
                refused.append(str(path))
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return mode_open(path, mode, *rest, **options)

        return opened

    # builtins.open is what Pillow and numpy call, io.open what pathlib calls.
    monkeypatch.setattr(builtins, "open", open_with_full_disk(builtins.open))
    monkeypatch.setattr(io, "open", open_with_full_disk(io.open))
    arguments = ["reconstruct", photo, "-o", out, "--no-blend", "--overwrite"]
    run_failing(arguments, 4, capfd, "disk is full")
    assert refused
    assert files_in(out) == {"astronaut/avatar.json"}
    assert (older / "avatar.json").read_text() == '{"schema": 1}'


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_a_limit_on_file_size_stops_as_a_full_disk_does(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real refusal in the middle of a write: the kernel's limit lies under the size of a map."""
    resource = pytest.importorskip("resource", reason="only Unix has limits on file size")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        code = main(["reconstruct", str(photo), "-o", str(tmp_path / "out"), "--no-blend"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 4
    assert "disk is full" in capfd.readouterr().err
    assert files_in(tmp_path) == {"astronaut.png"}


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A mounted file system of 300 kB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounting a tiny file system needs Linux and the superuser")
    mount = folder(tmp_path / "tiny")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "likeness-test", str(mount)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"a tiny file system cannot be mounted here: {done.stderr.strip()}")
    try:
        yield mount
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_a_disk_that_is_really_full(photo: Path, tiny_disk: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_failing(["reconstruct", photo, "-o", tiny_disk, "--no-blend"], 4, capfd, "disk is full")
    assert files_in(tiny_disk) == set()


# --- several photographs, several faces ------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("known")
def test_two_photos_of_one_name_and_a_bad_one(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Those that cannot be done are named; the good one is done nevertheless; the worst code counts."""
    out, other = tmp_path / "out", folder(tmp_path / "other")
    twin = save(astronaut(), other / "astronaut.jpg")
    existing = out / "done before"
    existing.mkdir(parents=True)
    (existing / "avatar.json").write_text("{}")
    again = written(tmp_path / "done before.png", b"")
    photos = [str(p) for p in (photo, twin, again)]
    assert main(["reconstruct", *photos, "-o", str(out), "--no-blend"]) == 2
    captured = capfd.readouterr()
    errors = [line for line in captured.err.splitlines() if line.startswith("likeness: ")]
    assert len(errors) == 2
    assert "two photographs" in errors[0]
    assert str(twin) in errors[0]
    assert "--overwrite" in errors[1]
    assert str(out / "astronaut") in captured.out
    read_bundle(out / "astronaut")
    assert {p.name for p in out.iterdir()} == {"astronaut", "done before"}


@pytest.mark.slow
def test_warnings_are_shown_beside_the_result(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = astronaut_reconstructed()
    warned = replace(made, warnings=("2 faces found; face 0 was taken", "the light is a guess"))
    monkeypatch.setattr("backend.pipeline.reconstruct", lambda *_, **__: warned)
    assert main(["reconstruct", str(photo), "-o", str(tmp_path / "out"), "--no-blend"]) == 0
    captured = capfd.readouterr()
    assert [line for line in captured.err.splitlines() if line.strip()] == [
        "note: 2 faces found; face 0 was taken",
        "note: the light is a guess",
    ]
    stored = read_bundle(tmp_path / "out" / "astronaut").manifest.warnings
    assert stored == warned.warnings


@pytest.mark.slow
def test_all_faces_make_an_avatar_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    picture = astronaut()[:300, 80:380]
    two = save(np.concatenate([picture, picture[:, ::-1]], 1), tmp_path / "two.png")
    out = tmp_path / "out"
    arguments = ["reconstruct", str(two), "-o", str(out), "--no-blend", "--all-faces", "--json"]
    assert main([*arguments, "--maps", str(MAPS)]) == 0
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert [line["avatar"] for line in lines] == [str(out / f"two-face{k}") for k in (0, 1)]
    boxes = [read_bundle(Path(line["avatar"])).manifest.photo.face_box for line in lines]
    assert abs(boxes[0][0] - boxes[1][0]) > 100
    assert {p.name for p in out.iterdir()} == {"two-face0", "two-face1"}


# --- a good photograph -----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_photo_becomes_an_avatar(photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import hashlib

    from PIL import Image

    out = tmp_path / "out"
    arguments = ["reconstruct", str(photo), "-o", str(out), "--no-blend", "--maps", str(MAPS)]
    assert main([*arguments, "--seed", "3", "--json"]) == 0
    (line,) = capfd.readouterr().out.splitlines()
    told = json.loads(line)
    avatar = out / "astronaut"
    assert told["avatar"] == str(avatar)
    assert told["photo"] == str(photo)
    assert files_in(avatar) == FILES
    assert {p.name for p in out.iterdir()} == {"astronaut"}

    fields = json.loads((avatar / "avatar.json").read_text(encoding="utf-8"))
    assert fields["schema"] == 1
    assert fields["engine"] == told["engine"] == "embedded"
    names = [stage["name"] for stage in fields["stages"]]
    assert names[0] == "photo"
    assert names[-1] == "preview"
    assert all(stage["implementation"] and stage["seconds"] >= 0 for stage in fields["stages"])
    assert fields["peak_rss_mb"] > 100
    assert 0 < fields["fit"]["landmark_error_px"] < 10
    assert 0 < fields["fit"]["landmark_error_iod"] < 0.05
    assert 10 < fields["fit"]["photometric_psnr_db"] < 60
    assert fields["camera"]["focal_px"] > 0
    assert np.array(fields["camera"]["world_to_camera"]).shape == (3, 4)
    assert np.array(fields["light"]["radiance_sh"]).shape == (9, 3)
    assert fields["photo"]["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert fields["photo"]["size"] == [512, 512]
    x0, y0, x1, y1 = fields["photo"]["face_box"]
    assert 150 < x0 < 224 < x1 < 300  # she looks out of the upper middle
    assert 40 < y0 < 115 < y1 < 200
    assert 0 < fields["displacement_scale_m"] < 0.01
    assert fields["texels_per_pixel"] > 0
    assert fields["weights"]
    assert all(w["name"] and w["licence"] for w in fields["weights"])
    assert any(len(w["sha256"] or "") == 64 for w in fields["weights"])
    assert fields["seed"] == 3
    assert fields["warnings"] == told["warnings"]

    read_bundle(avatar)  # arrays fit together
    for name in MAP_NAMES:
        with Image.open(avatar / "maps" / f"{name}.png") as image:
            assert image.size == (MAPS, MAPS), name
    with Image.open(avatar / "preview.png") as preview:
        assert min(preview.size) > 300
        assert np.asarray(preview.convert("L")).std() > 20  # not an even surface


@pytest.mark.slow
@pytest.mark.blend
@pytest.mark.usefixtures("known")
def test_blender_adds_its_files_and_renders_the_avatar(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    out, picture = tmp_path / "out", tmp_path / "left.png"
    assert main(["reconstruct", str(photo), "-o", str(out)]) == 0
    assert files_in(out / "astronaut") == FILES | {"avatar.blend", "avatar.glb"}
    assert (out / "astronaut" / "avatar.glb").read_bytes()[:4] == b"glTF"
    options = ["--view", "left", "--size", "96", "--samples", "2"]
    assert main(["render", str(out / "astronaut"), "-o", str(picture), *options]) == 0
    with Image.open(picture) as image:
        assert max(image.size) == 96
        assert np.asarray(image.convert("L")).std() > 10  # a head before an even ground
    assert capfd.readouterr().err.count("likeness:") == 0


# --- interrupted -----------------------------------------------------------------------------------


def test_ctrl_c_is_one_line(
    photo: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("backend.pipeline.reconstruct", interrupt)
    run_failing(["reconstruct", photo, "-o", tmp_path / "out", "--no-blend"], 130, capfd, "cancelled")
    assert files_in(tmp_path) == {"astronaut.png"}


def interrupted(
    photo: Path, out: Path, scratch: Path, blend: str, ready: Callable[[], bool]
) -> tuple[int, str]:
    """Start a reconstruction, press Ctrl+C once ``ready``; exit code and stderr."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "import sys; from backend.cli import main; sys.exit(main())"),
            *("reconstruct", str(photo), "-o", str(out), blend, "--maps", str(MAPS)),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    try:
        deadline = time.monotonic() + 300
        while not ready() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    return process.returncode, errors


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for another process")
@pytest.mark.parametrize(
    "moment", ["at work", "while writing", pytest.param("while Blender works", marks=pytest.mark.blend)]
)
def test_ctrl_c_leaves_nothing(moment: str, photo: Path, tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", folder(tmp_path / "scratch")
    begun = time.monotonic()

    def ready() -> bool:
        if moment == "while writing":
            return bool(list(out.glob(".*.partial")))
        if moment == "while Blender works":
            return bool(list(out.glob(".*.partial/preview.png")))
        return out.exists() and time.monotonic() - begun > 3

    blend = "--blend" if moment == "while Blender works" else "--no-blend"
    code, errors = interrupted(photo, out, scratch, blend, ready)
    assert code == 130, errors
    assert len(errors.strip().splitlines()) == 1, errors
    assert "cancelled" in errors
    assert files_in(tmp_path) == {"astronaut.png"}
