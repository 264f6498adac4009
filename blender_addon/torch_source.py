"""Which build of PyTorch suits this machine, and where pip gets it. No Blender."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .pythons import Host
from .runner import Runner

_INDEX = "https://download.pytorch.org/whl/"


@dataclass(frozen=True)
class Gpu:
    """The first NVIDIA card, as its driver tells."""

    name: str
    driver: int  # first number of its version
    capability: float  # compute capability, 8.9


@dataclass(frozen=True)
class _CudaBuild:
    name: str  # of the index
    driver: int  # oldest that runs it
    capability: float  # oldest card that it has code for


# The newest first. An index that does not have the wanted version is skipped, so a missing or an extra
# line does no harm.
_CUDA_BUILDS = (
    _CudaBuild("cu130", 580, 7.5),
    _CudaBuild("cu129", 575, 7.5),
    _CudaBuild("cu128", 570, 7.5),
    _CudaBuild("cu126", 560, 5.0),
)


@dataclass(frozen=True)
class TorchSource:
    """``index`` None: pip's own. ``cuda``: it may bring several GB of CUDA libraries.

    ``version`` names the build where that is known ("2.13.0+cpu"), so that one for another device is
    replaced.
    """

    index: str | None
    label: str
    cuda: bool
    version: str = ""
    notes: tuple[str, ...] = ()  # for the log: what was tried and why it was not taken


def find_gpu(host: Host, runner: Runner) -> Gpu | None:
    """The NVIDIA card that PyTorch could use; None where there is none or its driver does not answer."""
    if host.system == "Darwin":
        return None
    query = ["nvidia-smi", "--query-gpu=driver_version,compute_cap,name", "--format=csv,noheader"]
    answer = runner.ask(query, host.environment, 15.0)
    if answer is None or answer.code != 0:
        return None
    fields = re.match(r"\s*(\d+)[\d.]*\s*,\s*(\d+\.\d+)\s*,\s*(.+)", answer.text)
    if fields is None:
        return None
    return Gpu(fields[3].strip(), int(fields[1]), float(fields[2]))


def candidates(host: Host, gpu: Gpu | None) -> list[TorchSource]:
    """Sources for this machine, the best first; the last one is pip's own index."""
    if host.system == "Darwin":
        return [TorchSource(None, "for macOS", cuda=False)]
    cpu = TorchSource(_INDEX + "cpu", "for the processor", cuda=False)
    # pip's own index has a build with CUDA for Linux and one without for Windows
    default = TorchSource(None, "from pip's own index", cuda=not host.windows)
    if gpu is None:
        return [cpu, default]
    fitting = [
        TorchSource(_INDEX + build.name, f"for {gpu.name} ({build.name})", cuda=True)
        for build in _CUDA_BUILDS
        if gpu.driver >= build.driver and gpu.capability >= build.capability
    ]
    return [*fitting, default] if fitting else [cpu, default]


# Run by the environment's own Python: it has pip's certificates, which Blender's may lack.
_READ_PAGE = (
    "import ssl,sys,urllib.request as u; from pip._vendor import certifi;"
    "c=ssl.create_default_context(); c.load_verify_locations(certifi.where());"
    "sys.stdout.write(u.urlopen(sys.argv[1],timeout=8,context=c).read().decode())"
)


def versions_at(index: str, host: Host, runner: Runner, python: Path, minor: str) -> list[str] | None:
    """The versions of torch at ``index`` with a wheel for this machine and Python ``minor`` ("3.11").

    None when the index cannot be reached.
    """
    command = [str(python), "-I", "-c", _READ_PAGE, f"{index}/torch/"]
    answer = runner.ask(command, host.environment, 20.0)
    if answer is None or answer.code != 0:
        return None
    tag = "cp" + minor.replace(".", "")
    platform = {"Linux": "linux", "Windows": "win", "Darwin": "macosx"}[host.system]
    wheels = re.findall(r"torch-([\w.]+(?:(?:%2B|\+)\w+)?)-(\w+)-\w+-([\w.]+)\.whl", answer.text)
    return [
        version.replace("%2B", "+")
        for version, python_tag, platform_tag in wheels
        if python_tag == tag and platform in platform_tag and platform_tag.endswith(host.machine.lower())
    ]


def choose(
    host: Host,
    gpu: Gpu | None,
    version: str,
    versions: Callable[[str], Sequence[str] | None],
) -> TorchSource:
    """The first candidate whose index can be reached and has ``version``.

    ``versions``: the versions of torch at an index that suit this machine, None when the index cannot
    be reached.
    """
    notes: list[str] = []
    if gpu is not None and gpu.driver < _CUDA_BUILDS[-1].driver:
        notes.append(
            f"the driver of {gpu.name} ({gpu.driver}) is too old for PyTorch, so the processor is used; "
            f"install driver {_CUDA_BUILDS[-1].driver} or newer and reinstall the backend to use the card"
        )
    for source in candidates(host, gpu):
        if source.index is None:
            return replace(source, version=version, notes=tuple(notes))
        offered = versions(source.index)
        builds = [build for build in offered or () if build.split("+")[0] == version]
        if offered is None:
            notes.append(f"{source.index} cannot be reached; trying the next index")
        elif not builds:
            notes.append(f"{source.index} does not have torch {version}; trying the next index")
        else:
            return replace(source, version=builds[0], notes=tuple(notes))
    raise AssertionError("the last candidate is pip's own index")
