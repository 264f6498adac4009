"""``make extension``: the zip that Blender installs, ``dist/likeness-<version>.zip``.

It holds the add-on, the wheels that it imports inside Blender (``wheels/``, pinned with their hashes in
``extension_wheels.txt``) and the backend as a wheel (``backend_wheel/``), which the add-on installs in an
environment of its own when the artist asks for it. Blender's own tool builds and validates the zip. The same
tree gives the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "packaging" / "extension_wheels.txt"
CACHE = ROOT / "build" / "extension_wheels"
MANIFEST = "blender_manifest.toml"

# Blender's names of the platforms, and the wheel tags that run there (Blender needs glibc 2.28 itself).
PLATFORMS = {
    "linux-x64": ("manylinux_2_28_x86_64",),
    "windows-x64": ("win_amd64",),
    "macos-arm64": ("macosx_11_0_arm64",),
}
PYTHONS = ("311", "313")  # Blender 4.2 to 5.0, and 5.1 and later
TIMESTAMP = 1577836800  # 2020-01-01 UTC on every file, so that the zip does not depend on the checkout


class BuildError(Exception):
    """The zip cannot be built; the text is one line that says why and what to do."""


def blender_tool() -> Path:
    """Blender's ``blender_ext.py`` inside the installed bpy module.

    Raises:
        BuildError: bpy is not installed in this environment.
    """
    spec = importlib.util.find_spec("bpy")  # finds it without importing Blender
    if spec is None or spec.origin is None:
        raise BuildError("Blender's module is not in this environment: run `make environment` first")
    found = sorted(Path(spec.origin).parent.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError(f"{Path(spec.origin).parent} holds no blender_ext.py; bpy 4.5 brings it")
    return found[-1]


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command; its output is shown only when it fails.

    Raises:
        BuildError: it ended with an error.
    """
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(TIMESTAMP), "TZ": "UTC"}
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        lines = (done.stdout + done.stderr).strip()
        raise BuildError(f"{' '.join(map(str, command[:6]))} … ended with {done.returncode}:\n{lines}")


def copy_clean(source: Path, target: Path) -> None:
    """Copy a folder without what Python leaves beside its sources."""
    shutil.copytree(
        source, target, ignore=shutil.ignore_patterns("__pycache__", "*.py[co]", ".*", "*.egg-info")
    )


def same_everywhere(folder: Path) -> None:
    """Give every file one date and one mode; archives record both."""
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (TIMESTAMP, TIMESTAMP))


def build_backend_wheel(scratch: Path, target: Path) -> Path:
    """Build the backend's wheel from a copy, so that the tree stays clean; returns its path in ``target``.

    The add-on's package is in it for the avatar's schema, the wire protocol and the scene builders.
    """
    sources = scratch / "sources"
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, sources / name)
    for package in ("backend", "blender_addon"):
        copy_clean(ROOT / package, sources / package)
    same_everywhere(sources)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", target, sources)
    return next(target.glob("likeness-*.whl"))


