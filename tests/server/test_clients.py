"""Who gets in, who sees what, and what malformed messages do: nothing."""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

import msgspec
import pytest
import zmq
from harness import PATIENCE_S, PHOTO, Silence

from backend.server.data_folder import DataFolder
from backend.server.keys import make_client, new_key_pair
from blender_addon import protocol as p
from blender_addon.connection import read_connection


def free_ports() -> int:
    """A port whose successor is free too."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as first:
            port = first.getsockname()[1]
            try:
                socket.create_server(("127.0.0.1", port + 1)).close()
            except OSError:
                continue
            return port


@pytest.fixture
def remote(start, data, tmp_path):
    """A server with a remote port, and a function that makes a client's connection."""
    data.mkdir()
    (data / "keys").mkdir()
    clients, address = tmp_path / "clients", f"tcp://127.0.0.1:{free_ports()}"
    clients.mkdir()

    def connection(name: str):
        return read_connection(make_client(DataFolder(data), clients, name, address)[1])

    first = connection("anna")
    server = start("--bind", address, "--authorize", str(clients))
    return server, first, connection, clients


def test_versions_that_differ_are_told_which_side_to_update(server, connect):
    client = connect(server, hello=False)
    newer = client.ask(p.Hello, protocol=p.PROTOCOL + 1, client="t")
    assert newer.problem.code == "protocol"
    assert "update the backend" in newer.problem.message
    older = client.ask(p.Hello, protocol=0, client="t")
    assert "update the add-on" in older.problem.message
    # A later version's Hello may have fields that this one does not know.
    header = msgspec.msgpack.encode({"type": "hello", "id": 77, "protocol": 9, "colour": "blue"})
    for magic in (p.MAGIC, b"LKN9"):
        client.commands.send_multipart([magic, header])
        reply, _ = client.reply()
        assert reply.id == 77
        assert "update the backend" in reply.problem.message


def test_nothing_goes_without_hello(server, connect):
    client = connect(server, hello=False)
    for kind, fields in ((p.List, {}), (p.Shutdown, {}), (p.Submit, {"name": "x"})):
        assert client.ask(kind, **fields).problem.code == "protocol"
    client.events.send_multipart(p.encode(p.Listen(session="made up")))
    assert isinstance(client.event()[0], p.Goodbye)


def test_client_that_is_not_allowed_gets_nothing(server, connect, client):
    """It knows the server's public key, which is no secret, but its own key is not on the list."""
    keys = new_key_pair()
    stranger = msgspec.structs.replace(
        server.connection, client_public_key=keys.public, client_secret_key=keys.secret
    )
    outside = connect(server, stranger, hello=False)
    with pytest.raises(Silence):
        outside.ask(p.Hello, protocol=p.PROTOCOL, client="stranger", timeout_s=1.0)
    plain = zmq.Context()
    no_keys = plain.socket(zmq.DEALER)
    no_keys.linger = 0
    no_keys.connect(server.connection.commands)
    no_keys.send_multipart(p.encode(p.Hello(id=1, protocol=p.PROTOCOL, client="plain")))
    assert not no_keys.poll(500)
    plain.destroy(linger=0)
    assert isinstance(client.ask(p.Ping), p.Ok)


def test_clients_see_and_touch_their_own_jobs_only(remote, connect):
    server, anna_keys, connection, _ = remote
    local, anna = connect(server), connect(server, anna_keys)
    ben = connect(server, connection("ben"))
    assert local.welcome.same_machine
    assert not anna.welcome.same_machine
    job = anna.submit()
    anna.wait(job, p.Done)
    for other in (local, ben):
        assert other.state().jobs == ()
        for kind, fields in (
            (p.Cancel, {}),
            (p.Rerun, {}),
            (p.Attach, {}),
            (p.Fetch, {"name": "mesh.npz"}),
            (p.Refine, {"pins": ()}),
        ):
            assert other.ask(kind, job=job, **fields).problem.code == "unknown_job"
        assert other.ask(p.Submit, name="x", parent=job).problem.code == "unknown_job"
        assert not other.events.poll(200)  # and no events
    # Forgetting the same photograph takes away one's own jobs of it only.
    sha = anna.info(job).photo_sha256
    own = ben.submit()
    ben.wait(own, p.Done)
    ben.ask(p.Forget, photo_sha256=sha)
    assert ben.state().jobs == ()
    assert isinstance(anna.ask(p.Fetch, job=job, name="mesh.npz"), p.Chunk)
    assert isinstance(anna.ask(p.Rerun, job=job), p.Failure)
    assert (server.data / "photos" / sha).exists()


