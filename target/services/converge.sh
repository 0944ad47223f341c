# shellcheck shell=sh
# Removes obsolete units, enables and starts the others, and restarts those that are marked.
# Values: marks (folder of the marks of due restarts), seconds (limit for the start), obsolete, units and again
# (names; units of `again` are oneshots that must run again).
#
# The start is one transaction of systemd, which orders the units by their dependencies. The transaction begins
# without waiting, and a later `start` joins it. A long transaction, such as a database migration, continues after
# this script's deadline. The next attempt joins it too.
: "${marks:?}" "${seconds:?}" "${obsolete?}" "${units?}" "${again?}"
split_by_line
for unit in $obsolete; do
  [ -e "/etc/systemd/system/$unit" ] || continue
  systemctl --quiet --no-reload disable --now "$unit"
  rm -f -- "/etc/systemd/system/$unit" || exit 1
  step "$unit is removed"
done
systemctl daemon-reload || exit 1
step 'systemd has read its units'
restart='' failed=''
add() { printf '%s\n%s' "$1" "$2"; }
for unit in $units; do
  systemctl --quiet --no-reload enable "$unit" || exit 1
  step "$unit is enabled"
  if [ -e "$marks/$unit" ]; then
    restart=$(add "$restart" "$unit")
  elif [ "$(systemctl is-active "$unit")" = failed ]; then
    failed=$(add "$failed" "$unit")
  fi
done
for unit in $again; do
  if [ ! -e "$marks/$unit" ] && [ "$(systemctl is-active "$unit")" = active ]; then
    restart=$(add "$restart" "$unit")
  fi
done
# shellcheck disable=SC2086 # Lists: one word a line.
[ -z "$restart$failed" ] || systemctl reset-failed $restart $failed 2>/dev/null
if [ -n "$restart" ]; then
  # shellcheck disable=SC2086 # A list: one word a line.
  systemctl --no-block restart $restart || exit 1
  step 'the restart has begun'
  for unit in $restart; do rm -f "$marks/$unit"; done
  step 'the marks are gone'
fi
# shellcheck disable=SC2086 # A list: one word a line.
timeout "$seconds" systemctl start $units && exit 0
[ $? != 124 ] || echo "the units did not start within $seconds s; units that are still starting continue" >&2
for unit in $units; do
  state=$(systemctl is-active "$unit")
  [ "$state" != active ] || continue
  echo "$unit is $state:" >&2
  journalctl --quiet --no-pager --lines=15 --output=cat --unit="$unit" >&2
  break
done
exit 1
