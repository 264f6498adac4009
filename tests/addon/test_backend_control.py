"""The backend's state as the panels show it, over real sockets and a fake process."""

from __future__ import annotations

import time

import pytest
from fake_server import FakeServer

from blender_addon.backend_control import BackendControl
from blender_addon.connection import CONNECTION_NAME
from blender_addon.environment_control import EnvironmentControl
from blender_addon.view import View

LIMIT_S = 20.0


def _control(tmp_path, remote=None):
    data = tmp_path / "data"
    data.mkdir(exist_ok=True)
    environment = EnvironmentControl(tmp_path / "backend", tmp_path / "wheels", "python")
    return BackendControl(
        data=data,
        downloads=tmp_path / "avatars",
        environment=environment,
        program_name="test",
        remote=lambda: remote,
    )


@pytest.fixture
def made(tmp_path):
    controls = []

    def make(**options):
        controls.append(_control(tmp_path, **options))
        return controls[-1]

    yield make
    for control in controls:
        control.close()


def _until(control, view, *states):
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        control.poll(view)
        if view.backend.state in states:
            return
        time.sleep(0.02)
    raise AssertionError(f"still {view.backend.state}: {view.backend.message}")


def test_nothing_is_installed(made):
    control, view = made(), View()
    control.poll(view)
    assert (view.backend.state, view.backend.message) == ("absent", "")
    revision = view.revision
    control.poll(view)
    assert view.revision == revision  # nothing changed, nothing is drawn again


def test_without_a_wheel_install_says_what_to_do(made):
    control, view = made(), View()
    control.install(online=True)
    control.poll(view)
    assert view.backend.state == "absent"
    assert "install its released zip" in view.backend.message


def test_a_server_that_runs_already_is_found_and_used(made, server: FakeServer):
    control, view = made(), View()
    (control.data / CONNECTION_NAME).write_bytes(server.connection_file.read_bytes())
    _until(control, view, "ready")
    assert control.client is not None
    assert control.client.connected


def test_a_server_elsewhere(made, server: FakeServer, tmp_path):
    control, view = made(remote=server.connection_file), View()
    control.poll(view)
    assert view.backend.state == "stopped"
    control.start()
    _until(control, view, "ready")
    control.stop()
    _until(control, view, "stopped")


def test_a_server_elsewhere_that_is_not_there_is_one_sentence(made, tmp_path):
    control, view = made(remote=tmp_path / "missing.json"), View()
    control.start()
    _until(control, view, "failed")
    assert view.backend.message[0].isupper()
    assert view.backend.remedy == "preferences"


def test_a_program_that_cannot_be_started_is_told_with_its_button(made):
    control, view = made(), View()
    control.start()
    _until(control, view, "failed")
    assert "install it again" in view.backend.message
    assert view.backend.remedy is not None


def test_the_doctor_without_a_backend_names_what_is_missing(made):
    control = made()
    checks = control.examine(online=False, server=None).result(timeout=60)
    bad = {check.name: check.remedy for check in checks if check.state == "bad"}
    assert "Backend" in bad
    assert bad["Online access"] == "online"
