# shellcheck shell=sh
# Looks at the folder of the static cache.
# Values: directory.
# Prints `directory=` (mode, user, group; `-` if the folder is missing) and `store=` (the store directory of the
# cache).
: "${directory:?}"
say directory "$(stat -Lc '%a %U %G' -- "$directory" 2>/dev/null || echo -)"
say store "$(store_of "$directory")"
exit 0
