# shellcheck shell=sh
# Prints `now=`: the seconds since 1970 by the machine's own clock.
say now "$(date +%s)"
