"""Add-on and backend of different versions: which side to update, at once, and nothing else breaks."""

from __future__ import annotations

import pytest
from faults_kit import is_running, server_pid, wait_until

from blender_addon.protocol import PROTOCOL

OTHER = "import blender_addon.protocol as p; p.PROTOCOL = {}"


@pytest.mark.parametrize(
    ("theirs", "advice"), [(PROTOCOL - 1, "update the backend"), (PROTOCOL + 1, "update the add-on")]
)
def test_our_own_backend_speaks_another_version(addon, pretending, theirs, advice):
    one = addon(pretending(OTHER.format(theirs)))
    one.runtime.start_backend()
    one.until(lambda: one.view.backend.state == "failed")
    assert advice in one.view.backend.message
    assert "\n" not in one.view.backend.message
    assert one.view.backend.remedy == "reinstall"
    wait_until(lambda: server_pid(one.data) is None or not is_running(server_pid(one.data)))


def test_a_server_of_another_version_holds_the_folder(addon, pretending):
    import subprocess

    other = pretending(OTHER.format(PROTOCOL + 1))
    one = addon(other)
    command = [str(other), "serve", "--data", str(one.data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as theirs:
        try:
            assert "serves" in theirs.stdout.readline()
            pretending()  # what this add-on would start
            one.runtime.start_backend()
            one.until(lambda: one.view.backend.state == "failed")
            assert "update the add-on" in one.view.backend.message
            assert theirs.poll() is None  # it is somebody else's and goes on
        finally:
            theirs.terminate()
