# shellcheck shell=sh
# Releases the lock against other operators' set-ups of the machine, if we hold it.
# Values: file, who (the taker).
: "${file:?}" "${who:?}"
[ -e "$file" ] || exit 0
lock_folder "$file" || exit 1
[ "$(cat -- "$file" 2>/dev/null)" != "$who" ] || rm -f -- "$file"
