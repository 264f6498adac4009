"""Reading sets back: tar, pictures, streaming, verify, inspect."""

from __future__ import annotations

import tarfile
from pathlib import Path

import msgpack
import msgspec
import numpy as np
import pytest
from cli_runs import run_failing
from synthetic_set import instance, make_here, materials, recipe

from backend.cli import main
from backend.errors import BadInput
from backend.training import pictures
from backend.training.loader import (
    Reading,
    decode_instance,
    heads,
    instances,
    open_set,
    raw_records,
    shuffled,
)
from backend.training.schema import INSTANCE_MEMBERS, SHARD_FOLDER, read_manifest
from backend.training.shards import record_bytes, records
from backend.training.verify import verify


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("set")
    make_here(folder)
    return folder


def test_shards_are_plain_tars_with_msgpack_metadata(made: Path) -> None:
    """As Python's own tarfile and another msgpack reader see them."""
    shard = read_manifest(made).shards[0]
    with tarfile.open(made / SHARD_FOLDER / shard.name) as tar:
        infos = tar.getmembers()
        first = msgpack.unpackb(tar.extractfile(infos[0]).read())  # type: ignore[union-attr]
    names = [info.name.partition(".")[2] for info in infos]
    assert names == ["meta.msgpack", *INSTANCE_MEMBERS] * shard.records
    assert {(info.mtime, info.uid, info.uname) for info in infos} == {(0, 0, "")}
    assert first["schema"] == 2
    assert first["person"]["identity"] in shard.identities


def test_pictures_come_back_within_their_steps() -> None:
    maps = materials(3)
    bright = 3.9 * maps.albedo_linear
    np.testing.assert_allclose(pictures.read_radiance(pictures.radiance_png(bright)), bright, atol=3e-4)
    members = pictures.material_pngs(maps, maps.roughness, 0.002)
    back = pictures.read_materials(members, 0.002)
    np.testing.assert_allclose(back.displacement_m, maps.displacement_m, atol=0.002 / 65535)
    np.testing.assert_allclose(back.roughness, maps.roughness, atol=0.51 / 255)
    assert ((back.normal_tangent * maps.normal_tangent).sum(-1) > 0.9999).all()
    with pytest.raises(BadInput, match="damaged"):
        pictures.read_photo(b"nothing")


def test_streaming_yields_each_instance_once_decoded_and_shuffled_by_seed(made: Path) -> None:
    data = open_set(made)
    in_order = [one.meta.index for one in instances(data, Reading("train"))]
    wanted = [
        k
        for s in data.manifest.shards
        if s.split == "train" and s.kind == "instances"
        for k in range(s.records)
    ]
    assert len(in_order) == len(set(in_order)) == len(wanted)
    one_way, again, other = (
        [one.meta.index for one in instances(data, Reading("train", 5, seed, threads=3))]
        for seed in (1, 1, 2)
    )
    assert one_way == again != other
    assert sorted(one_way) == sorted(other) == sorted(in_order)
    first = next(instances(data, Reading("val")))
    assert first.t_env.max() > 1
    np.testing.assert_allclose(first.t_env, 3 * first.t_hom, atol=2e-3)
    head = next(heads(data, Reading("val")))
    assert head.transfer.degree == 4
    assert head.transfer.direct[0, 0] == head.meta.person.identity


def test_ranks_share_the_shards(made: Path) -> None:
    data = open_set(made)
    parts = [
        [key for key, _ in raw_records(data, "instances", Reading("train", rank=r, world=2))] for r in (0, 1)
    ]
    whole = [key for key, _ in raw_records(data, "instances", Reading("train"))]
    assert not set(parts[0]) & set(parts[1])
    assert sorted(parts[0] + parts[1]) == sorted(whole)


def test_a_reader_that_stops_early_leaves_no_thread_waiting(made: Path) -> None:
    stream = instances(open_set(made), Reading("train", threads=2))
    next(stream)
    stream.close()  # joins its threads; would hang here otherwise


def test_a_buffer_of_one_keeps_the_order_and_a_long_one_mixes() -> None:
    rng = np.random.default_rng(0)
    assert list(shuffled(range(9), 1, rng)) == list(range(9))
    assert list(shuffled(range(50), 50, rng)) != list(range(50))


