"""A worker process without networks: speaks ``worker_protocol`` and misbehaves on request.

The job's ``options.engine`` says how: "good", or WHAT@STAGE with WHAT one of crash (SIGKILL), segv, exit,
hang (deaf, ignores cancel), slow (half a second per stage), memory, bad_input, garbage, and STAGE a number.
"""

from __future__ import annotations

import argparse
import os
import queue
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec

from backend.server import worker_protocol as wp
from blender_addon.protocol import Problem

STAGES = ("observation", "head fit", "partial UV", "complete UV", "even-lit UV", "materials")
SLOW_LANDMARK = 477  # a refine with a pin on it takes half a second
PREVIEW = b"\x89PNG preview "


class Cancelled(Exception):
    pass


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--device")
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--fail-start", action="store_true")
    given = arguments.parse_args()
    if given.fail_start:
        print("no module named torch", file=sys.stderr)
        sys.exit(1)
    writer = wp.Writer(os.fdopen(os.dup(1), "wb"))
    reader = wp.reader_to_worker(os.fdopen(os.dup(0), "rb"))
    todo: queue.SimpleQueue[wp.ToWorker] = queue.SimpleQueue()
    aside: queue.SimpleQueue[wp.ToWorker] = queue.SimpleQueue()
    cancelled: set[str] = set()

    def read() -> None:
        while (message := reader.receive()) is not None and not isinstance(message, wp.Stop):
            if isinstance(message, wp.CancelJob):
                cancelled.add(message.job)
            elif isinstance(message, wp.RunRefine | wp.RunDrive | wp.RunDecode):
                aside.put(message)
            else:
                todo.put(message)
        os._exit(0)  # asked to, or the server is gone

    threading.Thread(target=read, daemon=True).start()
    threading.Thread(target=answer_aside, args=(aside, writer), daemon=True).start()
    writer.send(wp.Ready(pid=os.getpid(), device=given.device))
    writer.send(wp.Heartbeat(rss_bytes=50 << 20, job=None))
    while True:
        match todo.get():
            case wp.RunJob() as order:
                run_job(order, writer, cancelled, given.data)
            case wp.FreeMemory():
                writer.send(wp.Freed(bytes=1000))
            case wp.ForgetPhotos():
                print("forgot", file=sys.stderr, flush=True)


def answer_aside(aside: queue.SimpleQueue[wp.ToWorker], writer: wp.Writer) -> None:
    while True:
        match aside.get():
            case wp.RunRefine(request=request, pins=pins):
                if any(pin.landmark == SLOW_LANDMARK for pin in pins):
                    time.sleep(0.5)
                size = b"\0" * 12 * 4
                writer.send(
                    wp.RefineDone(
                        request=request,
                        vertices=4,
                        seconds=0.1,
                        landmark_error_px=1.0,
                        neutral=size,
                        expressed=size,
                        landmarks=b"\0" * 478 * 8,
                    )
                )
            case wp.RunDecode(request=request, directory=directory, vertices=vertices):
                told = f"{directory} {len(vertices)}".encode()
                writer.send(wp.DecodeDone(request=request, splats=4, data=told))
            case wp.RunDrive(request=request, frames=frames, weights=weights):
                if len(weights) != frames * 52 * 4:
                    problem = Problem(code="bad_input", message="52 weights per frame are wanted")
                    writer.send(wp.RequestFailed(request=request, problem=problem))
                else:
                    writer.send(wp.DriveDone(request=request, vertices=4, data=b"\1" * frames * 4 * 12))


def run_job(message: wp.RunJob, writer: wp.Writer, cancelled: set[str], data: Path) -> None:
    what, _, where = message.options.engine.partition("@")
    directory = Path(message.directory)
    partial = wp.partial_directory(directory)
    photo = Path(message.photo_path).read_bytes()
    cache = data / "cache" / wp_sha(message)
    try:
        (partial / "maps").mkdir(parents=True)
        cache.mkdir(exist_ok=True)
        for index, stage in enumerate(STAGES):
            if message.job in cancelled:
                raise Cancelled
            send_stage(writer, message.job, stage, index)
            if what in ("crash", "segv", "exit", "hang", "memory", "bad_input", "garbage") and index == int(
                where
            ):
                misbehave(what)
            if what == "slow":
                for _ in range(10):
                    time.sleep(0.05)
                    if message.job in cancelled:
                        raise Cancelled
            (cache / f"{index}.npz").write_bytes(photo)
            finish_stage(writer, message, stage, index, partial, photo)
        partial.rename(directory)
        names = ("avatar.json", "mesh.npz", "maps/albedo.png")
        files = tuple((name, (directory / name).stat().st_size) for name in names)
        writer.send(wp.JobDone(job=message.job, warnings=("the face is small",), files=files))
    except Cancelled:
        fail(writer, message.job, partial, Problem(code="cancelled", message="cancelled"))
    except MemoryError:
        fail(writer, message.job, partial, Problem(code="out_of_resources", message="out of memory"))
    except ValueError as error:
        fail(writer, message.job, partial, Problem(code="bad_input", message=str(error)))


def wp_sha(message: wp.RunJob) -> str:
    return Path(message.photo_path).name


def misbehave(what: str) -> None:
    match what:
        case "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segv":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            print("numba cannot be imported", file=sys.stderr, flush=True)
            os._exit(7)
        case "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
            while True:
                time.sleep(60)
        case "memory":
            raise MemoryError
        case "bad_input":
            raise ValueError("no face was found in the photo; use one that shows a face")
        case "garbage":
            os.write(1, (5).to_bytes(4, "big") + b"\xff\xff\xff\xff\xff")
            time.sleep(60)


def send_stage(writer: wp.Writer, job: str, stage: str, index: int) -> None:
    count = len(STAGES)
    writer.send(wp.StageStarted(job=job, stage=stage, implementation="fake", index=index, count=count))
    half = PREVIEW + b"half" if stage == "materials" else None
    writer.send(
        wp.StageProgress(job=job, stage=stage, fraction=0.5, job_fraction=(index + 0.5) / count, preview=half)
    )


def finish_stage(
    writer: wp.Writer, message: wp.RunJob, stage: str, index: int, partial: Path, photo: bytes
) -> None:
    preview = PREVIEW + photo[-64:] if index != 3 else None
    writer.send(wp.StageFinished(job=message.job, stage=stage, seconds=0.01, cached=False, preview=preview))
    if stage == "head fit":
        # The options and corrections, so that tests see what arrived.
        (partial / "avatar.json").write_bytes(msgspec.json.encode(message))
        (partial / "mesh.npz").write_bytes(photo)
        writer.send(wp.PartialReady(job=message.job, kind="mesh", files=("avatar.json", "mesh.npz")))
    if stage == "materials":
        (partial / "maps/albedo.png").write_bytes(photo * 3)
        writer.send(
            wp.PartialReady(
                job=message.job, kind="map", map_name="albedo", final=True, files=("maps/albedo.png",)
            )
        )


def fail(writer: wp.Writer, job: str, partial: Path, problem: Problem) -> None:
    import shutil

    shutil.rmtree(partial, ignore_errors=True)
    writer.send(wp.JobFailed(job=job, problem=problem))


if __name__ == "__main__":
    main()
