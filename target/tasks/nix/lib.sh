# shellcheck shell=sh
# Functions for the scripts that set up Nix.

# Prints the version of Nix; fails without Nix.
version_of_nix() { version=$(nix-store --version 2>/dev/null) && printf '%s\n' "${version##* }"; }

say_version() { version=$(version_of_nix) && say nix "$version"; }

# Tells whether Debian's nix.conf has the line $1.
includes() {
  [ -r /etc/nix/nix.conf ] || return 1
  while IFS= read -r setting || [ -n "$setting" ]; do
    if [ "$setting" = "$1" ]; then return 0; fi
  done < /etc/nix/nix.conf
  return 1
}
