# shellcheck shell=sh
# Notes on the machine which units must restart: the note survives an interrupted attempt.
# Values: marks (folder of the marks of due restarts), units (names).
: "${marks:?}" "${units:?}"
split_by_line
mkdir -p "$marks" || exit 1
for unit in $units; do
  : > "$marks/$unit" || exit 1
  step "$unit is marked"
done
