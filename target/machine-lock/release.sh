# shellcheck shell=sh
# Releases the machine's lock against other operators, if the taker holds it.
# Values: file, who (the taker).
: "${file:?}" "${who:?}"
[ -e "$file" ] || exit 0
lock_folder "$file" || exit 1
[ "$(cat -- "$file" 2>/dev/null)" != "$who" ] || rm -f -- "$file"
