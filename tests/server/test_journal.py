"""The journal file: what is written is found again, what is damaged is told."""

from __future__ import annotations

import sqlite3

import pytest

from backend.errors import Missing
from backend.server.journal import Journal, Record
from blender_addon import protocol as p


def record(job: str = "a", **changes) -> Record:
    fields = {
        "owner": "local",
        "state": "done",
        "photo_name": "Ännchen",
        "photo_sha256": "0" * 64,
        "options": p.Options(seed=4),
        "pins": (p.Pin(landmark=3, x_px=0.5, y_px=7.25),),
        "submitted_s": 12.5,
        "files": (("maps/albedo.png", 5),),
        "problem": p.Problem(code="missing", message="x"),
        **changes,
    }
    return Record(job=job, **fields)


def test_jobs_and_events_are_found_again(tmp_path):
    journal = Journal(tmp_path / "j.sqlite")
    journal.save(record("b", submitted_s=20.0), record("a"))
    event = p.StageFinished(job="a", number=1, stage="s", seconds=0.5, cached=True, preview_frame=0)
    journal.append(record("a", last_event=1), event, b"preview bytes")
    journal.append(record("a", last_event=2), p.Forgotten(job="a", number=2), None)
    journal.close()
    assert (tmp_path / "j.sqlite").stat().st_mode & 0o777 == 0o600
    journal = Journal(tmp_path / "j.sqlite")
    assert journal.records() == [record("a", last_event=2), record("b", submitted_s=20.0)]
    assert list(journal.events("a", 0)) == [(event, b"preview bytes"), (p.Forgotten(job="a", number=2), None)]
    assert [e.number for e, _ in journal.events("a", 1)] == [2]
    journal.remove(["a"])
    assert [r.job for r in journal.records()] == ["b"]
    assert list(journal.events("a", 0)) == []
    for path in tmp_path.iterdir():
        assert b"preview bytes" not in path.read_bytes()
    journal.close()


def test_other_versions_and_damage_are_told(tmp_path):
    path = tmp_path / "j.sqlite"
    Journal(path).close()
    database = sqlite3.connect(path)
    database.execute("INSERT INTO jobs VALUES ('x', '{\"job\": 3}')")
    database.commit()
    journal = Journal(path)
    with pytest.raises(Missing, match="damaged"):
        journal.records()
    journal.close()
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(Missing, match="another version"):
        Journal(path)
