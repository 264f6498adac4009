"""What the backend's exit code means, in one sentence with its advice. No Blender."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from pathlib import Path

from .disk import disk_sentence, of_the_disk


@dataclass(frozen=True)
class Verdict:
    """``restart``: whether starting again may help; ``remedy``: an id of ``remedies.REMEDIES``."""

    message: str
    restart: bool
    remedy: str = "log"


_OUT_OF_MEMORY = (
    "the system ended the backend, most likely because memory ran out; "
    "close other programs or choose smaller maps"
)

# The command line's codes (backend/failures.py). Where its last words are known they say it better.
_CODES = {
    0: Verdict("the backend has stopped", False, "start"),
    1: Verdict("the backend failed because of a bug of ours; its log names the report to send", True),
    2: Verdict("the backend does not know its options; update the backend", False, "reinstall"),
    3: Verdict("the backend misses something; run the doctor", False, "doctor"),
    4: Verdict("the backend ran out of memory or disk; free some and start it again", True, "restart"),
    126: Verdict("the backend may not be executed; install it again", False, "reinstall"),
    127: Verdict("the backend's program is gone; install it again", False, "reinstall"),
    130: Verdict("the backend was interrupted from the keyboard", False, "start"),
    # Windows, NTSTATUS
    0xC0000005: Verdict("the backend crashed (access violation); its log may say where", True),
    0xC0000017: Verdict(_OUT_OF_MEMORY, True, "restart"),
    0xC000001D: Verdict("this processor lacks instructions that the backend needs", False),
    0xC000012D: Verdict(_OUT_OF_MEMORY, True, "restart"),
    0xC0000135: Verdict("a system library of the backend is missing; run the doctor", False, "doctor"),
    0xC000013A: Verdict("the backend was interrupted from the keyboard", False, "start"),
    0xC0000142: Verdict("the backend could not start its libraries; install it again", False, "reinstall"),
    0xC0000409: Verdict("the backend crashed (it aborted itself); its log may say where", True),
}

_SIGNALS = {
    "SIGKILL": Verdict(_OUT_OF_MEMORY, True, "restart"),
    "SIGTERM": Verdict("another program asked the backend to end", False, "start"),
    "SIGINT": Verdict("the backend was interrupted from the keyboard", False, "start"),
    "SIGHUP": Verdict("the backend ended with its session", False, "start"),
    "SIGILL": Verdict("this processor lacks instructions that the backend needs", False),
}

_TOLD_BY_THE_BACKEND = (2, 3, 4)


def judge(code: int, last_words: str | None = None) -> Verdict:
    """What exit ``code`` (negative: a signal, as subprocess has it) says.

    ``last_words``: the backend's last line, "likeness: …", without its prefix; it names the cause.
    """
    if 128 < code < 128 + 65 and code not in _CODES:
        code = 128 - code  # a shell's way of telling a signal
    if code < 0:
        name = _signal_name(-code)
        return _SIGNALS.get(name, Verdict(f"the backend crashed ({name}); its log may say where", True))
    if code in _TOLD_BY_THE_BACKEND and last_words:
        return replace(_CODES[code], message=last_words)
    unknown = Verdict(f"the backend ended with exit code {code:#x}; its log may say why", True)
    return _CODES.get(code, unknown)


def judge_spawn(error: OSError, data: Path) -> Verdict:
    """Why the process could not even be started; ``data``: where its log begins before it runs."""
    if of_the_disk(error) and error.filename and Path(error.filename).is_relative_to(data):
        return Verdict(disk_sentence(error), False, "restart")
    reason = error.strerror or str(error)
    return Verdict(f"the backend cannot be started ({reason}); install it again", False, "reinstall")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
