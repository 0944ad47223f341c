# shellcheck shell=sh
# Finds units whose processes started before their user joined a group.
# Values: group, units (names).
# Prints `unit=` for each.
: "${group:?}" "${units?}"
split_by_line
number=$(group_id "$group")
[ -n "$number" ] || exit 0
for unit in $units; do
  process=$(systemctl show --property=MainPID --value -- "$unit" 2>/dev/null)
  if [ "${process:-0}" = 0 ] || [ ! -r "/proc/$process/status" ]; then continue; fi
  sed -n 's/^Groups:[[:space:]]*//p' "/proc/$process/status" | tr ' ' '\n' | grep -qx "$number" || say unit "$unit"
done
exit 0