def test_remote_client_is_shown_no_paths_and_cannot_use_any(remote, connect, tmp_path):
    server, anna_keys, _, _ = remote
    anna = connect(server, anna_keys)
    assert anna.ask(p.Submit, name="x", path="/etc/hostname").problem.code == "refused"
    reply = anna.ask(p.Submit, [PHOTO], name="x", photo_frame=0, options=p.Options(head="ict:/etc"))
    assert reply.problem.code == "refused"
    assert anna.ask(p.Shutdown).problem.code == "refused"
    job = anna.submit()
    done = anna.wait(job, p.Done)
    assert done.info.directory is None
    seen = [msgspec.json.encode(message) for message in (anna.state(), *(e for e, _ in anna.kept), done)]
    assert all(str(tmp_path).encode() not in text for text in seen)
    assert anna.state().networked
    got = {}
    for file in done.info.files:
        assert file.path is None
        _, bulk = anna.ask_bulk(p.Fetch, job=job, name=file.name)
        got[file.name] = bytes(bulk[0])
    assert got["mesh.npz"] == PHOTO


def test_withdrawn_key_shuts_a_client_out(remote, connect):
    server, anna_keys, _, clients = remote
    anna = connect(server, anna_keys)
    (clients / "anna.pub").unlink()
    time.sleep(4.5)  # the loop looks every two seconds at a list that is up to two seconds old
    with pytest.raises(Silence):
        anna.ask(p.Ping, timeout_s=1.0)


def test_local_key_is_good_on_this_machine_only():
    from backend.server.auth import LOCAL, AllowList

    allowed = AllowList("key")
    for address in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost:0:0:12", ":0:0:12", ""):
        assert allowed.owner_of("key", address) == LOCAL
    for address in ("10.0.0.7", "::ffff:10.0.0.7", "2001:db8::1", "localhost.evil", "nonsense"):
        assert allowed.owner_of("key", address) is None
    assert allowed.owner_of("other", "127.0.0.1") is None


def test_two_clients_share_one_server_on_this_machine(server, connect):
    """Two Blenders: both see the same user's jobs and their events."""
    one, two = connect(server), connect(server)
    job = one.submit()
    one.wait(job, p.Done)
    two.wait(job, p.Done)
    other = two.submit(photo=PHOTO + b"2")
    one.wait(other, p.Done)
    assert {info.job for info in one.state().jobs} == {info.job for info in two.state().jobs} == {job, other}
    one.close()  # one Blender dies; the other goes on
    third = two.submit()
    two.wait(third, p.Done)


def test_tcp_where_there_is_no_ipc(start, connect):
    server = start("--tcp")
    assert server.connection.commands.startswith("tcp://127.0.0.1:")
    client = connect(server)
    client.wait(client.submit(), p.Done)


def test_client_chosen_routing_id_is_refused(server, connect, client):
    named = connect(server, hello=False)
    named.commands.close()
    named.commands = named.context.socket(zmq.DEALER)
    named.commands.linger = 0
    named.commands.setsockopt(zmq.ROUTING_ID, b"me")
    connection = server.connection
    named.commands.curve_serverkey = connection.server_public_key.encode()
    named.commands.curve_publickey = connection.client_public_key.encode()
    named.commands.curve_secretkey = connection.client_secret_key.encode()
    named.commands.connect(connection.commands)
    with pytest.raises(Silence):
        named.ask(p.Ping, timeout_s=0.5)


