# shellcheck shell=sh
# Functions for the scripts about a Nix installation in a home directory. The scripts run as the owner of the home.

script=$HOME/.config/hydra-ops/serve-store
# shellcheck disable=SC2034 # The scripts of this folder use the variable.
keys_file=$HOME/.ssh/authorized_keys

# Prints lines of the authorized keys: those of hydra-ops (yes), or those of the user (no). A line of hydra-ops names
# its script.
lines_of_keys() {
  if [ "$1" = yes ]; then set -- -F; else set -- -vF; fi
  grep "$@" -- "command=\"$script\"" "$keys_file" 2>/dev/null
}

# Ends the script for a user other than $1. Also ends for a home with a character that a forced command cannot
# contain.
check_user() {
  if [ "$(id -un)" != "$1" ]; then
    echo "the login is that of user $(id -un), and not of $1" >&2
    exit 1
  fi
  case $HOME in
    *[!A-Za-z0-9/._-]* | '')
      echo "the home $HOME has a character that a forced command cannot have" >&2
      exit 1
      ;;
  esac
}
