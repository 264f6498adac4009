# What the scripts here share: where the environments lie, and how to be alone with one. Sourced.
repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
suite=${BLENDER:-trixie}
note() { printf '%s\n' "likeness gui ($suite): $*" >&2; }
fail() {
  note "$*"
  exit 3
}
case $suite in trixie | sid) ;; *) fail "BLENDER must be trixie (Blender 4.3) or sid (Blender 5.2), not '$suite'" ;; esac
environments=${LIKENESS_GUI:-$repo/build/gui}
root=$environments/$suite
[ "$(id -u)" = 0 ] || fail "a chroot needs root: run this as root, or in a container"

# Runs a command in a mount namespace of its own: whatever it mounts is never seen outside and is gone when it
# ends, even by kill -9. A process namespace does the same for Xvfb, Blender and the backend's server.
alone() {
  unshare --mount --pid --fork --kill-child --mount-proc --propagation private "$@"
}

mount_system() { # DIR
  mount -t proc proc "$1/proc"
  mount --rbind /sys "$1/sys"
  mount --rbind /dev "$1/dev"
}

# Bind mounts lie on the same file system as what they cover, so rm cannot tell them from plain folders.
remove_tree() { # DIR
  [ -d "$1" ] || return 0
  ! grep -qF " $1/" /proc/self/mountinfo || fail "something is mounted below $1; it is left alone"
  rm -rf --one-file-system "$1"
}
