"""docs/protocol.md is enough to write another client: its example runs, its tables are complete."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import msgspec
from harness import PHOTO, ROOT

from blender_addon import connection, protocol

PAGE = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")


def test_the_example_runs_as_it_stands(server, tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert set(re.findall(r"^import (.*)$", code, re.MULTILINE)) == {"sys, zmq, msgpack, json"}
    (tmp_path / "client.py").write_text(code, encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes(PHOTO)
    run = subprocess.run(
        [sys.executable, "-I", "client.py", str(server.data / "connection.json"), "photo.jpg"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert lines[0] == "1/6 observation"
    assert lines[-1].startswith(str(server.data / "jobs"))


def test_every_message_and_field_is_in_the_tables():
    structs = [
        kind
        for name, kind in inspect.getmembers(protocol, inspect.isclass)
        if issubclass(kind, msgspec.Struct) and not name.startswith("_")
    ]
    assert len(structs) > 30
    for kind in structs:
        tag = kind.__struct_config__.tag
        title = f"#### {kind.__name__}" + (f': `"{tag}"`' if tag else "")
        assert f"{title}\n" in PAGE
        section = PAGE.partition(f"{title}\n")[2].partition("\n###")[0]
        common = {"id", "job", "number"} if tag else set()
        listed = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
        assert listed | common >= set(kind.__struct_fields__), kind
        assert listed <= set(kind.__struct_fields__), kind


def test_limits_and_connection_file_are_told_as_they_are():
    for number, words in (
        (protocol.MAX_FRAMES, "| frames of a message | {} |"),
        (protocol.MAX_HEADER_BYTES >> 20, "| header | {} MiB |"),
        (protocol.MAX_FRAME_BYTES >> 20, "| one frame | {} MiB;"),
        (protocol.MAX_MESSAGE_BYTES >> 20, "| message | {} MiB |"),
        (protocol.CHUNK_BYTES >> 20, "| bulk frame of `chunk` | {} MiB |"),
        (protocol.PROTOCOL, "Version {}."),
    ):
        assert words.format(number) in PAGE
    for field in connection.Connection.__struct_fields__:
        assert f"`{field}`" in PAGE
