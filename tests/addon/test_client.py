"""The client against a fake server that speaks the protocol, and against one that misbehaves."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_server import HURRIED, FakeServer, job_info

from blender_addon import protocol
from blender_addon.client import Client, Connected, Lost, NoAnswer, Pace, Received, RequestRefused
from blender_addon.connection import read_connection
from blender_addon.protocol import PROTOCOL

Connect = Callable[..., Client]


def next_of(client: Client, kind: type, timeout_s: float = 5.0) -> Any:
    """The next happening of ``kind``; others are skipped."""
    end = time.monotonic() + timeout_s
    while True:
        happening = client.events.get(timeout=max(0.0, end - time.monotonic()))
        if isinstance(happening, kind):
            return happening


def numbers(client: Client, until: int) -> list[int]:
    """Numbers of the events received until ``until`` is among them."""
    got: list[int] = []
    while not got or got[-1] != until:
        got.append(next_of(client, Received).event.number)
    return got


def started(job: str, number: int) -> protocol.StageStarted:
    return protocol.StageStarted(job=job, number=number, stage="s", implementation="i", index=0, count=1)


def test_handshake_then_request_with_bulk(server: FakeServer, connect: Connect) -> None:
    server.answers[protocol.Drive] = lambda request, bulk: (
        protocol.Driven(id=request.id, vertices=len(bulk[0])),
        [bulk[0] * 2],
    )
    client = connect(server.connection_file)
    answer = client.request(protocol.Drive(id=0, job="j", frames=1), [b"abc"]).result(5)
    assert isinstance(answer.reply, protocol.Driven)
    assert answer.reply.vertices == 3
    assert bytes(answer.bulk[0]) == b"abcabc"
    assert [type(r) for r in server.requests[:3]] == [protocol.Hello, protocol.Listen, protocol.Drive]
    assert next_of(client, Connected).welcome.server == "fake 0"
    assert client.connected


def test_ipc(tmp_path: Path, connect: Connect) -> None:
    server = FakeServer(tmp_path, endpoint="ipc://*")
    client = connect(server.connection_file)
    assert isinstance(client.request(protocol.Ping(id=0)).result(5).reply, protocol.Ok)
    server.stop()


def test_replies_find_their_requests(server: FakeServer, connect: Connect) -> None:
    server.answers[protocol.Fetch] = lambda request, bulk: (
        protocol.Chunk(id=request.id, offset=request.offset, total_bytes=0),
        [],
    )
    client = connect(server.connection_file)
    asked = [client.request(protocol.Fetch(id=0, job="j", name="n", offset=i)) for i in range(200)]
    replies = [future.result(5).reply for future in asked]
    assert [reply.offset for reply in replies if isinstance(reply, protocol.Chunk)] == list(range(200))


def test_failure_is_an_error_with_its_problem(server: FakeServer, connect: Connect) -> None:
    problem = protocol.Problem(code="bad_input", message="not a photo")
    server.answers[protocol.List] = lambda request, bulk: (
        protocol.Failure(id=request.id, problem=problem),
        [],
    )
    with pytest.raises(RequestRefused, match="not a photo") as caught:
        connect(server.connection_file).request(protocol.List(id=0)).result(5)
    assert caught.value.problem == problem


@pytest.mark.parametrize(("theirs", "side"), [(PROTOCOL + 1, "add-on"), (PROTOCOL - 1, "backend")])
def test_other_protocol_says_which_side_to_update(
    server: FakeServer, connect: Connect, theirs: int, side: str
) -> None:
    server.does.protocol = theirs
    client = connect(server.connection_file)
    problem = next_of(client, Lost).problem
    assert problem.code == "protocol"
    assert problem.message.endswith(f"update the {side}")
    assert client.problem == problem


def test_other_protocol_in_the_file(server: FakeServer, connect: Connect) -> None:
    record = msgspec.structs.replace(read_connection(server.connection_file), protocol=PROTOCOL + 1)
    server.connection_file.write_bytes(msgspec.json.encode(record))
    assert next_of(connect(server.connection_file), Lost).problem.message.endswith("update the add-on")


def test_no_server_then_one(tmp_path: Path, connect: Connect) -> None:
    client = connect(tmp_path / "connection.json")
    assert "no backend is running" in next_of(client, Lost).problem.message
    waiting = client.request(protocol.Ping(id=0))
    server = FakeServer(tmp_path)
    assert isinstance(waiting.result(5).reply, protocol.Ok)
    server.stop()


def test_nobody_listens(server: FakeServer, connect: Connect) -> None:
    server.stop()
    client = connect(server.connection_file)
    assert "nothing listens there" in next_of(client, Lost).problem.message
    with pytest.raises(NoAnswer, match="nothing listens there"):
        client.request(protocol.Ping(id=0), timeout_s=0.1).result(5)


def test_key_that_is_not_allowed(tmp_path: Path, connect: Connect) -> None:
    server = FakeServer(tmp_path, admit=False)
    problem = next_of(connect(server.connection_file), Lost).problem
    assert problem.code == "refused"
    assert "does not accept this client's key" in problem.message
    server.stop()


@pytest.mark.parametrize("damage", [{"server_public_key": "x" * 40}, {"commands": "nonsense://x"}])
def test_damaged_connection_file(server: FakeServer, connect: Connect, damage: dict[str, str]) -> None:
    record = msgspec.structs.replace(read_connection(server.connection_file), **damage)
    server.connection_file.write_bytes(msgspec.json.encode(record))
    assert next_of(connect(server.connection_file), Lost).problem.code in ("missing", "refused")


def test_silent_server_is_lost_and_found_again(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.does.silent = True
    open_request = client.request(protocol.List(id=0))
    assert "has not answered" in next_of(client, Lost).problem.message
    with pytest.raises(NoAnswer, match="has not answered"):
        open_request.result(1)
    server.does.silent = False
    next_of(client, Connected)


def test_silent_from_the_start(server: FakeServer, connect: Connect) -> None:
    server.does.silent = True
    assert "does not answer" in next_of(connect(server.connection_file), Lost).problem.message


def test_quiet_server_is_kept_by_pings(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    time.sleep(1.5 * HURRIED.silence_s)
    assert client.connected
    assert len(server.seen(protocol.Ping)) > 2


def test_server_dies_in_the_middle_of_a_request(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.does.dies_at = "list"
    with pytest.raises(NoAnswer, match="stopped"):
        client.request(protocol.List(id=0)).result(5)
    next_of(client, Lost)
    again = FakeServer(tmp_path)  # other keys, other ports
    next_of(client, Connected)
    assert isinstance(client.request(protocol.Ping(id=0)).result(5).reply, protocol.Ok)
    again.stop()


def test_malformed_reply_fails_its_request_alone(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file, Pace())
    next_of(client, Connected)
    server.does.malformed = True
    with pytest.raises(NoAnswer, match="cannot be read"):
        client.request(protocol.List(id=0)).result(5)
    server.does.malformed = False
    assert isinstance(client.request(protocol.List(id=0)).result(5).reply, protocol.Ok)
    assert client.connected


def test_meaningless_frames_are_skipped(server: FakeServer, connect: Connect) -> None:
    server.does.strangers = 50
    client = connect(server.connection_file)
    assert isinstance(client.request(protocol.Ping(id=0)).result(5).reply, protocol.Ok)


def test_slow_server_times_out_one_request_only(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file, Pace())
    next_of(client, Connected)
    server.does.slow_s = 0.3
    pace_free = client.request(protocol.List(id=0), timeout_s=0.05)
    with pytest.raises(NoAnswer, match="'list' in time"):
        pace_free.result(5)
    server.does.slow_s = 0.0
    assert isinstance(client.request(protocol.Ping(id=0)).result(5).reply, protocol.Ok)


def test_unreadable_request_fails_with_the_servers_reason(server: FakeServer, connect: Connect) -> None:
    problem = protocol.Problem(code="protocol", message="what was that?")
    server.answers[protocol.List] = lambda request, bulk: (protocol.Failure(id=0, problem=problem), [])
    with pytest.raises(RequestRefused, match="what was that"):
        connect(server.connection_file).request(protocol.List(id=0)).result(5)


def test_events_come_in_order_with_their_frames(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.infos["j"] = job_info("j")
    server.emit(protocol.Queued(job="j", number=1, info=server.infos["j"]))
    server.emit(protocol.StageProgress(job="j", number=1, stage="s", fraction=0.5, job_fraction=0.1))
    finished = protocol.StageFinished(
        job="j", number=2, stage="s", seconds=1.0, cached=False, preview_frame=0
    )
    server.emit(finished, [b"png"])
    first, second, third = (next_of(client, Received) for _ in range(3))
    assert isinstance(first.event, protocol.Queued)
    assert isinstance(second.event, protocol.StageProgress)
    assert third == Received(finished, [b"png"])


def test_lost_events_are_asked_for_again(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.infos["j"] = job_info("j")
    server.does.drops = {3, 4}
    for number in range(1, 9):
        server.emit(started("j", number))
    assert numbers(client, until=8) == list(range(1, 9))
    assert server.seen(protocol.Attach)[0].after == 2


def test_events_during_an_interruption_are_delivered_once(
    server: FakeServer, connect: Connect, tmp_path: Path
) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.infos["j"] = job_info("j")
    for number in (1, 2, 3):
        server.emit(started("j", number))
    assert numbers(client, until=3) == [1, 2, 3]
    server.stop()
    again = FakeServer(tmp_path)
    again.infos = {"j": job_info("j", "done")}
    again.kept = server.kept
    again.kept["j"] += [
        (started("j", 4), []),
        (protocol.Done(job="j", number=5, info=job_info("j", "done")), []),
    ]
    assert numbers(client, until=5) == [4, 5]
    assert again.seen(protocol.Attach)[0].after == 3
    time.sleep(0.1)
    assert client.events.empty() or not isinstance(client.events.get(), Received)
    again.stop()


def test_many_deaths_lose_no_event(tmp_path: Path, connect: Connect) -> None:
    """Servers come and go, and drop events on the way; every event arrives once and in order."""
    client = connect(tmp_path / "connection.json")
    kept: dict[str, Any] = {}
    number = 0
    for round_ in range(8):
        server = FakeServer(tmp_path, endpoint=("ipc://*", "tcp://127.0.0.1:*")[round_ % 2])
        server.kept, server.infos = kept, {"j": job_info("j")}
        server.does.drops = {number + 2, number + 5}
        while round_ % 3 and not client.connected:
            time.sleep(0.01)
        for _ in range(7):
            number += 1
            server.emit(started("j", number))
            time.sleep(0.005)
        server.stop()
    server = FakeServer(tmp_path)
    server.kept, server.infos = kept, {"j": job_info("j")}
    got: list[int] = []
    while not got or got[-1] < number:
        happening = client.events.get(timeout=10)
        if isinstance(happening, Received):
            got.append(happening.event.number)
    assert got == list(range(1, number + 1))
    server.stop()


def test_a_job_forgotten_meanwhile_is_reported(server: FakeServer, connect: Connect, tmp_path: Path) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.emit(started("j", 1))
    numbers(client, until=1)
    server.stop()
    again = FakeServer(tmp_path)
    assert next_of(client, Received).event == protocol.Forgotten(job="j", number=2)
    again.stop()


def test_attach_by_the_caller_repeats_the_events(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.infos["j"] = job_info("j")
    for number in (1, 2, 3):
        server.emit(started("j", number))
    numbers(client, until=3)
    client.request(protocol.Attach(id=0, job="j", after=1)).result(5)
    assert numbers(client, until=3) == [2, 3]


def test_goodbye_is_told_with_its_reason(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file)
    next_of(client, Connected)
    server.emit(protocol.Goodbye(reason="it was asked to stop"))
    assert isinstance(next_of(client, Received).event, protocol.Goodbye)
    assert "asked to stop" in next_of(client, Lost).problem.message


@pytest.mark.parametrize("state", ["connected", "connecting", "waiting", "silent"])
def test_close_ends_the_thread_and_open_requests(server: FakeServer, connect: Connect, state: str) -> None:
    pace = dataclasses.replace(Pace(), retry_first_s=60.0)
    if state == "connecting":
        server.does.silent = True
    if state == "waiting":
        server.stop()
    client = connect(server.connection_file, pace)
    if state in ("connected", "silent"):
        next_of(client, Connected)
    if state == "waiting":
        next_of(client, Lost)
    server.does.silent = state in ("silent", "connecting")
    answer = client.request(protocol.List(id=0)) if state != "connected" else None
    client.close()
    assert not client._thread.is_alive()
    if answer is not None:
        with pytest.raises(NoAnswer):
            answer.result(1)
    with pytest.raises(NoAnswer, match="closed"):
        client.request(protocol.List(id=0)).result(1)
    client.close()


def test_many_threads_ask_at_once(server: FakeServer, connect: Connect) -> None:
    client = connect(server.connection_file, Pace())
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(25):
                assert isinstance(client.request(protocol.List(id=0)).result(10).reply, protocol.Ok)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not errors
    assert len(server.seen(protocol.List)) == 200


def test_message_over_the_limits_is_the_callers_error(server: FakeServer, connect: Connect) -> None:
    with pytest.raises(protocol.ProtocolError):
        connect(server.connection_file).request(protocol.Ping(id=0), [bytes(protocol.MAX_FRAME_BYTES + 1)])
