"""When to start, restart, stop or give up on the backend: a state machine as a pure function. No Blender.

    stopped ─start─▶ looking ─nobody answers─▶ starting ─answers─▶ running
                        └────────answers (adopted)──────────────────▲ │ died, silent
                                                        starting ◀─ waiting ─too often─▶ gave_up

``stop`` leads from anywhere over ``stopping`` to ``stopped``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .connection import ALREADY_RUNS
from .exit_codes import Verdict, judge
from .protocol import Problem
from .remedies import remedy_of

Phase = Literal["stopped", "looking", "starting", "running", "waiting", "stopping", "gave_up"]
Action = Literal["open_client", "close_client", "spawn", "ask_to_stop", "terminate", "kill"]

LOOK_S = 3.0  # for a server that is there already
START_S = 90.0  # from spawning to the first answer: a first start compiles and a virus scanner reads along
SILENT_S = 15.0  # beyond what the client itself waits
STABLE_S = 60.0  # a server that lived so long did not die of its start
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0
QUICK_DEATHS = 5
STOP_S, TERMINATE_S, KILL_S = 5.0, 3.0, 3.0

_SILENT = Verdict("the backend stopped answering and was ended", True)
_NEVER_ANSWERED = Verdict(f"the backend did not answer within {START_S:.0f} s of its start", True)


@dataclass(frozen=True)
class State:
    """Times are of the clock that ``Seen.now`` is of, seconds."""

    phase: Phase = "stopped"
    since: float = 0.0  # when this phase began
    message: str = ""  # one sentence for the artist: why it is not running, or why it was restarted
    remedy: str | None = None  # that goes with it: an id of ``remedies.REMEDIES``
    adopted: bool = False  # somebody else started the server
    deaths: int = 0  # in a row, each sooner than STABLE_S after the start
    silent_since: float | None = None
    retry_at: float = 0.0
    force: Literal["asked", "terminated", "killed"] = "asked"  # how far ``stopping`` has gone
    again: bool = False  # it was asked for while it was stopping
    stale: Problem | None = None  # what a server that is gone had left to complain of before ours was started
    only_look: bool = False  # another server holds the folder: looking must end in running or gave_up


@dataclass(frozen=True)
class Seen:
    """The world at one moment."""

    now: float
    answers: bool = False  # the client is connected
    problem: Problem | None = None  # why it is not, if it knows
    has_process: bool = False  # one of ours is there, alive or dead
    exit_code: int | None = None  # of our process, once it has ended
    last_words: str | None = None  # its last line, then
    spawn_error: Verdict | None = None  # it could not even be started


Step = tuple[State, tuple[Action, ...]]


def start(state: State, now: float) -> Step:
    """The artist wants a backend."""
    if state.phase in ("looking", "starting", "running"):
        return state, ()
    if state.phase == "stopping":
        return replace(state, again=True), ()
    return State("looking", now), ("open_client",)


def stop(state: State, seen: Seen) -> Step:
    """The artist wants none."""
    if state.phase == "stopping":
        return replace(state, again=False), ()
    if not seen.has_process and not seen.answers:
        return State("stopped", seen.now), ("close_client",)
    stopping = State("stopping", seen.now, adopted=state.adopted)
    if seen.answers:
        return stopping, ("ask_to_stop",)
    return replace(stopping, force="terminated"), ("terminate",)


def step(state: State, seen: Seen) -> Step:
    """What follows from ``seen``. Called a few times a second."""
    match state.phase:
        case "looking":
            return _looking(state, seen)
        case "starting":
            return _starting(state, seen)
        case "running":
            return _running(state, seen)
        case "waiting":
            if seen.answers:
                return _run(state, seen, adopted=True)
            if seen.now >= state.retry_at:
                return replace(state, phase="starting", since=seen.now, stale=seen.problem), ("spawn",)
        case "stopping":
            return _stopping(state, seen)
        case "stopped" | "gave_up":
            return state, ()
    return state, ()


def _looking(state: State, seen: Seen) -> Step:
    if seen.answers:
        return _run(state, seen, adopted=True)
    if state.only_look and seen.problem is not None and seen.problem.code != "missing":
        # it holds the data folder and will not talk to us
        return _give_up(state, seen, Verdict(seen.problem.message, False, remedy_of(seen.problem)))
    # any problem: nobody, or what a killed server left behind; a living one makes ours exit with 3
    nobody = seen.problem is not None and not state.only_look
    # a server that was started a moment ago may still need as long as ours would have
    patience = START_S if ALREADY_RUNS in state.message else LOOK_S
    if not nobody and seen.now - state.since < patience:
        return state, ()
    if state.only_look:
        return _give_up(state, seen, Verdict(state.message, False, state.remedy or "log"))
    return replace(state, phase="starting", since=seen.now, stale=seen.problem), ("spawn",)


def _run(state: State, seen: Seen, *, adopted: bool) -> Step:
    return replace(
        state, phase="running", since=seen.now, adopted=adopted, silent_since=None, only_look=False
    ), ()


def _starting(state: State, seen: Seen) -> Step:
    if seen.spawn_error is not None:
        return _give_up(state, seen, seen.spawn_error)
    if seen.exit_code == 3 and not state.only_look:
        # most often another Blender was faster and holds the data folder: use its server
        verdict = judge(3, seen.last_words)
        looking = State(
            "looking", seen.now, verdict.message, verdict.remedy, deaths=state.deaths, only_look=True
        )
        return looking, ("kill",)
    if seen.exit_code is not None:
        return _died(state, seen, judge(seen.exit_code, seen.last_words))
    if seen.answers:
        return _run(state, seen, adopted=False)
    if seen.problem is not None and seen.problem.code == "protocol" and seen.problem != state.stale:
        return _give_up(state, seen, Verdict(seen.problem.message, False, remedy_of(seen.problem)))
    if seen.now - state.since > START_S:
        return _died(state, seen, _NEVER_ANSWERED)
    return state, ()


def _running(state: State, seen: Seen) -> Step:
    if seen.exit_code == 3 and seen.answers and not state.adopted:
        # another Blender's server answered before ours had found the data folder taken
        return replace(state, adopted=True), ("kill",)
    if seen.exit_code is not None and not state.adopted:
        return _died(state, seen, judge(seen.exit_code, seen.last_words))
    if seen.answers:
        stable = seen.now - state.since >= STABLE_S
        return replace(state, silent_since=None, deaths=0 if stable else state.deaths), ()
    if state.silent_since is None:
        return replace(state, silent_since=seen.now), ()
    if state.adopted and seen.problem is not None:
        # gone, not merely slow: it ended as servers do whose Blender was closed
        return State("looking", seen.now, deaths=state.deaths), ()
    if seen.now - state.silent_since > SILENT_S:
        return _died(state, seen, _SILENT)
    return state, ()


def _died(state: State, seen: Seen, verdict: Verdict) -> Step:
    """Our server is gone or must go: again after a pause, or never."""
    if not verdict.restart:
        if seen.exit_code in (0, 130):
            return State("stopped", seen.now, verdict.message), ("kill", "close_client")
        return _give_up(state, seen, verdict)
    deaths = state.deaths + 1
    if deaths >= QUICK_DEATHS:
        message = f"{verdict.message} ({deaths} times in a row)"
        return _give_up(state, seen, replace(verdict, message=message))
    delay = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** (deaths - 1))
    waiting = State(
        "waiting", seen.now, verdict.message, verdict.remedy, deaths=deaths, retry_at=seen.now + delay
    )
    return waiting, ("kill",)


def _give_up(state: State, seen: Seen, verdict: Verdict) -> Step:
    gave_up = State("gave_up", seen.now, verdict.message, verdict.remedy, deaths=state.deaths)
    return gave_up, ("kill", "close_client")


def _stopping(state: State, seen: Seen) -> Step:
    gone = not seen.answers or state.force == "killed"
    ended = seen.exit_code is not None if seen.has_process else gone
    if ended and state.again:
        return State("looking", seen.now), ("kill", "close_client", "open_client")
    if ended:
        return State("stopped", seen.now), ("kill", "close_client")
    waited = seen.now - state.since
    if not seen.has_process:
        if waited > STOP_S:
            message = "the backend, which another program started, does not stop; end it there"
            return State("stopped", seen.now, message), ("close_client",)
        return state, ()
    if state.force == "asked" and waited > STOP_S:
        return replace(state, force="terminated", since=seen.now), ("terminate",)
    if state.force == "terminated" and waited > TERMINATE_S:
        return replace(state, force="killed", since=seen.now), ("kill",)
    if state.force == "killed" and waited > KILL_S:
        message = "the backend cannot be ended; restart the computer if it is in the way"
        return State("stopped", seen.now, message), ("close_client",)
    return state, ()
