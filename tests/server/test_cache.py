"""The stage cache: what reruns for what change, equal bytes, damage, forgetting."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from made_up_engine import MadeUp, picture

from backend import engines, pipeline, stages
from backend.artifacts import Reconstruction, Run
from backend.corrections import Corrections, Pin
from backend.server.data_folder import open_data_folder
from backend.server.stage_cache import StageCache
from backend.server.storage import folder_bytes, forget_photo
from backend.stages import Kept

MADE = ["observation", "head fit", "partial UV", "complete UV", "even-lit UV", "materials"]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    made_up = MadeUp()
    made_up.install(monkeypatch)
    return made_up


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return picture(tmp_path / "photo.png")


@pytest.fixture
def cache(tmp_path: Path) -> StageCache:
    return StageCache(tmp_path / "cache" / "somebody")


def made(photo: Path, cache: StageCache | None, *, seed: int = 0, **options: object) -> Reconstruction:
    return pipeline.reconstruct(photo, cache=cache, run=Run(seed=seed), **options)  # type: ignore[arg-type]


def same(a: object, b: object) -> bool:
    """Equal in every array's type and bytes and every number, NaN included."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, stages.StageRecord):
        return a.name == b.name and a.implementation == b.implementation
    if is_dataclass(a):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return a == b or (a != a and b != b)


def mask(**box: slice) -> np.ndarray:
    painted = np.zeros((240, 320), np.float32)
    painted[box["rows"], box["columns"]] = 1
    return painted


PAINTED = Corrections(exclude=mask(rows=slice(50, 90), columns=slice(100, 160)))
PINNED = Corrections(pins=(Pin(4, 100.0, 90.0),))


@pytest.mark.parametrize(
    ("change", "reruns"),
    [
        ({}, []),
        ({"name": "another name"}, []),
        ({"engine": "embedded"}, []),
        ({"seed": 1}, ["complete UV", "even-lit UV", "materials"]),
        ({"maps": 2048}, ["partial UV", "complete UV", "even-lit UV", "materials"]),
        ({"corrections": PAINTED}, ["partial UV", "complete UV", "even-lit UV", "materials"]),
        ({"corrections": PINNED}, ["pins", "partial UV", "complete UV", "even-lit UV", "materials"]),
        ({"face": 0}, MADE),
    ],
)
def test_only_what_a_change_reaches_is_made_again(
    engine: MadeUp, photo: Path, cache: StageCache, change: dict[str, object], reruns: list[str]
) -> None:
    made(photo, cache)
    assert engine.calls == MADE
    engine.calls.clear()
    made(photo, cache, **change)  # type: ignore[arg-type]
    assert engine.calls == reruns


def test_another_photo_shares_nothing(engine: MadeUp, photo: Path, cache: StageCache, tmp_path: Path) -> None:
    made(photo, cache)
    engine.calls.clear()
    made(picture(tmp_path / "other.png", grey=91), cache)
    assert engine.calls == MADE


def test_another_head_is_fitted_again(engine: MadeUp, photo: Path, cache: StageCache) -> None:
    made(photo, cache)
    engine.calls.clear()
    engine.head = replace(engine.head, mean_vertices=engine.head.mean_vertices * np.float32(1.01))
    made(photo, cache)
    assert engine.calls == MADE[1:]


