# shellcheck shell=sh
# Notes on the machine that units are to restart, so that an attempt that is cut off does not forget it.
# Values: marks (folder of the marks of restarts that are due), units (names).
: "${marks:?}" "${units:?}"
split_by_line
mkdir -p "$marks" || exit 1
for unit in $units; do
  : > "$marks/$unit" || exit 1
  step "$unit is marked"
done
