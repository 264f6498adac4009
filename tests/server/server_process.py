"""The real server with fake workers, as a process of its own."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backend.errors import LikenessError
from backend.server import serve as server
from backend.server.serve import ServeOptions

FAKE_WORKER = Path(__file__).with_name("fake_worker.py")


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--devices", default="cpu")
    parser.add_argument("--cache-cap", type=int, default=1 << 30)
    parser.add_argument("--bind")
    parser.add_argument("--authorize", type=Path)
    parser.add_argument("--parent", type=int, action="append", default=[])
    parser.add_argument("--tcp", action="store_true")
    parser.add_argument("--fail-start", action="store_true")
    parser.add_argument("--max-file-bytes", type=int)
    parser.add_argument("--quiet-s", type=float)
    given = parser.parse_args()
    if given.max_file_bytes:
        import resource
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (given.max_file_bytes, given.max_file_bytes))
    if given.quiet_s is not None:
        server.QUIET_SECONDS = given.quiet_s
    options = ServeOptions(
        data=given.data,
        devices=given.devices.split(","),
        cache_cap_bytes=given.cache_cap,
        bind=given.bind,
        authorize=given.authorize,
        parents=given.parent,
        ipc=False if given.tcp else None,
    )
    extra = ["--fail-start"] if given.fail_start else []

    def command_in(data):
        return lambda device: [
            sys.executable, str(FAKE_WORKER), "--device", device, "--data", str(data), *extra,
        ]  # fmt: skip

    try:
        server.serve(options, command_in, lambda line: print(line, flush=True))
    except LikenessError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
