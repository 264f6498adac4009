"""A machine on which nothing is really run: the installer's commands are recorded and answered."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from blender_addon.environment import Wheel, read_wheel
from blender_addon.pythons import Host
from blender_addon.runner import Output

DOCTOR = [
    {"name": "torch", "state": "good", "detail": "2.13.0", "remedy": ""},
    {"name": "bpy (.blend)", "state": "bad", "detail": "no module", "remedy": "pip install"},
    {"name": "memory", "state": "bad", "detail": "2.0 GiB", "remedy": "at least 4 GiB are needed"},
]


def python_says(path: str, version: str, lacking: Sequence[str] = (), machine: str = "x86_64") -> Output:
    numbers = [int(number) for number in version.split(".")]
    return Output(0, json.dumps([path, numbers, 64, machine, list(lacking)]) + "\n")


class FakeRunner:
    """``answers``: how the short commands whose text contains a key are answered; None runs nothing.

    ``ran`` records the long commands. ``behave`` may fail one of them or print lines.
    """

    def __init__(self, answers: Mapping[str, Output | None]) -> None:
        self.answers = dict(answers)
        self.asked: list[tuple[str, ...]] = []
        self.ran: list[tuple[str, ...]] = []
        self.environments: list[dict[str, str]] = []
        self.behave: Callable[[str, Callable[[str], None]], int | None] = lambda text, say: None
        self.doctor: object = DOCTOR
        self.killed = False

    def ask(self, command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Output | None:
        self.asked.append(tuple(command))
        text = " ".join(command)
        if "pip --version" in text:
            return Output(0, "pip") if Path(command[0]).exists() else None
        return next((answer for key, answer in self.answers.items() if key in text), None)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        on_line: Callable[[str], None],
    ) -> int:
        if self.killed:
            raise FileNotFoundError(2, "killed", command[0])
        self.ran.append(tuple(command))
        self.environments.append(dict(environment))
        text = " ".join(command)
        code = self.behave(text, on_line)
        if code is not None:
            return code
        if "venv" in command:
            place = Path(command[-1])
            windows = "\\" in command[0] or command[0].endswith(".exe")
            names = (
                ("Scripts/python.exe", "Scripts/likeness.exe") if windows else ("bin/python", "bin/likeness")
            )
            for name in names:
                (place / name).parent.mkdir(parents=True, exist_ok=True)
                (place / name).touch()
        if command[-1] == "--json":
            on_line(json.dumps(self.doctor))
            return 3
        return 0

    def kill(self) -> None:
        self.killed = True

    def keys(self) -> list[str]:
        """The long commands in a word each."""
        words = {
            "--force-reinstall": "backend",
            "--upgrade pip": "pip",
            "--upgrade uv": "uv",
            "doctor": "check",
            ".whl": "packages",
            "torch==": "torch",
            "helper": "helper",
            "venv": "python",
        }
        return [next(word for key, word in words.items() if key in " ".join(line)) for line in self.ran]


def make_host(
    home: Path,
    *,
    system: str = "Linux",
    machine: str = "x86_64",
    on_path: Sequence[str] = (),
    files: Sequence[str] = (),
) -> Host:
    return Host(
        system,
        machine,
        {"PATH": "/bin", "PIP_TARGET": "/elsewhere"},
        home,
        which=lambda name: name if name in on_path else None,
        find=lambda pattern: [file for file in files if Path(file).match(pattern) or file == pattern],
    )


def make_wheel(folder: Path, *, version: str = "0.1.0", torch: str = "2.13.0", body: str = "") -> Wheel:
    """A wheel with metadata and a module, installable by pip."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"likeness-{version}-py3-none-any.whl"
    info = f"likeness-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("dummy_backend.py", body or "x = 1\n")
        archive.writestr(
            f"{info}/METADATA",
            f"Metadata-Version: 2.4\nName: likeness\nVersion: {version}\nRequires-Dist: torch=={torch}\n",
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/entry_points.txt", "[console_scripts]\nlikeness = dummy_backend:main\n")
        archive.writestr(f"{info}/RECORD", "")
    return read_wheel(path)
