"""An avatar folder appears whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest
from synthetic_avatar import make_reconstruction

from backend.errors import BadInput, Cancelled, OutOfResources
from backend.export import bundle_writer
from backend.export.bundle_writer import write_bundle
from backend.export.staging import check_destination, staged_folder
from blender_addon.bundle import read_bundle


def _listing(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch, code):
    def full(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(bundle_writer.bundle, "write_mesh", full)
    with pytest.raises(OutOfResources, match="disk is full"):
        write_bundle(make_reconstruction(), tmp_path / "portrait")
    assert _listing(tmp_path) == []


def test_a_full_disk_keeps_the_old_avatar(tmp_path, monkeypatch):
    avatar = write_bundle(make_reconstruction(), tmp_path / "portrait")
    before = {p: p.read_bytes() for p in avatar.rglob("*") if p.is_file()}

    def full(folder):
        raise OSError(errno.ENOSPC, "no space")

    with pytest.raises(OutOfResources):
        write_bundle(make_reconstruction(), avatar, overwrite=True, finish=[full])
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_cancelling_leaves_nothing_behind(tmp_path):
    def cancel(folder):
        assert (folder / "avatar.json").is_file()
        raise Cancelled("cancelled")

    with pytest.raises(Cancelled):
        write_bundle(make_reconstruction(), tmp_path / "portrait", finish=[cancel])
    assert _listing(tmp_path) == []


def test_nothing_is_visible_before_it_is_whole(tmp_path):
    seen = []

    def look(folder):
        seen.append((tmp_path / "portrait").exists())
        (folder / "extra.txt").write_text("x")

    write_bundle(make_reconstruction(), tmp_path / "portrait", finish=[look])
    assert seen == [False]
    assert (tmp_path / "portrait" / "extra.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["portrait"]


def test_overwrite_replaces_the_whole_folder(tmp_path):
    avatar = write_bundle(make_reconstruction(), tmp_path / "portrait")
    (avatar / "avatar.blend").write_bytes(b"old")
    with pytest.raises(BadInput, match="--overwrite"):
        write_bundle(make_reconstruction(), avatar)
    assert (avatar / "avatar.blend").read_bytes() == b"old"
    write_bundle(make_reconstruction(name="second"), avatar, overwrite=True)
    assert read_bundle(avatar).manifest.photo.name == "second"
    assert not (avatar / "avatar.blend").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["portrait"]


def test_a_missing_output_folder(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        write_bundle(make_reconstruction(), tmp_path / "missing" / "portrait")


def test_other_files_are_never_replaced(tmp_path):
    (tmp_path / "portrait").mkdir()
    check_destination(tmp_path / "portrait", overwrite=False)  # an empty folder is fine
    (tmp_path / "portrait" / "thesis.txt").write_text("precious")
    with pytest.raises(BadInput, match="other files"):
        write_bundle(make_reconstruction(), tmp_path / "portrait", overwrite=True)
    (tmp_path / "file").write_text("precious")
    with pytest.raises(BadInput, match="is a file"):
        check_destination(tmp_path / "file", overwrite=True)
    with pytest.raises(BadInput, match="not a folder"):
        check_destination(tmp_path / "file" / "portrait", overwrite=True)


def test_a_read_only_output_folder(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # root may write anywhere: the system's refusal is played back
        monkeypatch.setattr(os, "access", lambda *_, **__: False)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BadInput, match="cannot be written"):
            write_bundle(make_reconstruction(), tmp_path / "portrait")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_refusal_while_writing(tmp_path, code):
    def refuse():
        raise OSError(code, os.strerror(code))

    with pytest.raises(BadInput, match="cannot be written"), staged_folder(tmp_path / "portrait"):
        refuse()
    assert _listing(tmp_path) == []


def test_other_errors_pass_unchanged(tmp_path):
    with pytest.raises(ZeroDivisionError), staged_folder(tmp_path / "portrait"):
        1 / 0
    assert _listing(tmp_path) == []
