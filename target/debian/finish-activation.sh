# shellcheck shell=sh
# Removes the unit of an activation, after its result was read.
# Values: unit.
: "${unit:?}"
systemctl stop -- "$unit" 2>/dev/null
systemctl reset-failed -- "$unit" 2>/dev/null
exit 0
