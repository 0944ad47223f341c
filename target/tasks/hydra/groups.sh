# shellcheck shell=sh
# Finds units whose processes started before their user joined a group.
# Values: group, units (names).
# Prints `unit=` for each.
: "${group:?}" "${units?}"
split_by_line
number=$(group_id "$group")
[ -n "$number" ] && [ -n "$units" ] || exit 0
# shellcheck disable=SC2086 # A list: one word a line.
shown=$(systemctl show --property=Id --property=MainPID -- $units 2> /dev/null)
# systemd prints the properties of a unit in any order, and an empty line before the next unit.
processes=$(
  printf '%s\n\n' "$shown" | while IFS= read -r line; do
    case $line in
      Id=*) unit=${line#Id=} ;;
      MainPID=*) pid=${line#MainPID=} ;;
      '')
        [ "${pid:-0}" = 0 ] || printf '%s %s\n' "$pid" "$unit"
        unit='' pid=''
        ;;
    esac
  done
)
[ -n "$processes" ] || exit 0
files=''
for each in $processes; do
  files="$files
/proc/${each%% *}/status"
done
# One call reads the groups of all processes. A line is `/proc/PID/status:Groups:`, a tab, and numbers that are each
# followed by a space.
# shellcheck disable=SC2086 # A list: one word a line.
grep -Hs '^Groups:' $files | while IFS= read -r line; do
  process=${line#/proc/} process=${process%%/*} groups=${line#*Groups:?}
  case " $groups" in *" $number "*) continue ;; esac
  for each in $processes; do
    [ "${each%% *}" != "$process" ] || say unit "${each#* }"
  done
done
exit 0
