# shellcheck shell=sh
# Finds units whose processes started before their user joined a group.
# Values: group, units (names).
# Prints `unit=` for each.
: "${group:?}" "${units?}"
split_by_line
number=$(group_id "$group")
[ -n "$number" ] && [ -n "$units" ] || exit 0
# systemd prints the properties of a unit in an order of its own, and an empty line before the next unit.
# shellcheck disable=SC2086 # A list: one word a line.
{
  systemctl show --property=Id --property=MainPID -- $units 2> /dev/null
  echo
} | while read -r line; do
  case $line in
    Id=*) unit=${line#Id=} ;;
    MainPID=*) process=${line#MainPID=} ;;
    '')
      if [ "${process:-0}" != 0 ] && [ -r "/proc/$process/status" ]; then
        groups=$(grep '^Groups:' "/proc/$process/status" | tr '\t' ' ')
        case "$groups " in *" $number "*) ;; *) say unit "$unit" ;; esac
      fi
      unit='' process=''
      ;;
  esac
done
exit 0