def pinned() -> dict[str, set[str]]:
    """What ``extension_wheels.txt`` pins: ``name-version`` and the SHA-256 of each of its wheels."""
    text = LOCK.read_text(encoding="utf-8").replace("\\\n", " ")
    pins: dict[str, set[str]] = {}
    for line in text.splitlines():
        if match := re.match(r"([\w.-]+)==([\w.]+) ", line):
            pins[f"{match[1]}-{match[2]}"] = set(re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return pins


def is_complete(wheels: Iterable[Path]) -> bool:
    """Whether these files are one pinned wheel of every package."""
    pins = pinned()
    found: set[str] = set()
    for wheel in wheels:
        name = "-".join(wheel.name.split("-")[:2])
        if hashlib.sha256(wheel.read_bytes()).hexdigest() in pins.get(name, set()):
            found.add(name)
    return found == set(pins)


def download_wheels(platform: str, python: str) -> list[Path]:
    """The pinned wheels for one of Blender's platforms and Pythons, from the cache or the package index.

    Raises:
        BuildError: they cannot be downloaded, or are not what was pinned.
    """
    folder = CACHE / f"{platform}-cp{python}"
    if not is_complete(folder.glob("*.whl")):
        shutil.rmtree(folder, ignore_errors=True)
        tags = [f"--platform={tag}" for tag in PLATFORMS[platform]]
        run(
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"),
            *("--only-binary=:all:", "--implementation=cp", f"--python-version={python}", *tags),
            *("--require-hashes", "-r", LOCK, "-d", folder),
        )
    return sorted(folder.glob("*.whl"))


def write_manifest(staged: Path, platforms: Iterable[str]) -> None:
    """Write the manifest of this zip into its folder: the add-on's, with these platforms and its wheels."""
    wheels = sorted(f"./wheels/{path.name}" for path in staged.glob("wheels/*.whl"))
    built: list[str] = []
    for line in (ROOT / "blender_addon" / MANIFEST).read_text(encoding="utf-8").splitlines():
        if line.startswith("platforms"):
            built.append(f"platforms = {json.dumps(list(platforms))}")
            if wheels:  # Blender refuses an empty list
                built.append(f"wheels = {json.dumps(wheels, indent=2)}")
        elif not line.startswith("#"):
            built.append(line)
    (staged / MANIFEST).write_text("\n".join(built).strip() + "\n", encoding="utf-8")


def sort_archive(source: Path, target: Path) -> None:
    """Copy a zip with its files in the order of their names; Blender's tool takes the file system's order."""
    with zipfile.ZipFile(source) as unsorted, zipfile.ZipFile(target, "w") as archive:
        for entry in sorted(unsorted.infolist(), key=lambda entry: entry.filename):
            archive.writestr(entry, unsorted.read(entry), compresslevel=9)


def version() -> str:
    """The version of the whole project.

    Raises:
        BuildError: pyproject.toml and the extension's manifest disagree.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    manifest = tomllib.loads((ROOT / "blender_addon" / MANIFEST).read_text(encoding="utf-8"))["version"]
    if project != manifest:
        raise BuildError(f"pyproject.toml says version {project}, {MANIFEST} {manifest}: make them one")
    return str(project)


def build(platforms: list[str], folder: Path, *, with_wheels: bool = True) -> Path:
    """Build and validate the zip for these platforms in ``folder``; returns its path.

    Without wheels it is for a Linux distribution's Blender that runs on a Python of its own: that one refuses
    wheels for others, and finds pyzmq and msgspec among the distribution's packages.

    Raises:
        BuildError: a download, the build or the validation failed; nothing half-written stays in ``folder``.
    """
    tool = blender_tool()
    suffix = "" if set(platforms) == set(PLATFORMS) else "-" + "-".join(platforms)
    name = f"likeness-{version()}{suffix}{'' if with_wheels else '-without-wheels'}.zip"
    with tempfile.TemporaryDirectory(prefix="likeness-extension-") as scratch_name:
        scratch = Path(scratch_name)
        staged = scratch / "likeness"
        copy_clean(ROOT / "blender_addon", staged)
        (staged / "backend_wheel").mkdir()
        build_backend_wheel(scratch, staged / "backend_wheel")
        (staged / "wheels").mkdir()
        for platform, python in itertools.product(platforms if with_wheels else (), PYTHONS):
            for wheel in download_wheels(platform, python):
                shutil.copy(wheel, staged / "wheels" / wheel.name)
        for text in ("LICENSE", "NOTICE"):
            shutil.copy(ROOT / text, staged / text)
        write_manifest(staged, platforms)
        same_everywhere(staged)
        run(sys.executable, tool, "build", "--source-dir", staged, "--output-filepath", scratch / "built.zip")
        sort_archive(scratch / "built.zip", scratch / name)
        run(sys.executable, tool, "validate", scratch / name)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{name}.partial"
        shutil.copy(scratch / name, partial)  # the scratch folder may lie on another file system
        return partial.replace(folder / name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--platform", action="append", choices=list(PLATFORMS), help="make a smaller zip for this one only"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the zip (default: dist)")
    parser.add_argument(
        "--without-wheels",
        action="store_true",
        help="for a distribution's Blender with a Python of its own, and pyzmq and msgspec as its packages",
    )
    options = parser.parse_args(arguments)
    platforms = options.platform or (["linux-x64"] if options.without_wheels else list(PLATFORMS))
    try:
        path = build(platforms, options.out, with_wheels=not options.without_wheels)
    except BuildError as error:
        print(f"likeness: {error}", file=sys.stderr)
        return 1
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
