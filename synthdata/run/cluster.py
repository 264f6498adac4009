"""Workers on many machines, through Ray (docs/synth-cluster.md)."""

from __future__ import annotations

import logging
import os
import socket
from pathlib import Path
from typing import Any

from backend.errors import Missing
from synthdata.run.plan import Unit
from synthdata.run.sources import Job
from synthdata.run.workers import UNITS_PER_PROCESS, Made, Work, make

_AHEAD = 2  # units for each worker: the next one waits where the last is made
_PATIENCE_S = 5.0
_LOOK_AGAIN_S = 5.0  # machines may join meanwhile


def _check_there(address: str) -> None:
    """Raises: Missing. Ray itself waits for minutes for a cluster that has ended."""
    place = address.removeprefix("ray://")
    if address == "auto":
        place = os.environ.get("RAY_ADDRESS", "").removeprefix("ray://") or _last_cluster_here()
    host, _, port = place.rpartition(":")
    try:
        socket.create_connection((host, int(port)), _PATIENCE_S).close()
    except (OSError, ValueError) as error:
        raise Missing(f"there is no Ray cluster at '{address}'; `ray start --head` begins one") from error


def _last_cluster_here() -> str:
    """The address that the last cluster of this machine left, which may have ended; empty where none did."""
    base = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    note = Path(base) / "ray" / "ray_current_cluster"
    return note.read_text().strip() if note.is_file() else ""


class RayCrew:
    """The processors of a Ray cluster, or ``most`` of them. Units come back as bytes: only the driver writes.

    ``address`` is ``auto`` (the cluster this machine is part of), ``HOST:PORT`` or ``ray://HOST:PORT``.
    Raises: Missing when Ray or the cluster is not there.
    """

    def __init__(self, job: Job, address: str, most: int | None = None, work: Work = make) -> None:
        try:
            import ray
        except ImportError as error:
            raise Missing("Ray is not installed; pip install 'likeness[cluster]'") from error
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        _check_there(address)
        try:
            ray.init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            line = str(error).strip().splitlines()[0]
            raise Missing(
                f"there is no Ray cluster at '{address}' ({line}); `ray start --head` begins one"
            ) from (error)
        self._ray: Any = ray
        self._most = most
        self._job = ray.put(job)
        # A lost unit is counted and given out again by run_units, for Ray as for processes.
        options = ray.remote(num_cpus=1, max_retries=0, max_calls=UNITS_PER_PROCESS)
        self._make = options(work)
        self._under_way: dict[Any, Unit] = {}

    @property
    def room(self) -> int:
        """See Crew. As many as there are processors now, and as many waiting; or as many as were allowed."""
        ahead = _AHEAD * max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        return ahead if self._most is None else min(self._most, ahead)

    def begin(self, unit: Unit) -> None:
        """See Crew."""
        self._under_way[self._make.remote(self._job, unit)] = unit

    def finished(self) -> list[tuple[Unit, Made | None]]:
        """See Crew."""
        ray = self._ray
        done, _ = ray.wait(list(self._under_way), num_returns=1, timeout=_LOOK_AGAIN_S)
        out: list[tuple[Unit, Made | None]] = []
        for reference in done:
            unit = self._under_way.pop(reference)
            try:
                out.append((unit, ray.get(reference)))
            except ray.exceptions.RayTaskError as error:  # the work's own
                raise error.cause from None
            except ray.exceptions.RayError:  # its process or machine is gone
                out.append((unit, None))
        return out

    def close(self) -> None:
        """See Crew. The cluster goes on."""
        for reference in self._under_way:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()
