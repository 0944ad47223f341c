# shellcheck shell=sh
# Functions for the scripts that set up Nix.

# Prints the version of Nix; fails without Nix.
version_of_nix() { version=$(nix-store --version 2>/dev/null) && printf '%s\n' "${version##* }"; }

say_version() { version=$(version_of_nix) && say nix "$version"; }

# Prints the inode, size and times of files, and nothing for a missing one.
file_states() { stat -L -c '%i %s %Y %Z %n' -- "$@" 2>/dev/null; }

# Prints the version of a Nix that has started before, if none of the files that decide it has changed since.
# File $1 is the record that record.sh writes: assignments of nix_version, nix_files and nix_states.
recorded_version() {
  [ -r "$1" ] || return 1
  nix_version='' nix_files='' nix_states=''
  # shellcheck disable=SC1090 # Our own record.
  . "$1"
  [ -n "$nix_version" ] && [ -n "$nix_states" ] || return 1
  (
    split_by_line
    # shellcheck disable=SC2086 # A line is a path.
    [ "$(file_states $nix_files)" = "$nix_states" ]
  ) && printf '%s\n' "$nix_version"
}

# Tells whether Debian's nix.conf has this line.
includes() {
  [ -r /etc/nix/nix.conf ] || return 1
  while IFS= read -r setting || [ -n "$setting" ]; do
    if [ "$setting" = "$1" ]; then return 0; fi
  done < /etc/nix/nix.conf
  return 1
}