def malformed(rng: random.Random) -> list[bytes]:
    """Frames that are wrong in one of many ways."""
    good = p.encode(p.Submit(id=1, name="x", photo_frame=0), [b"photo"])
    match rng.randrange(9):
        case 0:
            return [rng.randbytes(rng.randrange(60)) for _ in range(rng.randrange(1, 20))]
        case 1:
            return [p.MAGIC]
        case 2:
            return [p.MAGIC, rng.randbytes(rng.randrange(80))]
        case 3:
            return [p.MAGIC, good[1][: rng.randrange(len(good[1]))]]
        case 4:
            flipped = bytearray(good[1])
            flipped[rng.randrange(min(12, len(flipped)))] ^= 1 << rng.randrange(8)
            return [p.MAGIC, bytes(flipped), b"photo"]
        case 5:
            return [p.MAGIC, b"\x91" * rng.randrange(1, 3000)]  # nested deeper than any message
        case 6:
            return [
                p.MAGIC,
                msgspec.msgpack.encode({"type": rng.choice(["hello", "list", "?", 3]), "id": "x"}),
            ]
        case 7:
            return [p.MAGIC, msgspec.msgpack.encode({"type": "list", "id": 1 << 63}), b""]
        case _:
            return [p.MAGIC, *[b""] * rng.randrange(14, 40)]


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_malformed_messages_do_nothing(server, client, connect, count):
    rng = random.Random(20)
    stranger = connect(server)  # allowed in, but it talks nonsense and reads little of what it is told
    sent = 0
    while sent < count:
        socket_ = stranger.events if sent % 5 == 0 else stranger.commands
        try:
            socket_.send_multipart(malformed(rng), zmq.NOBLOCK)
            sent += 1
        except zmq.Again:
            socket_.poll(1000, zmq.POLLOUT)
        while stranger.commands.poll(0):
            stranger.commands.recv_multipart()
    assert isinstance(client.ask(p.Ping), p.Ok)
    client.wait(client.submit(), p.Done)
    assert server.process.poll() is None
    assert len(client.state().jobs) <= 1 + 100  # a flipped bit may still be a submit
    log = (server.data / "logs" / "server.log").read_text()
    assert "refused" in log
    assert "Traceback" not in log
    assert len(log) < 200_000


def test_oversized_frames_and_strangers_on_the_wire(start, connect):
    server = start("--tcp")
    client, big = connect(server), connect(server)
    big.commands.send_multipart([p.MAGIC, b"x", b"\0" * (p.MAX_FRAME_BYTES + 1)])
    with pytest.raises(Silence):
        big.reply(1.0)
    host, port = server.connection.commands.removeprefix("tcp://").rsplit(":", 1)
    rng = random.Random(3)
    for _ in range(50):
        with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as raw:
            raw.sendall(rng.randbytes(rng.randrange(1, 2000)))
    assert isinstance(client.ask(p.Ping), p.Ok)
    client.wait(client.submit(), p.Done)


def test_keys_for_a_client_are_private_and_never_overwritten(tmp_path):
    from backend.errors import BadInput

    (tmp_path / "keys").mkdir()
    data, folder = DataFolder(tmp_path), tmp_path / "clients"
    public, connection = make_client(data, folder, "anna", "tcp://studio:7171")
    assert connection.stat().st_mode & 0o777 == 0o600
    read = read_connection(connection)
    assert (read.commands, read.events) == ("tcp://studio:7171", "tcp://studio:7172")
    assert public.read_text().strip() == read.client_public_key
    assert read.client_secret_key not in public.read_text()
    other = read_connection(make_client(data, folder, "ben", "tcp://studio:7171")[1])
    assert other.server_public_key == read.server_public_key
    for name, address in (
        ("anna", "tcp://studio:7171"),
        ("../x", "tcp://studio:7171"),
        ("carl", "studio:7171"),
        ("carl", "tcp://studio:99999"),
    ):
        with pytest.raises(BadInput):
            make_client(data, folder, name, address)
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "anna.connection.json",
        "anna.pub",
        "ben.connection.json",
        "ben.pub",
    ]
