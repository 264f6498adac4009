#!/usr/bin/env bash
# Environments in which builders of Blender data and user interface are tested beside .venv's bpy 4.5: build/bpy-4.2 (LTS) and
# build/bpy-5.0, each with Blender's module and what those tests import. Idempotent; about 1 GB each.
set -euo pipefail
cd "$(dirname "$0")/.."
pins=$(sed -n 's/^ *"\(\(numpy\|opencv-contrib-python\|pytest\|pyzmq\|safetensors\)==[^"]*\)",.*$/\1/p' pyproject.toml)
scipy=$(sed -n 's/^ *"\(scipy[^"]*\)",.*$/\1/p' pyproject.toml | head -n 1)
stamp=$(cat "$0" pyproject.toml | sha256sum | cut -c1-16)
python=$(.venv/bin/python -c 'import sys; print(sys.executable if sys.version_info[:2] == (3, 11) else "")')
[ -n "$python" ] || {
  echo "likeness: bpy has wheels for Python 3.11 only; make .venv with it (PYTHON=python3.11)" >&2
  exit 3
}
for bpy in bpy==4.2.23 bpy==5.0.1; do # the newest of each on the package index
  version=${bpy#*==}
  folder=build/bpy-${version%.*}
  [ "$(cat "$folder/.likeness-stamp" 2>/dev/null || true)" != "$stamp" ] || continue
  echo "likeness: $folder with $bpy" >&2
  "$python" -m venv --clear "$folder"
  # shellcheck disable=SC2086 # one word per pin
  "$folder/bin/python" -m pip --disable-pip-version-check install -q "$bpy" $pins "$scipy" msgspec==0.22.0 pillow
  printf '%s' "$stamp" >"$folder/.likeness-stamp"
done
