#!/usr/bin/env bash
# Prepares a real Blender for the window tests: BLENDER=trixie (4.3, Python 3.13) or BLENDER=sid (5.2) in a
# Debian of its own under ${LIKENESS_GUI:-build/gui}/$BLENDER, from the package mirror that this machine uses.
# Needs root, about 2 GB and a few minutes; does nothing when it was done before.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

# Blender's own builds bring numpy; Debian's only recommends it.
blender=(blender python3-numpy xvfb libegl1 libgl1-mesa-dri libglx-mesa0 imagemagick)
case $suite in
  # Debian's 5.2 runs on Python 3.14, Blender's own on 3.13, which the extension has wheels for: Debian's packages
  # of the same modules stand in. Its extension manager needs cattrs and requests, which it does not depend on.
  sid) blender+=(python3-zmq python3-msgspec python3-cattr python3-requests) ;;
esac
# What the backend and the Python that it is installed with link.
backend=(ca-certificates libgl1 libgles2 libglib2.0-0t64 libgomp1 libxkbcommon0 libsm6 libice6
  libssl3t64 libffi8 libsqlite3-0 libbz2-1.0 liblzma5 libreadline8t64 zlib1g libexpat1)

mirror() { # the first Debian archive that apt knows, without the security one
  { cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } |
    sed -nE 's#^(URIs:|deb( \[[^]]*\])?) *((https?|file):[^ ]*/debian)/?( .*)?$#\3#p' | head -n 1
}

stamp=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16)
[ "$(cat "$root/.likeness-prepared" 2>/dev/null || true)" != "$stamp" ] || exit 0
if [ "${1:-}" != --alone ]; then
  mkdir -p "$environments"
  alone flock "$environments/$suite.lock" bash "$0" --alone
  exit 0
fi

if ! command -v debootstrap >/dev/null 2>&1; then
  command -v apt-get >/dev/null 2>&1 || fail "debootstrap is missing and there is no apt-get to install it"
  note "installing debootstrap"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends debootstrap >&2
fi
url=$(mirror)
[ -n "$url" ] || url=http://deb.debian.org/debian
free_mb=$(df -Pm "$environments" | awk 'NR==2 {print $4}')
[ "$free_mb" -gt 4000 ] || fail "about 4 GB of disk are needed in $environments; $free_mb MB are free"

started=$SECONDS
partial=$root.partial
log=$environments/$suite.log
remove_tree "$partial"
note "a Debian $suite from $url"
debootstrap --variant=minbase "$suite" "$partial" "$url" >"$log" 2>&1 || fail "debootstrap failed; see $log"
mount_system "$partial"
# The machine's proxy for apt, if it has one; and a mirror that is a snapshot lets its release file expire.
settings=$partial/etc/apt/apt.conf.d/90machine
apt-config dump | grep -i '^Acquire::.*proxy' >"$settings" || true
echo 'Acquire::Check-Valid-Until "false";' >>"$settings"
note "Blender and what it needs"
chroot "$partial" env DEBIAN_FRONTEND=noninteractive LC_ALL=C sh -c "apt-get update -qq &&
  apt-get install -y -qq --no-install-recommends ${blender[*]} ${backend[*]} && apt-get clean" \
  >>"$log" 2>&1 || fail "apt-get failed; see $log"
ln -sf /proc/self/mounts "$partial/etc/mtab"
version=$(chroot "$partial" blender --version | head -n 1)
umount -R "$partial/proc" "$partial/sys" "$partial/dev"
remove_tree "$root"
mv "$partial" "$root"
printf '%s' "$stamp" >"$root/.likeness-prepared"
note "$version is ready after $((SECONDS - started)) s"
