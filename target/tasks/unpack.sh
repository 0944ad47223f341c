# shellcheck shell=sh
# Unpacks standard input and prints the hash of its content.
# Values: program (for unpacking).
# Exit status 3: the machine has no such program.
#
# A temporary file is used instead of a pipe, so that the exit status of the program is not lost.
: "${program:?}"
command -v "$program" > /dev/null || exit 3
file=$(mktemp) || exit 1
trap 'rm -f -- "$file"' EXIT
"$program" -dc > "$file" || exit 1
sha256sum < "$file" | cut -d' ' -f1
