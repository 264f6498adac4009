#!/usr/bin/env bash
# The part of run.sh that mounts, in a namespace of its own: SCRIPT OUTDIR INPUT SCRATCH, absolute paths.
# It deletes nothing.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"
script=$1 out=$2 input=$3 scratch=$4

place() { # the mount point of PATH in the chroot; made in the environment itself, which is then seen read-only
  if [ -d "$1" ]; then mkdir -p "$root$2"
  else
    mkdir -p "$root$(dirname "$2")"
    [ -e "$root$2" ] || : >"$root$2"
  fi
}
binds=()
bind() { # PATH AT [rw]
  [ -e "$1" ] || return 0
  place "$1" "$2"
  binds+=("$1|$2|${3:-ro}")
}

limit=${LIKENESS_GUI_LIMIT:-1800}
bind "$(dirname "$script")" /scenario
bind "$out" /out rw
[ -z "$input" ] || bind "$input" /input
bind "$repo/dist" /dist
bind "$scratch/home" /home/artist rw
bind "$scratch/tmp" /tmp rw
bind /etc/resolv.conf /etc/resolv.conf
bind /etc/hosts /etc/hosts
for certificates in /etc/ssl/certs /usr/share/ca-certificates /usr/local/share/ca-certificates; do
  bind "$certificates" "$certificates"
done

# The Python 3.11 of this machine is "found on the system" in there: Debian trixie and sid have none.
python=
for candidate in "$repo/.venv/bin/python" python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
    python=$("$candidate" -c 'import sys; print(sys.base_prefix)')
    break
  fi
done
[ -n "$python" ] || fail "no Python 3.11 on this machine for the backend"
path=/usr/local/bin:/usr/bin:/bin
if [ "$python" = /usr ]; then
  for part in /usr/bin/python3.11 /usr/lib/python3.11 /usr/share/python-wheels; do bind "$part" "$part"; done
else
  bind "$python" "$python"
  path=$python/bin:$path
fi

# How pip reaches its index here, as environment: options from its files, and the local folders that they name.
settings=()
while IFS='=' read -r key value; do
  value=${value#\'} value=${value%\'}
  case $key in
    :env:.*) key=${key#:env:.} ;;
    global.* | install.*) key=${key#*.} ;;
    *) continue ;;
  esac
  settings+=("PIP_$(tr 'a-z-' 'A-Z_' <<<"$key")=$value")
  for word in $value; do
    local_path=${word#file://}
    [ "$local_path" = "$word" ] || local_path=${local_path%/simple} # an index links to files beside its pages
    [ "${local_path#/}" = "$local_path" ] || [ ! -d "$local_path" ] || bind "$local_path" "$local_path"
  done
done < <("${PYTHON:-$repo/.venv/bin/python}" -m pip config list 2>/dev/null)
while IFS= read -r name; do
  settings+=("$name=${!name}")
done < <(compgen -e | grep -E '^(UV_|SSL_CERT_|REQUESTS_CA_BUNDLE$|(HTTP|HTTPS|NO|http|https|no)_(PROXY|proxy)$)' || true)

mount_system "$root"
view=$environments/view
mkdir -p "$view"
mount --rbind "$root" "$view"
mount -o remount,bind,ro "$view"
for entry in "${binds[@]}"; do
  IFS='|' read -r from at mode <<<"$entry"
  mount --bind "$from" "$view$at"
  [ "$mode" = rw ] || mount -o remount,bind,ro "$view$at"
done

inside() {
  chroot "$view" env -i HOME=/home/artist PATH="$path" LANG=C.UTF-8 LIBGL_ALWAYS_SOFTWARE=1 \
    ${display:+DISPLAY=:$display} "${settings[@]}" "$@"
}
inside python3.11 -c 'import ctypes, ensurepip, sqlite3, ssl, venv' ||
  fail "Python 3.11 of this machine does not start in there"

: >"$scratch/tmp/display"
inside sh -c 'exec Xvfb -displayfd 1 -screen 0 1600x900x24 -nolisten tcp 2>/out/xvfb.log' >"$scratch/tmp/display" &
for _ in $(seq 100); do
  display=$(cat "$scratch/tmp/display")
  [ -z "$display" ] || break
  sleep 0.1
done
[ -n "$display" ] || fail "Xvfb did not start; see $out/xvfb.log"

code=0
inside timeout --kill-after=10 "$limit" blender --factory-startup --online-mode --enable-event-simulate \
  --window-geometry 0 0 1600 900 --python-exit-code 70 -P "/scenario/$(basename "$script")" \
  >"$out/blender.log" 2>&1 || code=$?
[ "$code" != 124 ] || note "past its limit of $limit s; see $out/blender.log"
exit "$code"
