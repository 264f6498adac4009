"""A run's figures in a page of the documentation."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from PIL import Image
from test_report import METRIC, made_up_run

from backend.errors import BadInput
from backend.evaluation.report import build_report
from backend.evaluation.report_document import BEGIN, END, figures, worst_cases, write_document
from backend.evaluation.report_pictures import picture_order


def test_figures_replace_what_stood_between_the_marks(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run", options={"head": "open:/home/me/own.safetensors"})
    page, images = tmp_path / "docs" / "page.md", tmp_path / "docs" / "images"
    page.parent.mkdir()
    images.mkdir()
    for name in ("images/old.jpg", "images/other.jpg", "elsewhere.jpg"):
        (page.parent / name).write_bytes(b"x")
    old = "old figures ![of then](images/old.jpg) ![not ours](elsewhere.jpg)"
    page.write_text(f"Before\n{BEGIN}\n{old}\n{END}\nAfter\n")
    worst = write_document(build_report(folder), folder, page, images)
    text = page.read_text()
    assert text.startswith("Before\n")
    assert text.endswith("After\n")
    assert "old figures" not in text
    assert "head open:own.safetensors;" in text
    assert "/home/me" not in text
    assert "REALY all [mm] ↓" in text
    assert worst[0] == "h3-turned"  # without a reconstruction
    assert "](images/" in text
    assert not (images / "old.jpg").exists()
    assert (images / "other.jpg").exists()
    assert (page.parent / "elsewhere.jpg").exists()
    (images / "other.jpg").unlink()
    shown = sorted(path.stem for path in images.iterdir())
    assert set(shown) <= set(worst)
    with Image.open(images / f"{shown[0]}.jpg") as strip:
        assert strip.width > 1
    again = write_document(build_report(folder), folder, page, images)
    assert again == worst
    assert page.read_text() == text


def test_the_worst_come_first_by_their_ranks(tmp_path: Path) -> None:
    report = build_report(made_up_run(tmp_path / "run"))
    values = {row.id: row.values["engine:embedded"][METRIC] for row in report.cases}
    known = sorted((v for v in values.values() if v is not None), reverse=True)
    worst = worst_cases(report, 4)
    assert worst[0].id == "h3-turned"
    assert [values[row.id] for row in worst[1:]] == known[:3]


def test_a_table_has_columns_for_those_that_were_measured(tmp_path: Path) -> None:
    report = build_report(made_up_run(tmp_path / "run"))
    known = next(table for table in report.metrics if table.name == METRIC)
    engine = {"engine:embedded": known.overall["engine:embedded"]}
    splats = msgspec.structs.replace(known, name="novel30_head_psnr_db", overall=engine, versus_baseline={})
    lines = figures(msgspec.structs.replace(report, metrics=(*report.metrics, splats)))
    tables = {title: lines[n + 2] for n, title in enumerate(lines) if title.startswith("### ")}
    captured = next(head for title, head in tables.items() if "splats" in title)
    assert "engine:embedded" in captured
    assert "mean-head" not in captured
    assert "mean-head" in tables["### Geometry"]


def test_a_page_without_marks_is_left_alone(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path / "run")
    page = tmp_path / "page.md"
    page.write_text(f"no {END} before {BEGIN}")
    with pytest.raises(BadInput, match="lacks the two lines"):
        write_document(build_report(folder), folder, page, tmp_path)
    assert page.read_text() == f"no {END} before {BEGIN}"
    with pytest.raises(BadInput, match="cannot be read"):
        write_document(build_report(folder), folder, tmp_path / "none.md", tmp_path)


def test_pictures_of_the_photo_come_before_turned_ones() -> None:
    names = ["albedo_left45", "relit_sun_photo", "albedo", "strange", "relit_sun_right45", "geometry"]
    shown = sorted((f"pictures/m/c/{name}.png" for name in names), key=picture_order)
    assert [Path(path).stem for path in shown] == [
        "geometry", "albedo", "relit_sun_photo", "strange", "albedo_left45", "relit_sun_right45",
    ]  # fmt: skip
