"""A Blender without a window as a process of its own: obeys one line of JSON after the other.

``LIKENESS_PROGRAM`` names the backend's command, which stands for an installed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.nice(10)
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what Blender prints does not mix with answers

import bpy  # noqa: E402

from blender_addon import heads, runtime, waiting  # noqa: E402
from blender_addon.environment_control import EnvironmentControl  # noqa: E402

LIMIT_S = 240.0


def look(seconds: float = 0.0) -> dict:
    """The view as the panels would show it, after taking news in for a while."""
    current = runtime.get()
    until = time.monotonic() + seconds
    while True:
        current.drain(time.perf_counter() + 0.05)
        if time.monotonic() >= until:
            break
        time.sleep(0.02)
    backend, notice = current.view.backend, current.view.notice
    return {
        "state": backend.state,
        "message": backend.message,
        "remedy": backend.remedy,
        "same_machine": backend.same_machine,
        "left_this_machine": backend.left_this_machine,
        "notice": notice.text if notice else None,
        "heads": {uuid: heads.job_of(uuid) for uuid in heads.uuids()},
        "jobs": {
            job.job: {
                "state": job.state,
                "name": job.name,
                "problem": job.problem.message if job.problem else None,
                "directory": str(job.directory) if job.directory else None,
                "cached": job.cached_stages,
            }
            for job in current.view.jobs.values()
        },
    }


def wait_for(job: str, state: str) -> dict:
    """Until the job is in this state."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        seen = look()
        if seen["jobs"].get(job, {}).get("state") == state:
            return seen
        time.sleep(0.05)
    raise TimeoutError(f"{job} is not {state}: {look()}")


def wait_ready() -> dict:
    """Until a server answers that was there before."""
    until = time.monotonic() + LIMIT_S
    while time.monotonic() < until:
        seen = look()
        if seen["state"] == "ready" and runtime.get().server is not None:
            return seen
        time.sleep(0.05)
    raise TimeoutError(str(look()))


def operate(name: str, **options: object) -> dict:
    getattr(bpy.ops.likeness, name)(**options)
    return look()


def import_job(job: str) -> dict:
    """Like the history's button, also where the files must be brought first."""
    bpy.ops.likeness.reimport(job=job)
    current = runtime.get()
    waiting.until(current, lambda: current.view.jobs[job].directory is not None)
    waiting.import_all(current)
    return look()


def prefer(**values: object) -> dict:
    chosen = bpy.context.preferences.addons["blender_addon"].preferences
    for name, value in values.items():
        setattr(chosen, name, value)
    return look()


def folders() -> dict:
    control = runtime.get().control
    return {"data": str(control.data), "downloads": str(control.downloads), "online": bpy.app.online_access}


COMMANDS = {
    function.__name__: function
    for function in (look, wait_for, wait_ready, operate, import_job, prefer, folders)
}


def main() -> None:
    import addon_utils  # comes with bpy

    program = Path(os.environ["LIKENESS_PROGRAM"])
    EnvironmentControl.program = lambda self: program
    bpy.ops.wm.read_factory_settings(use_empty=True)
    addon_utils.enable("blender_addon", default_set=True)
    for line in sys.stdin:
        order = json.loads(line)
        if order.pop("do") == "quit":
            break
        try:
            answer = {"ok": COMMANDS[order.pop("command")](**order)}
        except Exception as error:
            answer = {"error": str(error), "kind": type(error).__name__}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    addon_utils.disable("blender_addon", default_set=True)
    with contextlib.suppress(BrokenPipeError):
        answers.close()
    os._exit(0)  # the bpy module's destructors may wait for ever


main()
