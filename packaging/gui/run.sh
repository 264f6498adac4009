#!/usr/bin/env bash
# Runs SCRIPT.py in the window of a real Blender that prepare.sh has made (BLENDER=trixie or sid):
#
#     packaging/gui/run.sh SCRIPT.py OUTDIR [INPUT]
#
# Blender sees SCRIPT's folder as /scenario, the folder INPUT as /input, dist/ as /dist, and writes what is
# to be kept to /out, which is OUTDIR. The rest of what it writes goes to a scratch folder that is deleted in the
# end; LIKENESS_GUI_SCRATCH=DIR keeps one (the installed backend, for instance) from run to run.
# LIKENESS_GUI_LIMIT is the time limit in seconds. Ends with Blender's exit code; 124: it ran past the limit.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
[ $# -ge 2 ] || fail "usage: packaging/gui/run.sh SCRIPT.py OUTDIR [INPUT]"
[ -f "$root/.likeness-prepared" ] || fail "there is no Blender in $root: run BLENDER=$suite packaging/gui/prepare.sh"
[ -f "$1" ] || fail "$1: no such script"
mkdir -p "$2" "$repo/dist"
rm -f "$2/result.json" "$2/failure.png" # of an earlier run

if [ -n "${LIKENESS_GUI_SCRATCH:-}" ]; then
  mkdir -p "$LIKENESS_GUI_SCRATCH"
  scratch=$(realpath "$LIKENESS_GUI_SCRATCH")
else
  scratch=$(mktemp -d "$environments/scratch.XXXXXX")
  # Out here nothing is mounted: window.sh mounts in a namespace that is gone by then.
  trap 'remove_tree "$scratch"' EXIT
fi
mkdir -p "$scratch/home" "$scratch/tmp"
chmod 1777 "$scratch/tmp"

code=0
alone bash "$(dirname "${BASH_SOURCE[0]}")/window.sh" \
  "$(realpath "$1")" "$(realpath "$2")" "${3:+$(realpath "$3")}" "$scratch" || code=$?
exit "$code"
