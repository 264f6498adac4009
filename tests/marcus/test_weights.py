"""Fetching weights from a host on this machine: resumed, checked, accepted; what is told when it fails."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from weight_host import Host

from backend import cli
from backend.errors import BadWeights, Missing, OutOfResources
from backend.weights import fetch as fetching
from backend.weights.catalogue import catalogue, weight_set, with_needs
from backend.weights.fetch import RECORD, fetch, listing, read_record, take_from, verify

ESRGAN = "real-esrgan-small"
FILES = {
    "ckpts/lora_align/33000.safetensors": b"three branches " * 5000,
    "ckpts/lora_inpainting/transformer_caption/adapter_config.json": b'{"r": 32}',
    "assets/topo/front_face_mask.png": b"png",
    "README.md": b"not wanted",
}
LARGE = "ckpts/lora_align/33000.safetensors"
WANTED = sorted(set(FILES) - {"README.md"})


@pytest.fixture
def host():
    made = Host("luh0502/MARCUS-Avatar", FILES, frozenset({LARGE}))
    yield made
    made.close()


def silent(path: str, done: int, total: int) -> None:
    return None


def test_the_catalogue_is_complete():
    for one in catalogue().values():
        assert one.repository or one.urls
        assert one.licence
        assert one.terms.endswith(".")
        assert one.page.startswith("https://")
        assert set(one.urls) <= set(one.files)
    assert [one.name for one in with_needs("marcus")] == ["marcus", "longcat-image-edit"]


def test_what_is_wanted_is_fetched_recorded_and_found_whole(host, tmp_path: Path):
    told = []
    one = weight_set("marcus")
    listed = listing(one, host.url)
    assert sorted(f.path for f in listed.files) == WANTED
    folder = fetch(tmp_path, one, listed, lambda *args: told.append(args))
    assert folder == tmp_path / "marcus"
    assert {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} == {*WANTED, RECORD}
    assert all((folder / name).read_bytes() == FILES[name] for name in WANTED)
    assert told[-1][1] == told[-1][2] == sum(len(FILES[n]) for n in WANTED)
    record = read_record(folder)["marcus"]
    assert record["revision"] == "c0ffee"
    assert record["files"][LARGE]["sha256"] == hashlib.sha256(FILES[LARGE]).hexdigest()
    assert verify(tmp_path, one) == []
    host.requests.clear()
    fetch(tmp_path, one, listed, silent)
    assert host.requests == []  # nothing is asked for twice


def test_an_interrupted_fetch_goes_on_where_it_was(host, tmp_path: Path):
    one = weight_set("marcus")
    listed = listing(one, host.url)
    host.cut_after = 20_000

    def stop(path: str, done: int, total: int) -> None:
        if done > 30_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(tmp_path, one, listed, stop)
    part = tmp_path / "marcus" / f"{LARGE}.part"
    had = part.stat().st_size
    assert 30_000 <= had < len(FILES[LARGE])
    assert not (tmp_path / "marcus" / LARGE).exists()
    host.cut_after = None
    host.requests.clear()
    fetch(tmp_path, one, listed, silent)
    assert (tmp_path / "marcus" / LARGE).read_bytes() == FILES[LARGE]
    assert ("/luh0502/MARCUS-Avatar/resolve/c0ffee/" + LARGE, f"bytes={had}-") in host.requests
    assert not part.exists()


def test_a_host_that_brings_nothing_is_told_in_one_line(host, tmp_path: Path):
    listed = listing(weight_set("marcus"), host.url)
    host.cut_after = 0
    with pytest.raises(Missing, match=r"interrupted at 0 of 75000 bytes .*same command again") as cut:
        fetch(tmp_path, weight_set("marcus"), listed, silent)
    assert cut.value.exit_code == 3


def test_another_content_than_listed_is_thrown_away(host, tmp_path: Path):
    one = weight_set("marcus")
    listed = listing(one, host.url)
    host.spoiled.add(LARGE)
    with pytest.raises(BadWeights, match=r"33000\.safetensors .*has sha256 .*another mirror") as bad:
        fetch(tmp_path, one, listed, silent)
    assert bad.value.exit_code == 3
    assert not list((tmp_path / "marcus").rglob("33000*"))
    host.spoiled = {"ckpts/lora_inpainting/transformer_caption/adapter_config.json"}
    with pytest.raises(BadWeights, match="git hash"):
        fetch(tmp_path, one, listed, silent)


@pytest.mark.parametrize(
    ("status", "words"), [(401, "set HF_TOKEN"), (404, "does not exist"), (500, "reached")]
)
def test_refusals_say_what_to_do(host, status: int, words: str):
    host.status = status
    with pytest.raises(Missing, match=words):
        listing(weight_set("marcus"), host.url)


def test_no_host_is_told(host):
    host.close()
    with pytest.raises(Missing, match=r"cannot be reached .*--from DIR"):
        listing(weight_set("marcus"), host.url)


def test_the_users_token_is_sent(host, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "of-the-user")
    listing(weight_set("marcus"), host.url)
    assert set(host.tokens) == {"Bearer of-the-user"}


def test_paths_outside_the_set_are_refused(host):
    host.files["ckpts/lora_align/../../../escaped"] = b"x"
    with pytest.raises(BadWeights, match="outside its set"):
        listing(weight_set("marcus"), host.url)


def test_a_full_disk_is_told_before_anything_is_fetched(host, tmp_path: Path, monkeypatch):
    listed = listing(weight_set("marcus"), host.url)
    monkeypatch.setattr(fetching, "MARGIN", 1 << 60)
    with pytest.raises(OutOfResources, match="LIKENESS_WEIGHTS") as full:
        fetch(tmp_path, weight_set("marcus"), listed, silent)
    assert full.value.exit_code == 4


def test_changed_and_lost_files_are_named(host, tmp_path: Path):
    one = weight_set("marcus")
    with pytest.raises(Missing, match="was not fetched"):
        verify(tmp_path, one)
    fetch(tmp_path, one, listing(one, host.url), silent)
    (tmp_path / "marcus" / LARGE).write_bytes(FILES[LARGE][:-1] + b"x")
    (tmp_path / "marcus" / "assets/topo/front_face_mask.png").unlink()
    problems = verify(tmp_path, one)
    assert len(problems) == 2
    assert "front_face_mask.png is not there" in problems[0]
    assert "33000.safetensors has sha256" in problems[1]


def test_a_local_folder_serves_as_well(tmp_path: Path):
    source = tmp_path / "downloads"
    for name, content in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(content)
    root = tmp_path / "weights"
    take_from(root, weight_set("marcus"), source, silent)
    assert (root / "marcus" / LARGE).read_bytes() == FILES[LARGE]
    assert not (root / "marcus" / "README.md").exists()
    assert verify(root, weight_set("marcus")) == []
    with pytest.raises(Missing, match="holds none of the files"):
        take_from(root, weight_set("dinov3"), source, silent)
    (source / "realesr-general-x4v3.pth").write_bytes(b"something else")
    with pytest.raises(BadWeights, match="has 14 bytes, expected 4885111"):
        take_from(root, weight_set(ESRGAN), source, silent)


def run(*arguments: str) -> int:
    return cli.main(["weights", *arguments])


def test_the_command_asks_for_the_terms_first(host, tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tmp_path))
    assert run("fetch", ESRGAN, "--mirror", host.url) == 3
    assert "--accept-licence" in capsys.readouterr().err
    assert host.requests == []
    host.files["realesr-general-x4v3.pth"] = b"short"
    assert run("fetch", ESRGAN, "--mirror", host.url, "--accept-licence") == 3
    err = capsys.readouterr().err.strip().splitlines()
    assert "interrupted at 5 of 4885111 bytes" in err[-1]
    assert run("fetch", "nothing") == 2
    assert run("verify", ESRGAN) == 3


def test_the_list_names_size_licence_and_state(tmp_path: Path, capsys, monkeypatch):
    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tmp_path))
    assert run("list") == 0
    out = capsys.readouterr().out
    assert "marcus  (2.5 GB, not fetched)" in out
    assert "research only" in out
    assert run("list", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert {row["name"] for row in content["weights"]} == set(catalogue())


def test_an_avatar_names_the_fetched_files(host, tmp_path: Path, monkeypatch):
    from backend.weights.used import fetched_weights

    monkeypatch.setenv("LIKENESS_WEIGHTS", str(tmp_path))
    one = weight_set("marcus")
    fetch(tmp_path, one, listing(one, host.url), silent)
    (found,) = fetched_weights("marcus")
    assert found.name == f"marcus/{LARGE}"
    assert found.sha256 == hashlib.sha256(FILES[LARGE]).hexdigest()
    assert "HiFi3D++" in found.licence
    assert fetched_weights("embedded") == ()
