"""The one place where the add-on imports ZeroMQ: after the encryption library that it shall use. No Blender.

Other modules take ``zmq`` from here, as the order counts: once zmq is loaded it keeps the library it has.
"""

from __future__ import annotations

from .libsodium import prefer_system_libsodium

SODIUM = prefer_system_libsodium()  # None: the library that pyzmq brings

import zmq  # noqa: E402
from zmq.utils.monitor import recv_monitor_message  # noqa: E402

__all__ = ["SODIUM", "recv_monitor_message", "zmq"]
