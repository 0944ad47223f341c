# shellcheck shell=sh
# Unpacks standard input and prints the hash of its content.
# Values: program (that unpacks).
# Exit status 3: the machine has no such program.
#
# The file between both programs keeps the exit status of the first one.
: "${program:?}"
command -v "$program" > /dev/null || exit 3
file=$(mktemp) || exit 1
trap 'rm -f -- "$file"' EXIT
"$program" -dc > "$file" || exit 1
sha256sum < "$file" | cut -d' ' -f1
