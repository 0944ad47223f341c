# shellcheck shell=sh
# Functions for the scripts about builders.

# Prints a text encoded as a value in a URL.
percent_coded() { printf %s "$1" | sed 's/%/%25/g; s/+/%2B/g; s/=/%3D/g; s/&/%26/g; s/?/%3F/g; s/#/%23/g'; }

# Runs a command as a user, or directly for the current user or an empty name.
as_user() {
  user=$1
  shift
  if [ -z "$user" ] || [ "$(id -un)" = "$user" ]; then "$@"; else runuser -u "$user" -- "$@"; fi
}

# Locks the marks $1 of drained builders, and the lists with them, until the script ends (flock). Several scripts may
# drain builders at the same time, and each script replaces the same lists. A killed script leaves no lock behind.
lock_marks() {
  mkdir -p -- "${1%/*}" && exec 9< "${1%/*}" || return 1
  flock -w 60 9 || {
    echo 'another hydra-ops has changed the builders of this machine for more than a minute' >&2
    return 1
  }
}
