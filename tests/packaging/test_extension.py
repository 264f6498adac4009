"""The zip that Blender installs: what is in it, and that it works where it is meant to."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import backend

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def builder():
    """``packaging/build_extension.py`` as a module; its folder is no package."""
    spec = importlib.util.spec_from_file_location(
        "build_extension", ROOT / "packaging" / "build_extension.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(builder, tmp_path_factory) -> Path:
    """The zip for all platforms, built from this tree."""
    return builder.build(list(builder.PLATFORMS), tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def unpacked(built, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(built) as archive:
        archive.extractall(folder)
    return folder


def absolute_imports(path: Path) -> set[str]:
    """Top-level names of the packages that a source file imports absolutely."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_importing_the_addon_does_not_import_blender():
    code = "import sys; sys.modules['bpy'] = None; import blender_addon; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_addon_imports_itself_only_relatively():
    sources = sorted((ROOT / "blender_addon").rglob("*.py"))
    assert sources
    forbidden = {"blender_addon", "likeness", "bl_ext", "backend", "synthdata", "torch"}
    wrong = {path.name: found for path in sources if (found := absolute_imports(path) & forbidden)}
    assert not wrong


def test_versions_are_one(builder):
    assert builder.version() == backend.__version__


def test_two_versions_are_told(builder, monkeypatch, tmp_path):
    (tmp_path / "blender_addon").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "blender_addon" / builder.MANIFEST).write_text('version = "0.1.0"\n')
    monkeypatch.setattr(builder, "ROOT", tmp_path)
    with pytest.raises(builder.BuildError, match=r"0\.2\.0.*0\.1\.0"):
        builder.version()


def test_one_version_of_each_module_for_blender_and_the_backend(builder):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pyzmq = next(name for name in project["dependencies"] if name.startswith("pyzmq"))
    assert pyzmq.replace("==", "-") in builder.pinned()
    # One wheel per platform and Python of each module.
    counts = {name: len(hashes) for name, hashes in builder.pinned().items()}
    assert set(counts.values()) == {len(builder.PLATFORMS) * len(builder.PYTHONS)}


def test_a_wheel_that_is_not_the_pinned_one_does_not_count(builder, tmp_path):
    names = [tmp_path / f"{name}-cp311-cp311-win_amd64.whl" for name in builder.pinned()]
    for path in names:
        path.write_bytes(b"not what was pinned")
    assert not builder.is_complete(names)


@pytest.mark.slow
@pytest.mark.blend
class TestZip:
    def test_blender_finds_it_valid(self, builder, built):
        subprocess.run([sys.executable, builder.blender_tool(), "validate", built], check=True)

    def test_wheels_for_every_platform_and_python(self, unpacked):
        manifest = tomllib.loads((unpacked / "blender_manifest.toml").read_text(encoding="utf-8"))
        wheels = manifest["wheels"]
        assert all((unpacked / wheel).is_file() for wheel in wheels)
        modules, pythons, systems = (
            ("pyzmq", "msgspec"),
            ("cp311", "cp313"),
            ("manylinux", "win_amd64", "macosx"),
        )
        for module, python, system in itertools.product(modules, pythons, systems):
            matching = [
                name for name in wheels if module in name and f"-{python}-" in name and system in name
            ]
            assert len(matching) == 1, (module, python, system, matching)
        assert len(wheels) == len(modules) * len(pythons) * len(systems)

    def test_only_what_belongs_in_it(self, unpacked):
        files = [path.relative_to(unpacked) for path in unpacked.rglob("*") if path.is_file()]
        assert {path.name for path in files} >= {
            "__init__.py",
            "bundle.py",
            "protocol.py",
            "LICENSE",
            "NOTICE",
        }
        assert not [
            path for path in files if path.suffix not in {".py", ".toml", ".whl"} and path.parent.name
        ]

    def test_the_same_tree_gives_the_same_bytes(self, builder, built, tmp_path):
        # Unless somebody edits the sources between the two builds.
        again = builder.build(list(builder.PLATFORMS), tmp_path)
        assert again.read_bytes() == built.read_bytes()

    def test_smaller_zip_for_one_platform(self, builder, built, tmp_path):
        small = builder.build(["windows-x64"], tmp_path)
        with zipfile.ZipFile(small) as archive:
            wheels = [name for name in archive.namelist() if name.startswith("wheels/")]
            manifest = tomllib.loads(archive.read("blender_manifest.toml").decode())
        assert all("win_amd64" in name for name in wheels)
        assert manifest["platforms"] == ["windows-x64"]
        assert small.stat().st_size < built.stat().st_size

    def test_backend_wheel_holds_its_weights_and_no_tests(self, unpacked):
        (wheel,) = (unpacked / "backend_wheel").glob("likeness-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        assert "backend/weights/embedded/open_head.safetensors" in names
        assert {"backend/cli.py", "blender_addon/bundle.py", "blender_addon/protocol.py"} <= set(names)
        assert not [name for name in names if "test" in Path(name).parts[0] or "synthdata" in name]

    def test_backend_wheel_installs(self, unpacked, tmp_path):
        (wheel,) = (unpacked / "backend_wheel").glob("likeness-*.whl")
        subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True)
        python = tmp_path / "env" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        pip = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, wheel], check=True)
        code = "import backend; print(backend.__version__, backend.__file__)"
        done = subprocess.run(
            [python, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.split()
        assert done[0] == backend.__version__
        assert Path(done[1]).is_relative_to(tmp_path)

    def test_blender_installs_it_with_its_wheels(self, built, tmp_path):
        """Blender with Python 3.11, without a window; the window tests install it under 3.13."""
        code = f"""
import bpy, importlib
bpy.ops.extensions.package_install_files(filepath={str(built)!r}, repo="user_default", enable_on_install=True)
assert "bl_ext.user_default.likeness" in bpy.context.preferences.addons
importlib.import_module("bl_ext.user_default.likeness.bundle")
import msgspec, zmq
print(zmq.__file__, msgspec.__file__, sep="\\n")
"""
        environment = {
            "PATH": "/usr/bin:/bin",
            "BLENDER_USER_RESOURCES": str(tmp_path),
            "HOME": str(tmp_path),
        }
        # -S -I with bpy's folder alone on the path: zmq and msgspec can only come from the zip.
        bpy_folder = Path(importlib.util.find_spec("bpy").origin).parents[1]
        isolated = tmp_path / "modules"
        isolated.mkdir()
        for name in ("bpy", "numpy", "numpy.libs"):
            if (bpy_folder / name).exists():
                (isolated / name).symlink_to(bpy_folder / name)
        environment["PYTHONPATH"] = str(isolated)
        done = subprocess.run(
            [sys.executable, "-S", "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        modules = [line for line in done.stdout.splitlines() if line.endswith("__init__.py")]
        assert len(modules) == 2
        assert all(Path(line).is_relative_to(tmp_path) for line in modules), modules
