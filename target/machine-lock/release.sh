# shellcheck shell=sh
# Gives up the lock that keeps other operators from setting up the machine, where we have it.
# Values: file, who (the taker).
: "${file:?}" "${who:?}"
[ -e "$file" ] || exit 0
lock_folder "$file" || exit 1
[ "$(cat -- "$file" 2>/dev/null)" != "$who" ] || rm -f -- "$file"
