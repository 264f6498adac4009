"""ZeroMQ encrypts with the system's libsodium where there is one, and talks to a peer that does not."""

from __future__ import annotations

import ctypes
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


def test_the_addons_zmq_is_loaded_after_the_systems_library():
    """However the add-on's modules are imported; mapped libraries are told by the system itself."""
    code = (
        "import blender_addon.{module};"
        "from blender_addon.zeromq import SODIUM, zmq;"
        "maps = open('/proc/self/maps').read();"
        "print(SODIUM, SODIUM is None or SODIUM in maps)"
    )
    there = _has_system_library()
    for module in ("client", "link", "talk", "zeromq", "runtime"):
        name, is_loaded = _run(code.format(module=module))
        assert (name != "None", is_loaded) == (there, "True"), module


def test_nothing_but_one_module_of_the_addon_imports_zmq():
    importing = [
        path.name
        for path in (ROOT / "blender_addon").rglob("*.py")
        if any(line.strip().startswith(("import zmq", "from zmq")) for line in path.read_text().splitlines())
    ]
    assert importing == ["zeromq.py"]


@pytest.mark.parametrize("platform", ["linux", "win32", "darwin"])
def test_the_addon_works_where_there_is_no_such_library(platform):
    """No libsodium of the system, and systems on which it is never looked for."""
    code = (
        "import sys, ctypes, blender_addon.libsodium as own;"
        "own._NAMES = ('libnosuchthing.so.1',) if {platform!r} == 'linux' else own._NAMES;"
        "real, sys.platform = sys.platform, {platform!r};"
        "print(own.prefer_system_libsodium(), end=' ');"
        "sys.platform = real; own._NAMES = ();"
        "from blender_addon.client import Client; from blender_addon.zeromq import SODIUM, zmq;"
        "print(SODIUM, len(zmq.curve_keypair()[0]))"
    )
    assert _run(code.format(platform=platform)) == ["None", "None", "40"]


def _run(code):
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return run.stdout.split()


def _has_system_library():
    from blender_addon import libsodium

    for name in libsodium._NAMES:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return sys.platform.startswith("linux")
    return False
