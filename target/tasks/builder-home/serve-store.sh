# shellcheck shell=sh
# Serves the store of a Nix installation in a home directory without root, and does nothing else. sshd runs this script
# as a forced command.
# Values: wrapper (words of the command that enters this Nix, one per line).
#
# Nix requests one of two commands. Output of the profile would break Nix's protocol.
: "${wrapper:?}"
serve() {
  # shellcheck disable=SC2016 # The inner shell expands these variables.
  exec "$@" /bin/sh -c 'profile=$HOME/.nix-profile/etc/profile.d/nix.sh
if [ -r "$profile" ]; then . "$profile" >&2; fi
case $SSH_ORIGINAL_COMMAND in
  "nix-store --serve --write") exec nix-store --serve --write ;;
  "nix-daemon --stdio") exec nix-daemon --stdio ;;
esac'
}
case ${SSH_ORIGINAL_COMMAND-} in
  'nix-store --serve --write' | 'nix-daemon --stdio') ;;
  *)
    echo 'this login serves a Nix store, and does nothing else' >&2
    exit 1
    ;;
esac
set -f
IFS='
'
# shellcheck disable=SC2086 # A list: one word a line.
serve $wrapper
