# shellcheck shell=sh
# Functions for the scripts that reach a NixOS machine over ssh. The scripts that stay on the machine (arm, guard,
# switch, keep) use none of them: these scripts use the programs of one system by its store path.

# A sudo may give a PATH without the system's programs.
PATH=$PATH:/run/current-system/sw/bin

# Prints the place that a link leads to; prints nothing where the link leads nowhere.
place_of() { readlink -e -- "$1" 2>/dev/null; }

# Prints the first line of a file; prints nothing where the file is missing.
first_line() { head -n 1 -- "$1" 2>/dev/null | head -c 500; }
