# shellcheck shell=sh
# Functions for the scripts about builders.

# Prints a text as a value in a URL.
percent_coded() { printf %s "$1" | sed 's/%/%25/g; s/+/%2B/g; s/=/%3D/g; s/&/%26/g; s/?/%3F/g; s/#/%23/g'; }

# Runs a command as a user, and directly for the present user or an empty name.
as_user() {
  user=$1
  shift
  if [ -z "$user" ] || [ "$(id -un)" = "$user" ]; then "$@"; else runuser -u "$user" -- "$@"; fi
}
