# shellcheck shell=sh
# Functions for the scripts that set up Nix.

# Prints the version of Nix; fails without Nix.
say_version() { version=$(nix-store --version 2>/dev/null) && say nix "${version##* }"; }

# Tells whether Debian's nix.conf has this line.
includes() { grep -qxF -e "$1" /etc/nix/nix.conf 2>/dev/null; }
