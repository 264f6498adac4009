"""How much memory this process holds, and giving it back to the system."""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import sys
from pathlib import Path


def rss_bytes() -> int | None:
    """Resident memory of this process; None where the system does not tell."""
    if sys.platform == "linux":
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if sys.platform == "darwin":
        return _rss_darwin()
    return _rss_windows() if sys.platform == "win32" else None


def drop_caches(package: str) -> None:
    """Empty every ``functools`` cache of the modules of ``package`` that are loaded."""
    for name, module in list(sys.modules.items()):
        if name == package or name.startswith(f"{package}."):
            for value in list(vars(module).values()):
                if isinstance(value, functools._lru_cache_wrapper):
                    value.cache_clear()


def give_back() -> int:
    """Collect garbage and return free pages to the system; the resident bytes that this freed."""
    before = rss_bytes()
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc; others return pages by themselves
        if trim is not None:
            trim(0)
    after = rss_bytes()
    return 0 if before is None or after is None else max(before - after, 0)


def _rss_darwin() -> int | None:
    # struct proc_taskinfo begins with virtual and resident size, 64 bits each, and is 96 bytes long.
    buffer = (ctypes.c_uint64 * 12)()
    size = ctypes.CDLL("/usr/lib/libproc.dylib").proc_pidinfo(
        os.getpid(), 4, ctypes.c_uint64(0), buffer, ctypes.sizeof(buffer)
    )
    return int(buffer[1]) if size == ctypes.sizeof(buffer) else None


def _rss_windows() -> int | None:
    class Counters(ctypes.Structure):  # PROCESS_MEMORY_COUNTERS
        _fields_ = (
            ("cb", ctypes.c_uint32),
            ("PageFaultCount", ctypes.c_uint32),
            ("PeakWorkingSetSize", ctypes.c_size_t),
            ("WorkingSetSize", ctypes.c_size_t),
            ("others", ctypes.c_size_t * 6),
        )

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel32 = ctypes.WinDLL("kernel32")  # type: ignore[attr-defined]  # Windows only
    kernel32.GetCurrentProcess.restype = ctypes.c_void_p
    asked = kernel32.K32GetProcessMemoryInfo
    asked.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    good = asked(kernel32.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return int(counters.WorkingSetSize) if good else None