def test_other_code_makes_everything_again(
    engine: MadeUp, photo: Path, cache: StageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(photo, cache)
    engine.calls.clear()
    monkeypatch.setattr(stages, "code_version", lambda: "a later version")
    made(photo, cache)
    assert engine.calls == MADE


def test_another_implementation_is_run(
    engine: MadeUp, photo: Path, cache: StageCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(photo, cache)
    engine.calls.clear()
    other = engine.engine()
    other = replace(other, homogenise=replace(other.homogenise, implementation="another"))
    monkeypatch.setattr(engines, "choose", lambda name, marcus=None: other)
    made(photo, cache)
    assert engine.calls == ["even-lit UV", "materials"]


def test_two_masks_are_told_apart_and_geometry_stays(engine: MadeUp, photo: Path, cache: StageCache) -> None:
    first = made(photo, cache, corrections=PAINTED)
    other = replace(PAINTED, exclude=mask(rows=slice(50, 90), columns=slice(100, 161)))
    engine.calls.clear()
    second = made(photo, cache, corrections=other)
    assert engine.calls == MADE[2:]
    assert same(first.fit, second.fit)
    assert first.materials.albedo_linear.tobytes() != second.materials.albedo_linear.tobytes()


@pytest.mark.parametrize("options", [{}, {"seed": 5}, {"corrections": PAINTED}, {"corrections": PINNED}])
def test_the_same_bytes_with_and_without_a_cache(
    engine: MadeUp, photo: Path, cache: StageCache, options: dict[str, object]
) -> None:
    plain = made(photo, None, **options)  # type: ignore[arg-type]
    filling = made(photo, cache, **options)  # type: ignore[arg-type]
    reading = made(photo, cache, **options)  # type: ignore[arg-type]
    assert same(plain, filling)
    assert same(plain, reading)
    assert "made up from nothing" in reading.warnings  # what a stage said is said again


def entries(cache: StageCache) -> list[Path]:
    return sorted(cache._folder.glob("*.safetensors"))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(p.read_bytes()[:-7]),
        lambda p: p.write_bytes(p.read_bytes() + b"more"),
        lambda p: p.write_bytes(b"\xff" * 64),
        lambda p: p.write_bytes(b"\x00" * p.stat().st_size),
        lambda p: flip(p, -3),  # in an array
        lambda p: flip(p, 40),  # in the header
    ],
    ids=["empty", "cut", "longer", "noise", "zeros", "flipped value", "flipped header"],
)
def test_a_damaged_entry_is_made_again(engine: MadeUp, photo: Path, cache: StageCache, damage) -> None:
    whole = made(photo, cache)
    assert len(entries(cache)) == len(MADE)
    for path in entries(cache):
        damage(path)
    engine.calls.clear()
    again = made(photo, cache)
    assert engine.calls == MADE
    assert same(whole, again)
    engine.calls.clear()
    assert same(whole, made(photo, cache))
    assert engine.calls == []


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(
    engine: MadeUp, photo: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a file").write_text("in the way")
    cache = StageCache(tmp_path / "a file" / "somebody")
    assert same(made(photo, None), made(photo, cache))
    assert "not kept" in caplog.text


def test_nothing_half_written_stays_when_the_disk_fills_up(
    cache: StageCache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(arrays, path, metadata):
        Path(path).write_bytes(b"the beginning")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("backend.server.stage_cache.save_file", full)
    cache.save("key", Kept(MadeUp().base.even, ()), {})
    assert list(cache._folder.iterdir()) == []
    assert "No space left" in caplog.text


def test_forget_leaves_nothing_of_the_photo(engine: MadeUp, photo: Path, tmp_path: Path) -> None:
    data = open_data_folder(tmp_path / "data")
    mine, others = "a" * 64, "b" * 64
    made(photo, StageCache(data.stages_of(mine)))
    made(photo, StageCache(data.stages_of(others)))
    held = folder_bytes(data.stages_of(mine))
    assert held > 0
    assert forget_photo(data, mine) == held
    assert not data.stages_of(mine).exists()
    engine.calls.clear()
    made(photo, StageCache(data.stages_of(mine)))
    assert engine.calls == MADE
    made(photo, StageCache(data.stages_of(others)))
    assert engine.calls == MADE  # the other photo's are still there


def test_a_result_that_cannot_be_kept_is_a_bug_told_by_name(cache: StageCache) -> None:
    with pytest.raises(TypeError, match="set"):
        cache.save("key", Kept({1, 2}, ()), {})


def test_the_real_engines_stages_say_what_they_read() -> None:
    """Stages that draw at random are those whose source uses the seed."""
    import inspect

    chosen = engines.choose("embedded")
    own = (chosen.fit, chosen.unwrap, chosen.complete, chosen.homogenise, chosen.materials)
    for stage in own:
        module = inspect.getmodule(stage.function)
        uses = "run.seed" in inspect.getsource(module) or "run.rng" in inspect.getsource(module)
        assert stage.reads_seed == uses, stage.name


@pytest.mark.slow
def test_a_real_reconstruction_comes_out_of_the_cache_unchanged(cache: StageCache) -> None:
    from portraits import DATA

    photo = DATA / "portrait_front.jpg"
    plain = made(photo, None, maps=512)
    made(photo, cache, maps=512)
    assert same(plain, made(photo, cache, maps=512))
    assert same(made(photo, None, maps=512, seed=4), made(photo, cache, maps=512, seed=4))
