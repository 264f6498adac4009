"""Framing between server and worker: pieces, ends, limits, strangers."""

from __future__ import annotations

import io
import random

import pytest

from backend.server.worker_protocol import (
    MAX_MESSAGE_BYTES,
    CancelJob,
    ChannelError,
    FromWorker,
    Heartbeat,
    Ready,
    RunDecode,
    RunDrive,
    RunJob,
    StageFinished,
    Stop,
    ToWorker,
    Writer,
    messages_from_worker,
    messages_to_worker,
    pack,
    reader_from_worker,
    reader_to_worker,
)
from blender_addon.protocol import Options, Pin

TO: list[ToWorker] = [
    RunJob(
        job="j",
        photo_path="p",
        photo_name="näme",
        options=Options(seed=3, maps=4096),
        pins=(Pin(landmark=4, x_px=1.5, y_px=-2.25),),
        exclude_path="m",
        directory="/d",
    ),
    CancelJob(job="j"),
    RunDecode(request=8, directory="/d", vertices=b"\1" * 24),
    RunDrive(request=7, directory="/d", frames=2, weights=bytes(range(256)) * 4096),
    Stop(),
]
FROM: list[FromWorker] = [
    Ready(pid=1, device="cpu"),
    StageFinished(job="j", stage="head fit", seconds=0.5, cached=True, preview=b"\x00\xff" * 999),
    Heartbeat(rss_bytes=None, job=None),
]


def test_what_is_written_is_read() -> None:
    stream = io.BytesIO()
    for message in TO:
        Writer(stream).send(message)
    stream.seek(0)
    reader = reader_to_worker(stream)
    assert [reader.receive() for _ in TO] == TO
    assert reader.receive() is None


def test_messages_arrive_in_pieces_of_any_size() -> None:
    data = b"".join(map(pack, FROM)) * 3
    chance = random.Random(1)
    unpacker, got = messages_from_worker(), []
    while data:
        size = chance.choice([1, 2, 3, 5, 700, 4000])
        got += unpacker.feed(data[:size])
        data = data[size:]
    assert got == FROM * 3


def test_an_end_in_the_middle_is_an_end() -> None:
    whole = pack(TO[2])
    for cut in (0, 1, 3, 4, 5, len(whole) - 1):
        assert reader_to_worker(io.BytesIO(whole[:cut])).receive() is None


def test_a_closed_pipe_is_an_end() -> None:
    stream = io.BytesIO(pack(TO[0]))
    stream.close()
    assert reader_to_worker(stream).receive() is None


@pytest.mark.parametrize(
    "data",
    [
        (MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
        b"Traceb" + b"x" * (1 << 16),  # something printed into the pipe
        (3).to_bytes(4, "big") + b"\xc1\xc1\xc1",
        (0).to_bytes(4, "big"),
        pack(FROM[0]),  # a message of the other direction
    ],
)
def test_what_is_no_message_is_told(data: bytes) -> None:
    with pytest.raises(ChannelError):
        reader_to_worker(io.BytesIO(data + b"\0" * 64)).receive()
    with pytest.raises(ChannelError):
        messages_to_worker().feed(data + b"\0" * 64)


def test_a_message_over_the_limit_is_not_sent() -> None:
    stream = io.BytesIO()
    with pytest.raises(ChannelError, match="limit"):
        Writer(stream).send(RunDrive(request=1, directory="", frames=1, weights=bytes(MAX_MESSAGE_BYTES)))
    assert stream.getvalue() == b""


def test_worker_messages_are_not_the_servers() -> None:
    with pytest.raises(ChannelError):
        reader_from_worker(io.BytesIO(pack(Stop()))).receive()
