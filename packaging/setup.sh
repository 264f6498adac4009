#!/usr/bin/env bash
# Makes .venv with Likeness and the extras named in $1 (for example "blend" or "blend,dev").
# Idempotent: does nothing when pyproject.toml and the extras have not changed since.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=${1:-blend}
venv=.venv
note() { printf '\033[1m%s\033[0m\n' "likeness: $*" >&2; }
fail() { printf '%s\n' "likeness: $*" >&2; exit 3; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null 2>&1; then sudo "$@"
  else fail "system packages are missing and this user may not install them; ask an administrator to run: $*"
  fi
}

# What bpy, OpenCV, MediaPipe and (for the tests) mitsuba link, which a minimal Debian or Ubuntu lacks.
system_libraries=(libX11.so.6:libx11-6 libXi.so.6:libxi6 libXrender.so.1:libxrender1 libXfixes.so.3:libxfixes3
  libXxf86vm.so.1:libxxf86vm1 libXext.so.6:libxext6 libSM.so.6:libsm6 libICE.so.6:libice6
  libxkbcommon.so.0:libxkbcommon0 libGL.so.1:libgl1 libEGL.so.1:libegl1 libGLESv2.so.2:libgles2
  libgthread-2.0.so.0:libglib2.0-0 libgomp.so.1:libgomp1 libatomic.so.1:libatomic1)

install_system_packages() {
  command -v apt-get >/dev/null 2>&1 || return 0
  local wanted=() known entry
  known=$(/sbin/ldconfig -p 2>/dev/null || true)
  for entry in "${system_libraries[@]}"; do
    grep -q "${entry%%:*} " <<<"$known" || wanted+=("${entry##*:}")
  done
  # A Debian Python comes without ensurepip until its -venv package is there.
  if [ -z "${python:-}" ]; then
    wanted+=(python3.11 python3.11-venv)
  elif ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    wanted+=("$("$python" -c 'import sys; print(f"python3.{sys.version_info[1]}-venv")')")
  fi
  # Software EGL, so that EEVEE can render without a graphics card.
  compgen -G '/usr/lib/*/dri/*_dri.so' >/dev/null || wanted+=(libgl1-mesa-dri)
  [ ${#wanted[@]} -eq 0 ] && return 0
  note "installing system packages: ${wanted[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}"
}

find_python() {
  local candidate
  for candidate in ${PYTHON:-} python3.11 python3.12 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      command -v "$candidate"
      return 0
    fi
  done
}

python=$(find_python)
install_system_packages
[ -n "$python" ] || python=$(find_python)
[ -n "$python" ] || fail "Python 3.11 or 3.12 is needed; install python3.11 and python3.11-venv, or set PYTHON="

stamp="$(cat pyproject.toml packaging/setup.sh | sha256sum | cut -c1-16) $("$python" -V)"
for extra in ${extras//,/ }; do
  [ -f "$venv/.likeness-$extra" ] && [ "$(cat "$venv/.likeness-$extra")" = "$stamp" ] || missing=1
done
[ -n "${missing:-}" ] || exit 0

free_mb=$(df -Pm . | awk 'NR==2 {print $4}')
[ "$free_mb" -gt 5000 ] || fail "about 5 GB of disk are needed for the Python environment; $free_mb MB are free here"

[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)

torch=$(sed -n 's/^ *"\(torch==[^"]*\)",$/\1/p' pyproject.toml)
if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
  cpu_index=https://download.pytorch.org/whl/cpu
  if [ "$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 &&
    "$venv/bin/python" -c "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=5)" 2>/dev/null; then
    note "installing $torch (CPU build)"
    "${pip[@]}" install -q "$torch" --index-url "$cpu_index"
  else
    note "installing $torch"
    "${pip[@]}" install -q "$torch"
  fi
fi
note "installing Likeness with: $extras"
"${pip[@]}" install -q -e ".[$extras]"
"${pip[@]}" check >&2
for extra in ${extras//,/ }; do printf '%s' "$stamp" >"$venv/.likeness-$extra"; done
