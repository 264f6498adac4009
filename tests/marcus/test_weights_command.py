"""`likeness weights` run as a program against a host on this machine; what goes wrong is one line."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_cli_end_to_end import tiny_disk  # noqa: F401  (a fixture)
from weight_host import Host

from backend.cli import main
from backend.weights import fetch as fetching
from backend.weights.catalogue import weight_set

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
DINO = "dinov3"  # a set of two files
CONFIG, MODEL = "config.json", "model.safetensors"
FILES = {CONFIG: b'{"model_type": "dinov3_convnext"}', MODEL: bytes(range(256)) * 4000}
COMMAND = (sys.executable, "-c", "from backend.cli import main; import sys; sys.exit(main())", "weights")


@pytest.fixture
def host() -> Iterator[Host]:
    repository = weight_set(DINO).repository
    assert repository is not None
    made = Host(repository, FILES, frozenset({MODEL}))
    yield made
    made.close()


def environment(root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "LIKENESS_WEIGHTS": str(root)}


def ran(root: Path, *arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines of stderr."""
    done = subprocess.run(
        [*COMMAND, *arguments], env=environment(root), capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().splitlines()


def told(root: Path, code: int, words: str, *arguments: str) -> None:
    found, lines = ran(root, *arguments)
    assert (found, len(lines)) == (code, 1), lines
    assert words in lines[0]


def test_terms_mirror_checksum_and_model(host: Host, tmp_path: Path) -> None:
    fetch = ("fetch", DINO, "--mirror", host.url)
    told(tmp_path, 3, "run the same command with --accept-licence", *fetch)
    assert not (tmp_path / "dinov3-convnext-small").exists()
    told(tmp_path, 3, "was not fetched", "verify", DINO)
    told(tmp_path, 2, "no weights are called", "fetch", "nothing")
    told(tmp_path, 2, "exclude each other", *fetch, "--from", str(tmp_path))
    told(
        tmp_path, 3, "cannot be reached", "fetch", DINO, "--mirror", "http://127.0.0.1:9", "--accept-licence"
    )
    host.spoiled = {MODEL}
    told(tmp_path, 3, "has sha256", *fetch)  # accepted before
    assert not list(tmp_path.rglob(f"{MODEL}*"))
    host.spoiled = set()
    assert ran(tmp_path, *fetch)[0] == 0
    path = tmp_path / "dinov3-convnext-small" / MODEL
    assert path.read_bytes() == FILES[MODEL]
    assert ran(tmp_path, "verify", DINO)[0] == 0
    path.write_bytes(FILES[MODEL][:-1])
    code, lines = ran(tmp_path, "verify", DINO)
    assert code == 3
    assert any(MODEL in line and "bytes" in line for line in lines)
    told(tmp_path, 2, "inspect marcus", "inspect", DINO)
    told(tmp_path, 3, "weights fetch marcus", "inspect", "marcus")


def test_a_fetch_that_is_killed_goes_on(host: Host, tmp_path: Path) -> None:
    host.cut_after = 300_000
    host.hang = 60.0  # then nothing comes, and the connection stays
    fetch = (*COMMAND, "fetch", DINO, "--mirror", host.url, "--accept-licence")
    process = subprocess.Popen(fetch, env=environment(tmp_path), stdout=-3, stderr=-3)
    part = tmp_path / "dinov3-convnext-small" / f"{MODEL}.part"
    for _ in range(600):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    host.cut_after, host.hang = None, 0.0
    had = part.stat().st_size
    assert 0 < had <= 300_000
    assert not part.with_suffix("").exists()
    host.requests.clear()
    assert ran(tmp_path, "fetch", DINO, "--mirror", host.url)[0] == 0
    assert f"bytes={had}-" in [ranged for _, ranged in host.requests]
    whole = tmp_path / "dinov3-convnext-small" / MODEL
    assert hashlib.sha256(whole.read_bytes()).digest() == hashlib.sha256(FILES[MODEL]).digest()


def test_ctrl_c_is_one_line_and_keeps_what_came(host: Host, tmp_path: Path) -> None:
    host.cut_after, host.hang = 300_000, 60.0
    fetch = (*COMMAND, "fetch", DINO, "--mirror", host.url, "--accept-licence")
    process = subprocess.Popen(
        fetch, env=environment(tmp_path), stdout=-3, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    part = tmp_path / "dinov3-convnext-small" / f"{MODEL}.part"
    for _ in range(600):
        if part.exists() and part.stat().st_size:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert part.stat().st_size > 0


def test_a_full_disk(
    host: Host,
    tiny_disk: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fetch = ["fetch", DINO, "--mirror", host.url, "--accept-licence"]
    told(tiny_disk, 4, "LIKENESS_WEIGHTS", *fetch)  # before anything is asked for
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: SimpleNamespace(free=1 << 40))
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tiny_disk))
    assert main(["weights", *fetch]) == 4  # in the middle: another program has filled it
    assert "disk is full" in capsys.readouterr().err.strip().splitlines()[-1]


class Planted:
    def __reduce__(self):
        return (print, ("code ran",))


def test_a_malicious_pickle_of_a_local_folder_is_taken_but_never_run(
    release: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A local folder has no checksums: what it holds is refused where it is read."""
    import shutil

    source = tmp_path / "downloads"
    shutil.copytree(release / "marcus", source)
    torch.save({"net_recon": Planted()}, source / "ckpts/deep3d_model/epoch_latest.pth")
    root = tmp_path / "weights"
    shutil.copytree(release / "longcat-image-edit", root / "longcat-image-edit")
    asked = ["fetch", "marcus", "--from", str(source), "--accept-licence", "--folder", str(root)]
    assert main(["weights", *asked]) == 0
    from portraits import astronaut, save

    photo = save(astronaut(), tmp_path / "astronaut.png")
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(root))
    capsys.readouterr()
    code = main(["reconstruct", str(photo), "-o", str(tmp_path / "out"), "--engine", "marcus", "--no-blend"])
    captured = capsys.readouterr()
    assert code == 3
    assert "could run code" in captured.err
    assert len(captured.err.strip().splitlines()) == 1
    assert "code ran" not in captured.out + captured.err
