"""The doctor's lines: for every state of the backend the right colour and the right button."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runner import FakeRunner, make_wheel

from blender_addon import protocol
from blender_addon.checks import GIB, Check, Facts, check_all, is_local, run_doctor, total_memory
from blender_addon.connection import Connection
from blender_addon.environment import DoctorLine, Receipt
from blender_addon.protocol import PROTOCOL, Problem
from blender_addon.remedies import REMEDIES
from blender_addon.runner import Output
from blender_addon.supervision import State


def connection(commands: str = "ipc:///run/x/c") -> Connection:
    return Connection(
        protocol=PROTOCOL,
        server="likeness 0.1.0",
        pid=1,
        commands=commands,
        events="ipc:///run/x/e",
        server_public_key="k" * 40,
        client_public_key="k" * 40,
        client_secret_key="k" * 40,
    )


def server_state(*, networked: bool = False, **worker: Any) -> protocol.State:
    known: dict[str, Any] = {"device": "cuda:0", "state": "idle", "pid": 2, "rss_mb": 1000.0}
    return protocol.State(
        id=1,
        server="likeness 0.1.0",
        uptime_s=5.0,
        rss_mb=100.0,
        cache_bytes=3 * GIB,
        cache_cap_bytes=20 * GIB,
        workers=(protocol.WorkerInfo(**(known | worker)),),
        jobs=(),
        networked=networked,
    )


WELCOME = protocol.Welcome(id=1, protocol=PROTOCOL, server="likeness 0.1.0", session="s", same_machine=True)


@pytest.fixture
def well(tmp_path: Path) -> Facts:
    wheel = make_wheel(tmp_path)
    return Facts(
        remote=False,
        online_access=True,
        environment="ready",
        receipt=Receipt(
            wheel_sha256=wheel.sha256, likeness="0.1.0", torch="2.13.0", python="3.11", finished_s=0.0
        ),
        wheel=wheel,
        supervisor=State("running"),
        connection=connection(),
        welcome=WELCOME,
        problem=None,
        server=server_state(),
        disk_free_bytes=50 * GIB,
        memory_total_bytes=16 * GIB,
        doctor=(
            DoctorLine(name="torch", state="good", detail="2.13.0"),
            DoctorLine(name="bpy (.blend, .glb)", state="bad", detail="absent", remedy="pip install"),
            DoctorLine(name="memory", state="bad", detail="1 GiB", remedy="buy"),
        ),
    )


def named(facts: Facts, name: str) -> Check:
    return next(check for check in check_all(facts) if check.name == name)


def test_all_is_well(well: Facts) -> None:
    checks = check_all(well)
    assert [check for check in checks if check.state != "good"] == []
    assert all(check.remedy is None for check in checks)
    assert "bpy (.blend, .glb)" not in [check.name for check in checks]
    assert named(well, "Privacy").detail == "nothing left this machine"
    assert named(well, "Device").detail == "cuda:0"


OFF: dict[str, Any] = {"welcome": None, "server": None, "connection": None, "supervisor": State("stopped")}


@pytest.mark.parametrize(
    ("changes", "name", "state", "remedy"),
    [
        (OFF | {"environment": "absent", "receipt": None}, "Backend", "bad", "install"),
        (OFF | {"environment": "partial", "receipt": None}, "Backend", "bad", "install"),
        (OFF | {"environment": "absent", "receipt": None, "wheel": None}, "Backend", "bad", "preferences"),
        ({"environment": "outdated"}, "Version", "bad", "reinstall"),
        (OFF | {"online_access": False}, "Online access", "optional", None),
        (
            OFF | {"online_access": False, "environment": "absent", "receipt": None},
            "Online access",
            "bad",
            "online",
        ),
        (OFF, "Server", "optional", "start"),
        (OFF | {"environment": "absent", "receipt": None}, "Server", "optional", None),
        (OFF | {"supervisor": State("waiting", message="it crashed")}, "Server", "optional", None),
        (
            OFF | {"supervisor": State("gave_up", message="disk full", remedy="restart")},
            "Server",
            "bad",
            "restart",
        ),
        (OFF | {"supervisor": State("running")}, "Server", "bad", "restart"),
        (
            OFF | {"problem": Problem(code="protocol", message="update the backend")},
            "Protocol",
            "bad",
            "reinstall",
        ),
        (
            OFF | {"problem": Problem(code="protocol", message="update the add-on")},
            "Protocol",
            "bad",
            "preferences",
        ),
        ({"server": server_state(last_exit="out of memory")}, "Worker (cuda:0)", "bad", "log"),
        ({"memory_total_bytes": 3 * GIB}, "Memory", "bad", None),
        ({"server": server_state(rss_mb=10_000.0)}, "Memory", "bad", "free_memory"),
        ({"server": server_state(rss_mb=10_000.0, state="busy")}, "Memory", "good", None),
        ({"disk_free_bytes": GIB}, "Disk", "bad", "preferences"),
        ({"server": server_state(networked=True)}, "Privacy", "optional", None),
        ({"connection": connection("tcp://192.168.0.4:7000")}, "Privacy", "bad", "restart"),
        (
            {"doctor": (DoctorLine(name="open head", state="bad", detail="gone", remedy="reinstall"),)},
            "open head",
            "bad",
            "reinstall",
        ),
    ],
)
def test_what_is_wrong_has_its_button(
    well: Facts, changes: dict[str, Any], name: str, state: str, remedy: str | None
) -> None:
    check = named(replace(well, **changes), name)
    assert (check.state, check.remedy) == (state, remedy)
    assert check.detail
    assert remedy is None or remedy in REMEDIES


def test_an_old_server_that_still_runs(well: Facts) -> None:
    old = replace(
        well,
        welcome=protocol.Welcome(
            id=1, protocol=PROTOCOL, server="likeness 0.0.9", session="s", same_machine=True
        ),
    )
    assert named(old, "Version") == Check(
        "Version", "bad", "likeness 0.0.9 still runs, 0.1.0 is installed", "restart"
    )


def test_a_server_elsewhere(well: Facts) -> None:
    remote = replace(well, remote=True, connection=connection("tcp://10.0.0.2:7000"))
    names = [check.name for check in check_all(remote)]
    assert "Backend" not in names
    assert "Disk" not in names
    assert "10.0.0.2" in named(remote, "Privacy").detail
    lost = replace(remote, welcome=None, problem=Problem(code="missing", message="nothing listens there"))
    assert named(lost, "Server") == Check("Server", "bad", "nothing listens there", "preferences")


@pytest.mark.parametrize(
    ("endpoint", "local"),
    [
        ("ipc:///run/user/1000/l/c", True),
        ("tcp://127.0.0.1:5555", True),
        ("tcp://[::1]:5555", True),
        ("tcp://0.0.0.0:5555", False),
        ("tcp://12.7.0.1:5555", False),
    ],
)
def test_local_endpoints(endpoint: str, local: bool) -> None:
    assert is_local(connection(endpoint)) is local


def test_the_backends_doctor(tmp_path: Path) -> None:
    program = tmp_path / "likeness"
    good = [{"name": "torch", "state": "good", "detail": "2", "remedy": ""}]
    runner = FakeRunner({"doctor --json": Output(0, "a warning\n" + json.dumps(good) + "\n")})
    assert run_doctor(program, runner) == [DoctorLine(name="torch", state="good", detail="2")]
    broken = run_doctor(program, FakeRunner({"doctor": Output(1, "Traceback\nImportError: torch\n")}))
    assert (broken[0].state, broken[0].detail) == ("bad", "ImportError: torch")
    assert run_doctor(program, FakeRunner({}))[0].detail == "it gave no answer"


def test_memory_of_this_machine() -> None:
    assert (total_memory() or 0) > GIB
