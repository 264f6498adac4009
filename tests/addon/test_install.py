"""The installer with a fake runner: what it runs on which machine, and how it goes on after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runner import FakeRunner, make_host, make_wheel, python_says

from blender_addon.environment import Environment, EnvironmentProblem, find_wheel, read_wheel
from blender_addon.install import Installation, InstallError, Progress, Request
from blender_addon.install_plan import Downloads, Step, diagnose
from blender_addon.pythons import Host
from blender_addon.runner import Output

CPU = "https://download.pytorch.org/whl/cpu"
PAGE = "".join(
    f'<a href="x">torch-2.13.0%2B{build}-cp{minor}-cp{minor}-{platform}.whl</a>\n'
    for build in ("cpu", "cu126", "cu130")
    for minor in ("311", "312")
    for platform in ("manylinux_2_28_x86_64", "win_amd64")
)


def page(build: str) -> Output:
    return Output(0, "\n".join(line for line in PAGE.splitlines() if build in line))


LINUX = {
    "python3.11 -I": python_says("/usr/bin/python3.11", "3.11.9"),
    f"{CPU}/torch/": page("cpu"),
}


class Setup:
    """An installation in ``folder`` that can be run again."""

    def __init__(self, folder: Path, host: Host, runner: FakeRunner) -> None:
        self.place = Environment(folder / "backend", windows=host.windows)
        self.host, self.runner = host, runner
        self.wheel = make_wheel(folder / "wheels")
        self.progress: list[Progress] = []
        self.free, self.online = 50e9, True

    def begin(self) -> Installation:
        request = Request(self.place.folder, self.wheel, self.online, "/blender/python")
        installation = Installation(
            request,
            host=self.host,
            runner=self.runner,
            on_progress=self.progress.append,
            free_bytes=lambda folder: int(self.free),
        )
        installation.start()
        return installation

    def install(self) -> None:
        self.runner.ran.clear()
        self.begin().wait(20)

    def fails(self) -> InstallError:
        self.runner.ran.clear()
        with pytest.raises(InstallError) as caught:
            self.begin().wait(20)
        assert self.place.receipt() is None
        assert self.place.state(self.wheel) in ("absent", "partial")
        return caught.value


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path, make_host(tmp_path, on_path=["python3.11"]), FakeRunner(LINUX))


def test_linux_without_a_card(setup: Setup) -> None:
    setup.install()
    place, wheel = setup.place, str(setup.wheel.path)
    pip = (str(place.python), "-I", "-m", "pip", "install")
    raw = ("--progress-bar", "raw")
    assert setup.runner.ran == [
        ("/usr/bin/python3.11", "-I", "-m", "venv", "--clear", str(place.venv)),
        (*pip, "--upgrade", "pip>=24.1"),
        (*pip, *raw, "torch==2.13.0+cpu", "--index-url", CPU),
        (*pip, *raw, "torch==2.13.0", wheel),
        (*pip, "--no-deps", "--force-reinstall", wheel),
        (str(place.program), "doctor", "--json"),
    ]
    receipt = place.receipt()
    assert receipt is not None
    assert (receipt.likeness, receipt.python, receipt.wheel_sha256) == ("0.1.0", "3.11", setup.wheel.sha256)
    assert [line.name for line in receipt.doctor] == ["torch", "bpy (.blend)", "memory"]
    assert place.state(setup.wheel) == "ready"


def test_variables_that_mislead_pip_are_dropped(setup: Setup) -> None:
    setup.install()
    for environment in setup.runner.environments:
        assert "PIP_TARGET" not in environment
        assert environment["TMPDIR"].startswith(str(setup.place.folder))
    assert not setup.place.temporary.exists()


def test_progress_never_falls_and_ends_at_one(setup: Setup) -> None:
    def chatter(text: str, say: Callable[[str], None]) -> None:
        if "torch==" in text:
            for line in (
                "Collecting torch",
                "Progress 0 of 100",
                "Progress 50 of 100",
                "Progress 100 of 100",
            ):
                say(line)

    setup.runner.behave = chatter
    setup.install()
    fractions = [progress.fraction for progress in setup.progress]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert "Collecting torch" in {progress.line for progress in setup.progress}
    log = setup.place.log.read_text()
    assert "Collecting torch" in log
    assert "Progress 50" not in log


@pytest.mark.parametrize(
    ("smi", "index", "build"),
    [
        ("580.65.06, 8.9, NVIDIA RTX 4090", "cu130", "cu130"),
        ("560.35.03, 8.9, NVIDIA RTX 4090", "cu126", "cu126"),
        ("580.65.06, 6.1, NVIDIA GTX 1080", "cu126", "cu126"),  # too old a card for the newer builds
        ("450.10, 8.6, NVIDIA RTX A4000", "cpu", "cpu"),  # too old a driver for any
    ],
)
def test_linux_with_a_card(tmp_path: Path, smi: str, index: str, build: str) -> None:
    answers = LINUX | {"nvidia-smi": Output(0, smi + "\n")}
    answers |= {f"whl/{name}/torch/": page(name) for name in ("cu130", "cu126")}
    setup = Setup(tmp_path, make_host(tmp_path, on_path=["python3.11"]), FakeRunner(answers))
    setup.install()
    assert setup.runner.ran[2][-3:] == (
        f"torch==2.13.0+{build}",
        "--index-url",
        f"https://download.pytorch.org/whl/{index}",
    )
    if build == "cpu":
        assert "too old for PyTorch" in setup.place.log.read_text()


def test_unreachable_index_falls_back_and_says_so(setup: Setup) -> None:
    del setup.runner.answers[f"{CPU}/torch/"]
    setup.install()
    assert setup.runner.ran[2][-1] == "torch==2.13.0"
    assert f"{CPU} cannot be reached" in setup.place.log.read_text()


def test_index_without_the_version_falls_back(setup: Setup) -> None:
    setup.runner.answers[f"{CPU}/torch/"] = Output(0, PAGE.replace("2.13.0", "2.9.1"))
    setup.install()
    assert setup.runner.ran[2][-1] == "torch==2.13.0"
    assert "does not have torch 2.13.0" in setup.place.log.read_text()


def test_windows(tmp_path: Path) -> None:
    path = r"C:\Users\anna\AppData\Local\Programs\Python\Python311\python.exe"
    answers = {
        "py -3.11": python_says(path, "3.11.9", machine="AMD64"),
        "nvidia-smi": Output(0, "581.29, 12.0, NVIDIA RTX 5090\r\n"),
        "whl/cu130/torch/": page("cu130"),
    }
    host = make_host(tmp_path, system="Windows", machine="AMD64", on_path=["py"])
    setup = Setup(tmp_path, host, FakeRunner(answers))
    setup.install()
    assert setup.runner.ran[0] == (path, "-I", "-m", "venv", "--clear", str(setup.place.venv))
    assert setup.runner.ran[1][0].endswith("env/Scripts/python.exe")
    assert setup.runner.ran[2][-1].endswith("/whl/cu130")
    assert setup.runner.ran[-1][0].endswith("env/Scripts/likeness.exe")
    assert setup.place.state(setup.wheel) == "ready"


def test_macos_takes_pips_own_index(tmp_path: Path) -> None:
    brew = "/opt/homebrew/bin/python3.12"
    intel = "/usr/local/bin/python3.11"
    answers = {
        brew: python_says(brew, "3.12.4", machine="arm64"),
        intel: python_says(intel, "3.11.4", machine="x86_64"),
    }
    host = make_host(tmp_path, system="Darwin", machine="arm64", files=[brew, intel])
    setup = Setup(tmp_path, host, FakeRunner(answers))
    setup.install()
    assert setup.runner.ran[0][0] == brew
    assert setup.runner.ran[2][-1] == "torch==2.13.0"
    assert not any("nvidia-smi" in line[0] for line in setup.runner.asked)


def test_intel_mac_is_told(tmp_path: Path) -> None:
    setup = Setup(tmp_path, make_host(tmp_path, system="Darwin"), FakeRunner({}))
    assert "Intel Macs" in str(setup.fails())


def test_places_outside_path_are_searched(tmp_path: Path) -> None:
    pyenv = f"{tmp_path}/.pyenv/versions/3.12.1/bin/python3.12"
    setup = Setup(
        tmp_path,
        make_host(tmp_path, on_path=["python3.11", "python3"], files=[pyenv]),
        FakeRunner(
            {
                "python3.11 -I": Output(127, "pyenv: python3.11: command not found"),  # a shim
                pyenv: python_says(pyenv, "3.12.1"),
                "python3 -I": python_says("/usr/bin/python3", "3.13.0"),
            }
        ),
    )
    setup.install()
    assert setup.runner.ran[0][0] == pyenv


def test_uv_on_path(tmp_path: Path) -> None:
    answers = {"uv --version": Output(0, "uv 0.9"), "python3 -I": python_says("/usr/bin/python3", "3.13.0")}
    setup = Setup(tmp_path, make_host(tmp_path, on_path=["uv", "python3"]), FakeRunner(answers))
    setup.install()
    assert setup.runner.ran[0] == (
        *("uv", "venv", "--seed", "--python", "3.11"),
        str(setup.place.venv),
    )
    assert setup.runner.environments[0]["UV_PYTHON_INSTALL_DIR"] == str(setup.place.pythons)


def test_uv_is_brought_by_blenders_python(tmp_path: Path) -> None:
    setup = Setup(tmp_path, make_host(tmp_path), FakeRunner({"/blender/python -I": Output(0, "")}))
    setup.install()
    place = setup.place
    assert setup.runner.ran[:3] == [
        ("/blender/python", "-I", "-m", "venv", "--clear", str(place.helper)),
        (str(place.helper_python), "-I", "-m", "pip", "install", "--upgrade", "uv"),
        (str(place.helper_uv), "venv", "--seed", "--python", "3.11", str(place.venv)),
    ]


@pytest.mark.parametrize(
    ("system", "machine", "words"),
    [
        ("Linux", "x86_64", "apt install python3.11-venv"),
        ("Windows", "AMD64", "python.org"),
        ("Darwin", "arm64", "brew install python@3.11"),
    ],
)
def test_nothing_to_make_an_environment_with(tmp_path: Path, system: str, machine: str, words: str) -> None:
    setup = Setup(tmp_path, make_host(tmp_path, system=system, machine=machine), FakeRunner({}))
    error = setup.fails()
    assert error.code == "no_python"
    assert words in str(error)
    assert not setup.runner.ran


def test_debians_python_without_venv_is_named(tmp_path: Path) -> None:
    answers = {"python3.11 -I": python_says("/usr/bin/python3.11", "3.11.2", ["ensurepip"])}
    setup = Setup(tmp_path, make_host(tmp_path, on_path=["python3.11"]), FakeRunner(answers))
    assert "sudo apt install python3.11-venv" in str(setup.fails())


def test_offline(setup: Setup) -> None:
    setup.online = False
    error = setup.fails()
    assert error.code == "offline"
    assert "Allow Online Access" in str(error)
    assert not setup.place.folder.exists()


def test_disk_too_small_says_how_much(setup: Setup) -> None:
    setup.free = 3e9
    error = setup.fails()
    assert error.code == "disk"
    assert "needs 5 GB" in str(error)
    assert "3.0 GB" in str(error)
    assert not setup.runner.ran


def test_no_rights(setup: Setup, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/ro/backend")

    monkeypatch.setattr(Path, "mkdir", refuse)
    error = setup.fails()
    assert error.code == "rights"
    assert "/ro/backend" in str(error)


FAILURES = [
    ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk"),
    ("WARNING: Retrying: NewConnectionError: Temporary failure in name resolution", "network"),
    ("ERROR: [Errno 13] Permission denied: '/x/env/lib/a.so'", "rights"),
    ("ERROR: ResolutionImpossible: numpy 1 and 2", "pip"),
]


@pytest.mark.parametrize(("line", "code"), FAILURES)
def test_failed_step_goes_on_from_there(setup: Setup, line: str, code: str) -> None:
    def fail(text: str, say: Callable[[str], None]) -> int | None:
        if ".whl" not in text:
            return None
        say("Collecting numpy")
        say(line)
        return 1

    setup.runner.behave = fail
    error = setup.fails()
    assert error.code == code
    assert str(setup.place.log) in str(error)
    assert line in setup.place.log.read_text()
    assert setup.runner.keys() == ["python", "pip", "torch", "packages"]
    setup.runner.behave = lambda text, say: None
    setup.install()
    assert setup.runner.keys() == ["packages", "backend", "check"]


def test_last_error_line_is_told() -> None:
    step = Step("torch", "Installing PyTorch", 1, (), "")
    lines = ["Collecting x", "ERROR: ResolutionImpossible", "", "ERROR: nothing fits", "see https://pip"]
    assert diagnose(step, 1, lines).message == "'Installing PyTorch' failed with exit code 1: nothing fits"


def test_interrupted_step_is_repeated(setup: Setup) -> None:
    entered, go = threading.Event(), threading.Event()

    def hang(text: str, say: Callable[[str], None]) -> int | None:
        if "torch==" in text:
            entered.set()
            go.wait(10)
            return -9
        return None

    setup.runner.behave = hang
    installation = setup.begin()
    assert entered.wait(10)
    with pytest.raises(InstallError, match="wait until it is done"):
        setup.begin().wait(10)  # another Blender
    installation.cancel()
    go.set()
    with pytest.raises(InstallError, match="go on from here") as caught:
        installation.wait(10)
    assert caught.value.code == "cancelled"
    assert setup.place.state(setup.wheel) == "partial"
    setup.runner.killed, setup.runner.behave = False, lambda text, say: None
    setup.install()
    assert setup.runner.keys() == ["torch", "packages", "backend", "check"]


def test_cancel_before_the_first_step(setup: Setup) -> None:
    setup.runner.killed = True
    request = Request(setup.place.folder, setup.wheel, True)
    installation = Installation(request, host=setup.host, runner=setup.runner)
    installation.cancel()
    installation.start()
    with pytest.raises(InstallError, match="cancelled"):
        installation.wait(10)


def test_a_whole_environment_is_only_checked_again(setup: Setup) -> None:
    setup.install()
    setup.install()
    assert setup.runner.keys() == ["check"]


def test_an_environment_whose_python_is_gone_is_made_anew(setup: Setup) -> None:
    setup.install()
    setup.place.python.unlink()
    assert setup.place.state(setup.wheel) == "partial"
    setup.install()
    assert setup.runner.keys() == ["python", "pip", "torch", "packages", "backend", "check"]


def test_upgrade_installs_what_changed(setup: Setup, tmp_path: Path) -> None:
    setup.install()
    setup.wheel = make_wheel(tmp_path / "newer", body="x = 2\n")
    assert setup.place.state(setup.wheel) == "outdated"
    setup.install()
    assert setup.runner.keys() == ["packages", "backend", "check"]
    assert setup.place.state(setup.wheel) == "ready"
    setup.wheel = make_wheel(tmp_path / "newest", version="0.2.0", torch="2.14.0")
    setup.runner.answers[f"{CPU}/torch/"] = Output(0, PAGE.replace("2.13.0", "2.14.0"))
    setup.install()
    assert setup.runner.keys() == ["torch", "packages", "backend", "check"]


def test_a_backend_that_does_not_work_is_not_taken_for_whole(setup: Setup) -> None:
    setup.runner.doctor = [
        {"name": "opencv-contrib-python", "state": "bad", "detail": "libGL.so.1", "remedy": "install libgl1"}
    ]
    error = setup.fails()
    assert error.code == "check"
    assert "install libgl1" in str(error)
    setup.runner.doctor = "nonsense"
    assert "no answer" in str(setup.fails())


def test_uninstall_returns_what_it_frees(setup: Setup) -> None:
    setup.install()
    (setup.place.venv / "big").write_bytes(b"x" * 1_000_000)
    size = setup.place.size_bytes()
    assert size >= 1_000_000
    assert setup.place.uninstall() == size
    assert setup.place.state(setup.wheel) == "absent"
    assert list(setup.place.folder.iterdir()) == []
    assert setup.place.uninstall() == 0


def test_uninstall_waits_for_nobody(setup: Setup) -> None:
    setup.install()
    with setup.place.locked(), pytest.raises(EnvironmentProblem, match="another Blender"):
        setup.place.uninstall()
    assert setup.place.state(setup.wheel) == "ready"


def test_wheels(tmp_path: Path) -> None:
    assert find_wheel(tmp_path) is None
    wheel = make_wheel(tmp_path, version="0.3.0", torch="2.13.0")
    assert find_wheel(tmp_path) == wheel
    assert (wheel.version, wheel.torch, len(wheel.sha256)) == ("0.3.0", "2.13.0", 64)
    wheel.path.write_bytes(b"no zip")
    with pytest.raises(EnvironmentProblem, match="install the add-on again"):
        read_wheel(wheel.path)


def test_downloads_of_several_files() -> None:
    downloads = Downloads(1000)
    seen = []
    for line in ("Progress 0 of 400", "Progress 400 of 400", "Progress 0 of 600", "Progress 600 of 600"):
        assert downloads.take(line)
        seen.append(round(downloads.fraction, 2))
    assert seen == [0.0, 0.32, 0.32, 0.8]
    assert not downloads.take("Installing collected packages: torch")
