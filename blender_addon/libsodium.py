"""The encryption library that ZeroMQ uses: the system's is about ten times faster than the wheel's on Linux.

The pyzmq wheels for Linux carry a libsodium built without optimisation (docs/benchmarks.md, "Server"). Its
functions keep their binary interface, so one that is loaded earlier and globally takes its place. No
Blender, no backend.
"""

from __future__ import annotations

import ctypes
import sys

_NAMES = ("libsodium.so.26", "libsodium.so.23")  # the interfaces that ZeroMQ's CURVE needs, newest first


def prefer_system_libsodium() -> str | None:
    """Load the system's libsodium for ZeroMQ to use; call it before the first ``import zmq``.

    Returns the library's name; None where there is none (the wheel's own works as well, only slower),
    on other systems, and when zmq is loaded already.
    """
    if not sys.platform.startswith("linux") or "zmq" in sys.modules:
        return None
    for name in _NAMES:
        try:
            ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        return name
    return None
