# shellcheck shell=sh
# Prints the last lines of the units' journals.
# Values: units (names).
: "${units:?}"
split_by_line
journalctl --sync 2>/dev/null
for unit in $units; do
  journalctl --no-pager --quiet -n 20 -o short -u "$unit"
done
exit 0