def test_records_with_other_members_are_refused() -> None:
    with pytest.raises(ValueError, match=r"has portrait\.jpg"):
        record_bytes("0", "instances", None, {"portrait.jpg": b""})  # type: ignore[arg-type]


def test_verify_tells_what_is_wrong(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make_here(tmp_path, 6)
    assert main(["synth", "verify", str(tmp_path)]) == 0
    assert "6 instances, 3 heads" in capfd.readouterr().out
    manifest = read_manifest(tmp_path)
    shards = tmp_path / SHARD_FOLDER
    path = shards / manifest.shards[0].name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    assert any("checksum" in line for line in verify(tmp_path).problems)
    assert main(["synth", "verify", str(tmp_path)]) == 2
    path.write_bytes(whole)
    (shards / "train-000009.tar").write_bytes(b"")
    assert any("not in the manifest" in line for line in verify(tmp_path).problems)
    (shards / "train-000009.tar").unlink()
    path.unlink()
    assert any("is missing" in line for line in verify(tmp_path).problems)


def test_verify_tells_doubled_instances_and_identities_in_two_splits(tmp_path: Path) -> None:
    make_here(tmp_path, 22)
    manifest = read_manifest(tmp_path)
    train, val = (next(s for s in manifest.shards if s.split == split) for split in ("train", "val"))
    twice = msgspec.structs.replace(manifest, shards=(*manifest.shards, train))
    (tmp_path / "manifest.json").write_bytes(msgspec.json.encode(twice))
    assert any("there twice" in line for line in verify(tmp_path).problems)
    mixed = msgspec.structs.replace(val, identities=train.identities)
    (tmp_path / "manifest.json").write_bytes(
        msgspec.json.encode(msgspec.structs.replace(manifest, shards=(train, mixed)))
    )
    assert any("and in val" in line for line in verify(tmp_path).problems)


def test_other_schemas_and_unfinished_sets_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no manifest"):
        open_set(tmp_path)
    make_here(tmp_path, 4)
    path = tmp_path / "manifest.json"
    manifest = read_manifest(tmp_path)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, complete=False)))
    with pytest.raises(BadInput, match="not complete"):
        open_set(tmp_path)
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(manifest, schema=1)))
    with pytest.raises(BadInput, match="has schema 1"):
        open_set(tmp_path)
    path.write_bytes(b"{")
    with pytest.raises(BadInput, match="damaged"):
        open_set(tmp_path)


def test_a_record_cut_short_or_of_another_schema_is_told(tmp_path: Path) -> None:
    data = instance(3, 0)
    path = tmp_path / "cut.tar"
    path.write_bytes(data[: data.rindex(b"IDAT")])  # within the last picture
    with pytest.raises(BadInput, match="cut short"):
        list(records(path))
    path.write_bytes(data + bytes(1024))
    key, members = next(records(path))
    old = msgspec.msgpack.decode(members["meta.msgpack"])
    members["meta.msgpack"] = msgspec.msgpack.encode({**old, "schema": 7})
    with pytest.raises(BadInput, match="schema 7"):
        decode_instance((key, members))
    del members["t_env.png"]
    members["meta.msgpack"] = msgspec.msgpack.encode(old)
    with pytest.raises(BadInput, match=r"lacks t_env\.png"):
        decode_instance((key, members))


def test_inspect_draws_a_page_and_counts_everything(
    made: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    page = tmp_path / "page.png"
    assert main(["synth", "inspect", str(made), "-o", str(page), "--show", "5"]) == 0
    out = capfd.readouterr().out
    assert "skin tone (ITA): intermediate: 22" in out
    assert "light: studio: 22" in out
    with Image.open(page) as picture:
        assert picture.size[0] > 1000
        assert np.asarray(picture).std() > 5
    run_failing(
        ["synth", "inspect", str(made), "-o", str(tmp_path / "no" / "page.png")], 2, capfd, "does not exist"
    )
    run_failing(["synth", "inspect", str(tmp_path), "-o", str(page)], 2, capfd, "has no manifest")


def test_the_recipe_of_a_set_is_kept(made: Path) -> None:
    assert read_manifest(made).recipe == recipe()
