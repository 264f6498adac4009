"""ZeroMQ encrypts with the system's libsodium where there is one, and talks to a peer that does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PEER = """
import sys
sys.path.insert(0, {root!r})
from blender_addon.libsodium import prefer_system_libsodium
name = prefer_system_libsodium() if {prefer} else None
import zmq
context = zmq.Context()
"""
SERVER = """
socket = context.socket(zmq.ROUTER)
public, secret = zmq.curve_keypair()
socket.curve_server, socket.curve_publickey, socket.curve_secretkey = True, public, secret
socket.bind("tcp://127.0.0.1:*")
print(name, socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip(chr(0)), public.decode(), flush=True)
socket.send_multipart(socket.recv_multipart())
context.destroy(linger=1000)
"""
CLIENT = """
socket = context.socket(zmq.DEALER)
socket.curve_serverkey = sys.argv[2].encode()
socket.curve_publickey, socket.curve_secretkey = zmq.curve_keypair()
socket.rcvtimeo = 20_000
socket.connect(sys.argv[1])
socket.send(bytes(range(256)) * 1000)
print(name, socket.recv() == bytes(range(256)) * 1000)
"""


@pytest.mark.parametrize(("server", "client"), [(True, False), (False, True), (True, True)])
def test_both_libraries_understand_each_other(server, client):
    code = PEER.format(root=str(ROOT), prefer=server) + SERVER
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as peer:
        library, endpoint, key = peer.stdout.readline().split()
        code = PEER.format(root=str(ROOT), prefer=client) + CLIENT
        run = subprocess.run(
            [sys.executable, "-c", code, endpoint, key],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    if library == "None" and server:
        pytest.skip("this system has no libsodium of its own")
    assert run.stdout.split()[1] == "True"
    assert server == (library != "None")


def test_it_is_too_late_once_zmq_is_loaded():
    code = "import zmq; from blender_addon.libsodium import prefer_system_libsodium as p; print(p())"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "None"
